//! The kinds that are kept in a tenant's cluster, and what each is asked.

use std::fmt::Debug;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kamaji_plan::tenant_cluster::TenantCluster;
use kube::{Resource, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};

/// One of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ConfigMap,
    Role,
    RoleBinding,
    ClusterRole,
    ClusterRoleBinding,
    ServiceAccount,
    Service,
    Deployment,
    DaemonSet,
}

impl Kind {
    /// All of them: first what joining nodes need, then the addons.
    pub(super) const ALL: [Self; 9] = [
        Self::ConfigMap,
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
        Self::ServiceAccount,
        Self::Service,
        Self::Deployment,
        Self::DaemonSet,
    ];
}

/// Evaluates an expression with a type name bound to the type of a [`Kind`].
macro_rules! with_type {
    ($kind:expr, $name:ident => $body:expr) => {
        match $kind {
            $crate::tenant::kinds::Kind::ConfigMap => {
                type $name = k8s_openapi::api::core::v1::ConfigMap;
                $body
            }
            $crate::tenant::kinds::Kind::Role => {
                type $name = k8s_openapi::api::rbac::v1::Role;
                $body
            }
            $crate::tenant::kinds::Kind::RoleBinding => {
                type $name = k8s_openapi::api::rbac::v1::RoleBinding;
                $body
            }
            $crate::tenant::kinds::Kind::ClusterRole => {
                type $name = k8s_openapi::api::rbac::v1::ClusterRole;
                $body
            }
            $crate::tenant::kinds::Kind::ClusterRoleBinding => {
                type $name = k8s_openapi::api::rbac::v1::ClusterRoleBinding;
                $body
            }
            $crate::tenant::kinds::Kind::ServiceAccount => {
                type $name = k8s_openapi::api::core::v1::ServiceAccount;
                $body
            }
            $crate::tenant::kinds::Kind::Service => {
                type $name = k8s_openapi::api::core::v1::Service;
                $body
            }
            $crate::tenant::kinds::Kind::Deployment => {
                type $name = k8s_openapi::api::apps::v1::Deployment;
                $body
            }
            $crate::tenant::kinds::Kind::DaemonSet => {
                type $name = k8s_openapi::api::apps::v1::DaemonSet;
                $body
            }
        }
    };
}
pub(super) use with_type;

/// A type whose objects a session keeps.
pub(super) trait Kept:
    Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
    /// The objects that the plan holds.
    fn wanted(cluster: &TenantCluster) -> &[Self];

    /// Objects that are created when they are missing and then belong to the tenant.
    fn created_once(_cluster: &TenantCluster) -> &[Self] {
        &[]
    }

    /// Whether the object stays as it is although the plan does not hold it.
    fn is_spared(&self, _cluster: &TenantCluster) -> bool {
        false
    }

    /// How many pods a workload has; `None` for everything else.
    fn pods(&self) -> Option<Pods> {
        None
    }
}

/// The pods of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pods {
    /// How many there should be.
    pub(super) wanted: i32,
    /// How many are available.
    pub(super) available: i32,
    /// Selects them.
    pub(super) selector: String,
}

impl Kept for ConfigMap {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.config_maps
    }

    fn is_spared(&self, cluster: &TenantCluster) -> bool {
        let (namespace, name) = (self.namespace().unwrap_or_default(), self.name_any());
        cluster.kept_config_maps.iter().any(|kept| *kept == (namespace.clone(), name.clone()))
    }
}

impl Kept for Role {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.roles
    }
}

impl Kept for RoleBinding {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.role_bindings
    }
}

impl Kept for ClusterRole {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.cluster_roles
    }
}

impl Kept for ClusterRoleBinding {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.cluster_role_bindings
    }

    fn created_once(cluster: &TenantCluster) -> &[Self] {
        &cluster.created_once
    }
}

impl Kept for ServiceAccount {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.service_accounts
    }
}

impl Kept for Service {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.services
    }
}

impl Kept for Deployment {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.deployments
    }

    fn pods(&self) -> Option<Pods> {
        let spec = self.spec.as_ref()?;
        Some(Pods {
            wanted: spec.replicas.unwrap_or(1),
            available: self.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0),
            selector: text(&spec.selector),
        })
    }
}

impl Kept for DaemonSet {
    fn wanted(cluster: &TenantCluster) -> &[Self] {
        &cluster.daemon_sets
    }

    fn pods(&self) -> Option<Pods> {
        let status = self.status.as_ref();
        Some(Pods {
            wanted: status.map_or(0, |status| status.desired_number_scheduled),
            available: status.and_then(|status| status.number_available).unwrap_or(0),
            selector: self.spec.as_ref().map(|spec| text(&spec.selector)).unwrap_or_default(),
        })
    }
}

fn text(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_of_the_plan_has_a_kind() {
        let mut cluster = TenantCluster::default();
        // Without `..`: a new list of the plan does not compile until it has a kind here.
        let TenantCluster {
            config_maps,
            service_accounts,
            roles,
            role_bindings,
            cluster_roles,
            cluster_role_bindings,
            created_once,
            services,
            deployments,
            daemon_sets,
            kept_config_maps: _,
            troubles: _,
        } = &mut cluster;
        config_maps.push(ConfigMap::default());
        service_accounts.push(ServiceAccount::default());
        roles.push(Role::default());
        role_bindings.push(RoleBinding::default());
        cluster_roles.push(ClusterRole::default());
        cluster_role_bindings.push(ClusterRoleBinding::default());
        created_once.push(ClusterRoleBinding::default());
        services.push(Service::default());
        deployments.push(Deployment::default());
        daemon_sets.push(DaemonSet::default());
        let count = |kind| with_type!(kind, K => K::wanted(&cluster).len() + K::created_once(&cluster).len());
        assert_eq!(Kind::ALL.map(count).iter().sum::<usize>(), 10);
    }

    #[test]
    fn spares_only_the_config_map_that_is_named() {
        let kept = vec![("kube-system".to_owned(), "kubelet-config".to_owned())];
        let cluster = TenantCluster { kept_config_maps: kept, ..TenantCluster::default() };
        let object = |namespace: &str, name: &str| -> ConfigMap {
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": namespace, "name": name}})).unwrap()
        };
        assert!(object("kube-system", "kubelet-config").is_spared(&cluster));
        assert!(!object("default", "kubelet-config").is_spared(&cluster));
        assert!(!object("kube-system", "other").is_spared(&cluster));
    }
}
