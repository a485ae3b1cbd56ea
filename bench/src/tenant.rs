//! The tenants of the benchmark: small, on etcd, one replica, reached inside the cluster.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::tenant_control_plane::Phase;
use kamaji_api::{TenantControlPlane, conditions, contract};
use serde_json::{Value, json};

/// Namespace of everything that is created, and beginning of every name in the datastore.
pub const NAMESPACE: &str = "kamaji-bench";

/// How the etcd users, roles and key prefixes of all tenants of the benchmark begin.
pub fn store_prefix() -> String {
    format!("{NAMESPACE}-")
}

/// Schema and user of a tenant in the datastore. Named, because what an interrupted run leaves has to be found again.
pub fn store_name(tenant: &str) -> String {
    format!("{}{tenant}", store_prefix())
}

/// Names of `count` tenants; they sort as they count.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|index| format!("{prefix}-{index:04}")).collect()
}

/// The object that a user applies.
pub fn manifest(name: &str, data_store: &str, version: &str) -> Value {
    json!({
        "apiVersion": contract::API_VERSION,
        "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "dataStore": data_store,
            "dataStoreSchema": store_name(name),
            "dataStoreUsername": store_name(name),
            "controlPlane": {
                "deployment": {"replicas": 1},
                "service": {"serviceType": "ClusterIP"},
            },
            "kubernetes": {"version": format!("v{version}"), "kubelet": {"cgroupfs": "cgroupfs"}},
            "networkProfile": {"port": 6443},
            "addons": {"coreDNS": {}, "kubeProxy": {}},
        },
    })
}

/// Ready in both languages: the condition, and the phase that the Go operator's clients read.
pub fn is_ready(tenant: &TenantControlPlane) -> bool {
    let Some(status) = &tenant.status else { return false };
    conditions::is_true(status.conditions.as_deref().unwrap_or_default(), conditions::READY)
        && status.kubernetes_resources.version.status == Some(Phase::Ready)
}

/// Whether the Deployment's controller has seen the present generation and all replicas are available.
pub fn is_available(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "Available");
    status.observed_generation == deployment.metadata.generation
        && status.available_replicas.unwrap_or(0) >= wanted
        && condition.is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_one_that_the_operator_can_read() {
        let tenant: TenantControlPlane = serde_json::from_value(manifest("t-0001", "default", "1.36.3")).unwrap();
        assert_eq!(tenant.spec.unreadable, None);
        assert_eq!(tenant.spec.data_store_schema.as_deref(), Some("kamaji-bench-t-0001"));
        assert_eq!(tenant.spec.kubernetes.version, "v1.36.3");
    }

    #[test]
    fn a_deployment_whose_status_is_of_another_generation_is_not_available() {
        let deployment = |observed: i64| -> Deployment {
            serde_json::from_value(json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 1, "selector": {}, "template": {}},
                "status": {"observedGeneration": observed, "availableReplicas": 1,
                           "conditions": [{"type": "Available", "status": "True"}]},
            }))
            .unwrap()
        };
        assert!(is_available(&deployment(2)));
        assert!(!is_available(&deployment(1)));
    }
}
