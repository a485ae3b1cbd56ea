//! The phase of a tenant (docs/reference/compatibility.md, "Phase").

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{
    TenantControlPlane,
    tenant_control_plane::{Phase, WritePermissions},
};

use crate::resolved::DEFAULT_REPLICAS;

/// The phase that the Deployment shows. `installed` is the version that was reported last.
///
/// Unlike the Go operator's, a rollout while the API is served stays `Ready`: clients such as Cluster API take any other
/// word for an outage.
pub fn phase(tenant: &TenantControlPlane, live: &Deployment, installed: Option<&str>) -> Phase {
    let wanted = tenant
        .spec
        .control_plane
        .deployment
        .as_ref()
        .and_then(|deployment| deployment.replicas)
        .unwrap_or(DEFAULT_REPLICAS);
    let installed = installed.filter(|version| !version.is_empty());
    if wanted == 0 {
        return Phase::Sleeping;
    }
    if ready_replicas(live) == 0 {
        return Phase::NotReady;
    }
    if tenant.spec.write_permissions.as_ref().is_some_and(WritePermissions::is_limited) {
        return Phase::WriteLimited;
    }
    match installed {
        _ if !is_progressing(live) => Phase::Ready,
        Some(installed) if installed != tenant.spec.kubernetes.version => Phase::Upgrading,
        None => Phase::Provisioning,
        Some(_) => Phase::Ready,
    }
}

/// Whether the wanted version may be reported as installed.
pub fn is_settled(phase: Phase, live: &Deployment) -> bool {
    match phase {
        Phase::Sleeping => true,
        Phase::Ready | Phase::WriteLimited => !is_progressing(live),
        _ => false,
    }
}

/// Replicas that answer.
pub fn ready_replicas(live: &Deployment) -> i32 {
    live.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// Whether a rollout is under way.
pub fn is_progressing(live: &Deployment) -> bool {
    let status = live.status.clone().unwrap_or_default();
    let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(DEFAULT_REPLICAS);
    live.metadata.generation != status.observed_generation
        || status.unavailable_replicas.unwrap_or(0) > 0
        || [status.updated_replicas, status.ready_replicas, status.replicas]
            .iter()
            .any(|count| count.unwrap_or(0) != wanted)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{DeploymentSpec, DeploymentStatus};

    use super::*;

    fn tenant(replicas: i32, version: &str) -> TenantControlPlane {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": {"name": "one"},
            "spec": {
                "controlPlane": {"deployment": {"replicas": replicas}, "service": {"serviceType": "ClusterIP"}},
                "kubernetes": {"version": version, "kubelet": {}},
            },
        }))
        .unwrap()
    }

    fn deployment(wanted: i32, ready: i32, observed: i64) -> Deployment {
        let mut deployment = Deployment {
            spec: Some(DeploymentSpec { replicas: Some(wanted), ..DeploymentSpec::default() }),
            status: Some(DeploymentStatus {
                observed_generation: Some(observed),
                ready_replicas: Some(ready),
                replicas: Some(wanted),
                updated_replicas: Some(wanted),
                unavailable_replicas: Some(wanted - ready).filter(|&count| count > 0),
                ..DeploymentStatus::default()
            }),
            ..Deployment::default()
        };
        deployment.metadata.generation = Some(1);
        deployment
    }

    #[test]
    fn a_first_creation_is_not_ready_then_provisioning_then_ready() {
        let tenant = tenant(2, "v1.36.3");
        assert_eq!(phase(&tenant, &deployment(2, 0, 1), None), Phase::NotReady);
        assert_eq!(phase(&tenant, &deployment(2, 1, 1), None), Phase::Provisioning);
        assert_eq!(phase(&tenant, &deployment(2, 2, 1), None), Phase::Ready);
    }

    #[test]
    fn a_rollout_with_the_api_served_stays_ready() {
        assert_eq!(phase(&tenant(2, "v1.36.3"), &deployment(2, 1, 1), Some("v1.36.3")), Phase::Ready);
        assert_eq!(phase(&tenant(2, "v1.36.3"), &deployment(2, 2, 0), Some("v1.36.3")), Phase::Ready);
    }

    #[test]
    fn another_version_is_upgrading_until_the_rollout_is_over() {
        let tenant = tenant(2, "v1.37.0");
        let (rolling, done) = (deployment(2, 2, 0), deployment(2, 2, 1));
        assert_eq!(phase(&tenant, &rolling, Some("v1.36.3")), Phase::Upgrading);
        assert!(!is_settled(Phase::Upgrading, &rolling));
        assert_eq!(phase(&tenant, &done, Some("v1.36.3")), Phase::Ready);
        assert!(is_settled(Phase::Ready, &done));
    }

    #[test]
    fn no_replicas_wanted_is_sleeping() {
        assert_eq!(phase(&tenant(0, "v1.36.3"), &deployment(0, 0, 1), Some("v1.36.3")), Phase::Sleeping);
    }
}
