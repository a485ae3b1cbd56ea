//! A HorizontalPodAutoscaler works on a tenant through its scale subresource.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kamaji_e2e::{Story, manifests, tenant::Tenant};
use kube::{Api, api::PostParams};
use serde_json::json;

const METRICS_SERVER: &str = include_str!("../manifests/metrics-server.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_tenant_gets_a_second_replica_from_an_autoscaler() -> Result<()> {
    Story::tell("autoscaled", async |story| {
        manifests::apply(&story.client, METRICS_SERVER).await?;
        let tenant = Tenant::declare(&story, "autoscaled", |spec| {
            // An idle API server uses more than one thousandth of a core, so it is busy by this measure.
            spec["controlPlane"]["deployment"]["resources"] = json!({
                "apiServer": {"requests": {"cpu": "1m"}},
                "controllerManager": {"requests": {"cpu": "1m"}},
                "scheduler": {"requests": {"cpu": "1m"}},
            });
        })
        .await?;
        tenant.phase("Ready").await?;
        let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {"name": "autoscaled", "namespace": story.namespace},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane", "name": "autoscaled",
                },
                "minReplicas": 1,
                "maxReplicas": 2,
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
                }}],
            },
        }))?;
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(story.client.clone(), &story.namespace);
        api.create(&PostParams::default(), &autoscaler).await.context("the autoscaler was refused")?;
        let scaled = tenant
            .until(|tenant| {
                let status = tenant.status.clone().unwrap_or_default().kubernetes_resources.deployment.status;
                status.ready_replicas == Some(2)
            })
            .await?;
        let wanted = scaled.spec.control_plane.deployment.and_then(|deployment| deployment.replicas);
        ensure!(wanted == Some(2), "the autoscaler wrote the tenant's replicas");
        tenant.delete().await
    })
    .await
}
