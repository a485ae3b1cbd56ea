//! What is looked at besides the tenant itself.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container},
};
use kamaji_api::DataStore;

use super::known_good::KnownGood;
use crate::resolved::StoreIdentity;

/// What resolve looks at besides the tenant itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// The DataStore that was chosen; `None` when it does not exist.
    pub data_store: Option<&'a DataStore>,
    /// Its name. Without one it is the specification's.
    pub chosen: Option<&'a str>,
    /// All DataStores, where the specification has overrides.
    pub data_stores: &'a [Arc<DataStore>],
    /// Those of them that are open: what pods are told of them.
    pub known_good: &'a [KnownGood],
    /// The tenant's Deployment as it is now.
    pub deployment: Option<&'a Deployment>,
    /// The operator's image of kine.
    pub kine_image: Option<&'a str>,
    /// Schema and user of the existing datastore-config Secret.
    pub recorded_identity: Option<&'a StoreIdentity>,
    /// The ConfigMap with the owner's certificate authorities; `None` when it does not exist.
    pub internal_ca: Option<&'a ConfigMap>,
    /// The copies of it that the tenant has.
    pub internal_ca_copies: &'a [Arc<ConfigMap>],
    /// The clock of the pass.
    pub now: Timestamp,
}

/// A container of the pods that a Deployment makes.
pub(super) fn container<'a>(live: &'a Deployment, name: &str) -> Option<&'a Container> {
    let pod = live.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == name)
}
