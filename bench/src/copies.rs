//! The floor: the objects of a finished tenant, without the operator.
//!
//! They are taken from a tenant that is Ready, kept in memory while it is deleted, and applied again under the same names:
//! same certificates, same Service address, same key prefix, which is empty again. So the API server does the same work as
//! for the tenant, and nothing but the operator is missing.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kamaji_api::contract::labels;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::kubectl::Kubectl;
use crate::tenant::NAMESPACE;

/// How long pods may take to end.
const PODS_END: Duration = Duration::from_mins(3);

/// What one tenant consists of in the management cluster.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Secrets, ConfigMaps and the Service.
    pub rest: Vec<Value>,
    /// The Deployment.
    pub deployment: Value,
}

impl Copy {
    /// Everything, the Deployment last.
    pub fn objects(&self) -> Vec<Value> {
        self.rest.iter().chain([&self.deployment]).cloned().collect()
    }
}

/// Reads the objects that a finished tenant owns.
///
/// # Errors
/// When the cluster does not answer, or the tenant has no Deployment.
pub async fn of_tenant(client: &Client, tenant: &str) -> Result<Copy> {
    let mut rest = owned::<Secret>(client, tenant).await?;
    rest.extend(owned::<ConfigMap>(client, tenant).await?);
    rest.extend(owned::<Service>(client, tenant).await?);
    let mut deployments = owned::<Deployment>(client, tenant).await?;
    let Some(deployment) = deployments.pop() else { bail!("tenant {NAMESPACE}/{tenant} has no Deployment") };
    Ok(Copy { rest, deployment })
}

async fn owned<K>(client: &Client, tenant: &str) -> Result<Vec<Value>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let selector = ListParams::default().labels(&format!("{}={tenant}", labels::NAME));
    let kind = K::kind(&());
    let listed = api.list(&selector).await.with_context(|| format!("{kind} objects of {tenant} cannot be listed"))?;
    let mut found = Vec::new();
    for object in listed {
        if object.meta().owner_references.iter().flatten().any(|owner| owner.kind == "TenantControlPlane") {
            found.push(strip(&serde_json::to_value(&object)?, &K::api_version(&()), &kind));
        }
    }
    Ok(found)
}

/// What a person would write to get the same object: no status, no metadata that the API server fills in, no owner and no
/// finalizer of the operator, and without the label by which the operator finds its objects.
fn strip(object: &Value, api_version: &str, kind: &str) -> Value {
    let mut object = object.clone();
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    let mut labels = metadata.get("labels").cloned().unwrap_or_default();
    if let Some(labels) = labels.as_object_mut() {
        labels.remove(labels::PROJECT);
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("kind".into(), kind.into());
        fields.insert(
            "metadata".into(),
            json!({"name": metadata.get("name"), "namespace": metadata.get("namespace"), "labels": labels}),
        );
    }
    object
}

/// Takes away the Deployments and their pods, without waiting for a graceful end, and then the rest.
///
/// # Errors
/// When `kubectl` fails, or pods do not end.
pub async fn remove(client: &Client, kubectl: &Kubectl) -> Result<()> {
    let namespace = format!("--namespace={NAMESPACE}");
    let what = "deleting the copies";
    kubectl.run(what, &["delete", "deployments", "--all", "--wait=true", &namespace], None).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let deadline = Instant::now() + PODS_END;
    // The ReplicaSet may replace a pod until the garbage collector has taken it.
    while !pods.list_metadata(&ListParams::default()).await.context("pods cannot be listed")?.items.is_empty() {
        if Instant::now() > deadline {
            bail!("pods in namespace {NAMESPACE} have not ended after {} s", PODS_END.as_secs());
        }
        let grace = ["delete", "pods", "--all", "--grace-period=1", "--timeout=60s", "--ignore-not-found"];
        kubectl.run(what, &[&grace[..], &[&namespace]].concat(), None).await?;
        sleep(Duration::from_millis(100)).await;
    }
    let selector = format!("--selector={}", labels::NAME);
    kubectl.run(what, &["delete", "services,secrets,configmaps", &selector, &namespace], None).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_nobodys_and_names_no_past() {
        let live = json!({
            "metadata": {
                "name": "t", "namespace": "n", "uid": "u", "resourceVersion": "7", "finalizers": ["f"],
                "ownerReferences": [{"kind": "TenantControlPlane"}], "annotations": {"a": "b"},
                "labels": {labels::PROJECT: "kamaji", labels::NAME: "t"},
            },
            "spec": {"clusterIP": "10.79.1.2"},
            "status": {"loadBalancer": {}},
        });
        assert_eq!(
            strip(&live, "v1", "Service"),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "t", "namespace": "n", "labels": {labels::NAME: "t"}},
                "spec": {"clusterIP": "10.79.1.2"},
            })
        );
    }
}
