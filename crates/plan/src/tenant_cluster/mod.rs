//! The objects of a tenant's own cluster: what kubeadm would put there, and the addons.
//!
//! Pure, like [`crate::control_plane`]: same input, same objects. The tenant session applies them and takes away what
//! is not among them any more.

mod core_dns;
pub mod dns;
mod konnectivity_agent;
mod kube_proxy;
mod kubeadm;
pub mod minors;
mod object;
mod yaml;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Service, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};

use crate::{exposed::Exposed, resolved::Resolved, trouble::Trouble};
use kamaji_pki::KeyAlgorithm;

/// Everything that the operator keeps in a tenant's cluster. Each object carries the label
/// `kamaji.clastix.io/project=kamaji`, by which it is watched and, when it is no longer wanted, found.
#[derive(Clone, Debug, Default)]
pub struct TenantCluster {
    /// kubeadm's and the addons' configuration.
    pub config_maps: Vec<ConfigMap>,
    /// Identities of the addons.
    pub service_accounts: Vec<ServiceAccount>,
    /// Rights within a namespace.
    pub roles: Vec<Role>,
    /// Who has them.
    pub role_bindings: Vec<RoleBinding>,
    /// Rights in the whole cluster.
    pub cluster_roles: Vec<ClusterRole>,
    /// Who has them.
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    /// Bindings that are created when they are absent and never written again: kubeadm leaves their subjects to the
    /// tenant's administrators, and the list of subjects is atomic.
    pub created_once: Vec<ClusterRoleBinding>,
    /// The DNS Service.
    pub services: Vec<Service>,
    /// CoreDNS, and the konnectivity agent in Deployment mode.
    pub deployments: Vec<Deployment>,
    /// kube-proxy, and the konnectivity agent in DaemonSet mode.
    pub daemon_sets: Vec<DaemonSet>,
    /// ConfigMaps (namespace, name) that cannot be planned now and stay as they are, whatever they hold.
    pub kept_config_maps: Vec<(String, String)>,
    /// What is wrong with the specification and keeps none of the rest from being planned.
    pub troubles: Vec<Trouble>,
}

/// What the tenant's cluster should hold.
///
/// `ca` is the tenant's authority in PEM, `algorithm` its keys' algorithm. Total: what the specification makes
/// impossible is left out or kept, and told in [`TenantCluster::troubles`].
pub fn plan(resolved: &Resolved, exposed: &Exposed, algorithm: KeyAlgorithm, ca: &[u8]) -> TenantCluster {
    let mut cluster = TenantCluster::default();
    kubeadm::add(&mut cluster, resolved, exposed, algorithm, ca);
    core_dns::add(&mut cluster, resolved);
    kube_proxy::add(&mut cluster, resolved, exposed);
    konnectivity_agent::add(&mut cluster, resolved, exposed);
    cluster
}
