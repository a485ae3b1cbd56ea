//! Which datastore a tenant is on.

use kamaji_api::Driver;

use super::{identity::StoreIdentity, kine::Kine};

/// A tenant's datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Name of the DataStore.
    pub name: String,
    /// Its driver, as the status reports it.
    pub driver: Driver,
    /// Its endpoints, `host:port` each, as they were found to work.
    pub endpoints: Vec<String>,
    /// What kube-apiserver reaches the store through; `None` on etcd.
    pub kine: Option<Kine>,
    /// The tenant's names there.
    pub identity: StoreIdentity,
    /// Resources that are kept on other stores.
    pub overrides: Vec<Override>,
}

/// One resource, and the etcd that keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Group and resource, as kube-apiserver's flag has them.
    pub resource: String,
    /// Name of the DataStore.
    pub store: String,
    /// Its endpoints, `host:port` each.
    pub endpoints: Vec<String>,
}
