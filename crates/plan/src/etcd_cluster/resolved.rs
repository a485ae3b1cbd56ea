//! An EtcdCluster that can be acted on: what its specification comes to.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kamaji_api::EtcdCluster;

use super::names::{self, Address};
use crate::rejection::Rejection;

/// Where members keep their data.
#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    /// A PersistentVolumeClaim each.
    Persistent {
        /// Size of each claim.
        size: Quantity,
        /// StorageClass; the default one when absent.
        storage_class: Option<String>,
    },
    /// An emptyDir each: the data goes with the pod.
    Ephemeral {
        /// Size limit of the emptyDir.
        size_limit: Option<Quantity>,
    },
}

impl Storage {
    /// Whether data outlives the pod.
    pub fn is_persistent(&self) -> bool {
        matches!(self, Self::Persistent { .. })
    }
}

/// An EtcdCluster that can be acted on.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Namespace of its objects: the operator's.
    pub namespace: String,
    /// The object itself, for what is copied from it as it is.
    pub cluster: Arc<EtcdCluster>,
    /// Members to run: 1 or 3.
    pub replicas: i32,
    /// A wish that is not followed, while everything else is.
    pub refused: Option<Rejection>,
    /// Size in bytes that the backend may reach.
    pub quota_bytes: i64,
    /// Where the data is.
    pub storage: Storage,
    /// Image of etcd.
    pub image: String,
    /// Where members are reached, by ordinal.
    pub addresses: Vec<Address>,
}

impl Resolved {
    /// Client endpoint, `host:port`.
    pub fn client(&self, ordinal: i32) -> Option<&str> {
        self.address(ordinal).map(|address| address.client.as_str())
    }

    /// URL for the other members.
    pub fn peer_url(&self, ordinal: i32) -> Option<&str> {
        self.address(ordinal).map(|address| address.peer_url.as_str())
    }

    /// The ordinal of the member with this peer URL.
    pub fn ordinal_of(&self, peer_urls: &[String]) -> Option<i32> {
        let position = self.addresses.iter().position(|address| peer_urls.contains(&address.peer_url))?;
        i32::try_from(position).ok()
    }

    /// Name of a member.
    pub fn pod(&self, ordinal: i32) -> String {
        names::pod(&self.name, ordinal)
    }

    fn address(&self, ordinal: i32) -> Option<&Address> {
        self.addresses.get(usize::try_from(ordinal).ok()?)
    }
}
