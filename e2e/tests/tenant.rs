//! A tenant's life, as its owner sees it.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use anyhow::{Result, ensure};
use kamaji_e2e::{Story, tenant::Tenant};
use kamaji_testkit::probe::Probe;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_answers_kubectl_sleeps_wakes_and_leaves_nothing_behind() -> Result<()> {
    Story::tell("life", async |story| {
        let tenant = Tenant::declare(&story, "life", |_| {}).await?;
        tenant.phase("Ready").await?;
        let namespaces = tenant.namespaces().await?;
        ensure!(namespaces.contains(&"kube-system".to_owned()), "{namespaces:?}");
        tenant.scale(0).await?;
        tenant.phase("Sleeping").await?;
        tenant.scale(1).await?;
        tenant.phase("Ready").await?;
        ensure!(tenant.namespaces().await? == namespaces, "the tenant's data is the same after its sleep");
        tenant.delete().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_behind_a_load_balancer_gets_an_address_and_answers_on_it() -> Result<()> {
    Story::tell("balanced", async |story| {
        let tenant = Tenant::declare(&story, "balanced", |spec| {
            spec["controlPlane"]["service"]["serviceType"] = json!("LoadBalancer");
        })
        .await?;
        let ready = tenant.phase("Ready").await?;
        let endpoint = ready.status.and_then(|status| status.control_plane_endpoint).unwrap_or_default();
        ensure!(endpoint.starts_with("10.77.1."), "the endpoint {endpoint} is from the pool");
        ensure!(!tenant.namespaces().await?.is_empty());
        tenant.delete().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_on_a_node_port_answers_on_the_nodes_address() -> Result<()> {
    Story::tell("nodeport", async |story| {
        let tenant = Tenant::declare(&story, "nodeport", |spec| {
            spec["controlPlane"]["service"]["serviceType"] = json!("NodePort");
            spec["networkProfile"] = json!({"port": 31643, "address": "10.77.0.1"});
        })
        .await?;
        tenant.phase("Ready").await?;
        ensure!(!tenant.namespaces().await?.is_empty());
        tenant.delete().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_two_replicas_refuses_no_connection() -> Result<()> {
    Story::tell("rolling", async |story| {
        let tenant = Tenant::declare(&story, "rolling", |spec| {
            spec["controlPlane"]["deployment"]["replicas"] = json!(2);
        })
        .await?;
        tenant.phase("Ready").await?;
        // Before the first answer the node's kube-proxy may not know the Service.
        ensure!(!tenant.namespaces().await?.is_empty());
        let probe = Probe::start(tenant.probe_target().await?);
        tenant
            .change(json!({"spec": {"controlPlane": {"deployment": {
                "podAdditionalMetadata": {"annotations": {"restarted": "once"}}
            }}}}))
            .await?;
        let rolling = |type_: &'static str, status: &'static str| {
            move |tenant: &kamaji_api::TenantControlPlane| {
                let conditions =
                    tenant.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
                conditions.iter().any(|condition| {
                    condition.type_ == type_
                        && condition.status == status
                        && condition.observed_generation == tenant.metadata.generation
                })
            }
        };
        tenant.until(rolling("Progressing", "True")).await?;
        tenant.until(rolling("Progressing", "False")).await?;
        // The old pods go on answering for a while; only when they are gone is it over.
        tenant.only_pods(2).await?;
        let report = probe.finish().await;
        println!("{report}");
        ensure!(report.successes() > 100, "the probe ran during the restart");
        ensure!(report.failures().next().is_none(), "no attempt failed");
        tenant.delete().await
    })
    .await
}
