//! What `kubeadm init` puts into a cluster so that nodes can join it: its ConfigMaps, and who may read them and ask for
//! certificates (kubeadm v1beta4; `docs/reference/compatibility.md`, "kubeadm objects").

mod cluster_info;
pub(super) mod json_patches;
mod kubeadm_config;
mod kubelet_config;
mod rbac;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kamaji_pki::KeyAlgorithm;

use super::{TenantCluster, dns, object};
use crate::{exposed::Exposed, resolved::Resolved};

/// Namespace of what nodes read once they are known.
const KUBE_SYSTEM: &str = "kube-system";
/// Namespace of what anybody may read.
const KUBE_PUBLIC: &str = "kube-public";

/// Adds kubeadm's objects.
pub(super) fn add(
    cluster: &mut TenantCluster,
    resolved: &Resolved,
    exposed: &Exposed,
    algorithm: KeyAlgorithm,
    ca: &[u8],
) {
    cluster.troubles.extend(dns::trouble(resolved));
    cluster.config_maps.push(kubeadm_config::config_map(resolved, exposed, algorithm));
    match kubelet_config::config_map(resolved) {
        Ok(config_map) => cluster.config_maps.push(config_map),
        Err(trouble) => {
            cluster.kept_config_maps.push((KUBE_SYSTEM.to_owned(), kubelet_config::NAME.to_owned()));
            cluster.troubles.push(trouble);
        }
    }
    cluster.config_maps.push(cluster_info::config_map(exposed, ca));
    rbac::add(cluster);
}

/// Metadata of one of kubeadm's objects in `namespace`.
fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), ..object::of_cluster(name, &[]) }
}

/// A ConfigMap with one document.
fn config_map(namespace: &str, name: &str, key: &str, document: String) -> ConfigMap {
    ConfigMap {
        metadata: metadata(namespace, name),
        data: Some([(key.to_owned(), document)].into()),
        ..ConfigMap::default()
    }
}
