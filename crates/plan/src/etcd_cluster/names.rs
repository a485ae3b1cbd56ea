//! Names, labels and addresses of an EtcdCluster's objects in the operator's namespace.
//!
//! They carry a label of their own instead of `kamaji.clastix.io/name`: a tenant's Service in the same namespace selects
//! by that one alone, and would send its clients to the members of an EtcdCluster of the same name.

use std::collections::BTreeMap;

use kamaji_api::contract::{self, ports};

/// On every object of an EtcdCluster: its name.
pub const LABEL: &str = "kamaji.clastix.io/etcd-cluster";
/// Value of the component label.
pub const COMPONENT: &str = "etcd";
/// Name of the volume, and of the claim template, that holds a member's data.
pub const DATA: &str = "data";
/// Most members that an EtcdCluster can have.
pub const MAX_MEMBERS: i32 = 3;
/// Longest name of an EtcdCluster: the StatefulSet controller appends eleven characters to its name and writes the
/// result into a label, which holds 63.
pub const MAX_NAME: usize = 63 - 11 - "etcd-".len();

/// One Secret of an EtcdCluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EtcdSecret {
    /// Authority of servers and clients; also signs the tenants' client certificates.
    Ca,
    /// Authority of the members among each other. Apart from [`Self::Ca`], so that a tenant's certificate is none that
    /// a member takes for another member's.
    PeerCa,
    /// The members' certificates; the only Secret that their pods mount.
    Member,
    /// Client certificate of etcd's user `root`, the operator's own.
    Root,
}

impl EtcdSecret {
    /// Name of the Secret.
    pub fn name(self, cluster: &str) -> String {
        let suffix = match self {
            Self::Ca => "ca",
            Self::PeerCa => "peer-ca",
            Self::Member => "member",
            Self::Root => "root",
        };
        format!("{}-{suffix}", base(cluster))
    }
}

/// Name of the StatefulSet, its Service, the PodDisruptionBudget and the ConfigMap.
pub fn base(cluster: &str) -> String {
    format!("etcd-{cluster}")
}

/// Name of the pod of the member with this ordinal, which is the member's name as well.
pub fn pod(cluster: &str, ordinal: i32) -> String {
    format!("{}-{ordinal}", base(cluster))
}

/// Name of the PersistentVolumeClaim of the member with this ordinal.
pub fn claim(cluster: &str, ordinal: i32) -> String {
    format!("{DATA}-{}", pod(cluster, ordinal))
}

/// Host of a member. It needs no cluster domain: every pod's resolver completes `svc`.
pub fn host(cluster: &str, namespace: &str, ordinal: i32) -> String {
    format!("{}.{}.{namespace}.svc", pod(cluster, ordinal), base(cluster))
}

/// Where one member is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `host:port` for clients.
    pub client: String,
    /// URL for the other members.
    pub peer_url: String,
}

/// Addresses of all members that there can be, by ordinal.
pub fn addresses(cluster: &str, namespace: &str) -> Vec<Address> {
    let address = |ordinal| {
        let host = host(cluster, namespace, ordinal);
        Address {
            client: format!("{host}:{}", ports::ETCD_CLIENT),
            peer_url: format!("https://{host}:{}", ports::ETCD_PEER),
        }
    };
    (0..MAX_MEMBERS).map(address).collect()
}

/// Labels that select the members' pods: the StatefulSet's selector, which cannot change.
pub fn selector(cluster: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL.to_owned(), cluster.to_owned())])
}

/// Labels of every object.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert(contract::labels::PROJECT.to_owned(), contract::labels::PROJECT_VALUE.to_owned());
    labels.insert(contract::labels::COMPONENT.to_owned(), COMPONENT.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_still_fits_the_label_of_a_controller_revision() {
        let revision = format!("{}-0123456789", base(&"x".repeat(MAX_NAME)));
        assert_eq!(revision.len(), 63);
    }

    #[test]
    fn members_are_addressed_without_a_cluster_domain() {
        let addresses = addresses("default", "kamaji-system");
        assert_eq!(addresses[2].client, "etcd-default-2.etcd-default.kamaji-system.svc:2379");
        assert_eq!(addresses[0].peer_url, "https://etcd-default-0.etcd-default.kamaji-system.svc:2380");
    }

    #[test]
    fn no_object_carries_the_label_that_tenants_select_by() {
        assert!(!labels("default").contains_key(contract::labels::NAME));
    }
}
