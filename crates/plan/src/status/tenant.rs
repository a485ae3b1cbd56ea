//! What the operator's session with a tenant's own API says: whether everything that belongs into the tenant's cluster
//! is in place.

use kamaji_api::{contract::labels, tenant_control_plane::KonnectivityAgentMode};

use crate::{tenant_cluster::TenantCluster, trouble::Trouble};

/// Report of a tenant's session, made whenever its answer changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantReport {
    /// `metadata.generation` of the TenantControlPlane that it speaks of.
    pub generation: Option<i64>,
    /// How it stands.
    pub state: TenantState,
    /// What the last complete look found; `None` before the first.
    pub in_place: Option<InPlace>,
}

/// How a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TenantState {
    /// It has just begun, or waits for the API to be served. What was reported before stays.
    #[default]
    NotYet,
    /// Everything is in place.
    Settled,
    /// Something is wrong that does not go away by itself within moments; everything else is in place.
    Troubled(Vec<Trouble>),
    /// The tenant's API cannot be used, and has not been for a while.
    Unreachable(Trouble),
}

/// What is in place in a tenant's cluster, as the status repeats it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPlace {
    /// The addons.
    pub addons: Installed,
    /// MD5 of the operator's part of `cluster-info`.
    pub cluster_info_checksum: Option<String>,
}

/// What the tenant's cluster holds of the addons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// CoreDNS.
    pub core_dns: bool,
    /// kube-proxy.
    pub kube_proxy: bool,
    /// The konnectivity agent, as this kind of workload, with its ServiceAccount and ClusterRoleBinding.
    pub konnectivity: Option<KonnectivityAgentMode>,
}

/// Name of the ConfigMap in `kube-public` that joining nodes read.
const CLUSTER_INFO: &str = "cluster-info";

impl InPlace {
    /// What is in place when `cluster` was applied. Addons are told by their workload's name.
    pub fn of(cluster: &TenantCluster) -> Self {
        let deployment = |name| cluster.deployments.iter().any(|found| found.metadata.name.as_deref() == Some(name));
        let daemon_set = |name| cluster.daemon_sets.iter().any(|found| found.metadata.name.as_deref() == Some(name));
        let agent = labels::component::KONNECTIVITY_AGENT;
        let konnectivity = if daemon_set(agent) {
            Some(KonnectivityAgentMode::DaemonSet)
        } else {
            deployment(agent).then_some(KonnectivityAgentMode::Deployment)
        };
        let mut config_maps = cluster.config_maps.iter();
        let cluster_info = config_maps.find(|found| found.metadata.name.as_deref() == Some(CLUSTER_INFO));
        Self {
            addons: Installed {
                core_dns: deployment(labels::component::COREDNS),
                kube_proxy: daemon_set(labels::component::KUBE_PROXY),
                konnectivity,
            },
            cluster_info_checksum: cluster_info.and_then(|found| found.data.as_ref()).map(kamaji_pki::checksum::map),
        }
    }
}
