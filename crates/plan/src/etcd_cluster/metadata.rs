//! Metadata of an EtcdCluster's objects: the only place that writes labels and owner references.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kamaji_api::contract;

use super::{names::labels, resolved::Resolved};

/// The controller reference that lets the garbage collector take an object with its EtcdCluster. The API server refuses
/// a second one, so that nothing is taken away from somebody else.
pub fn owner(resolved: &Resolved) -> OwnerReference {
    OwnerReference {
        api_version: contract::API_VERSION.to_owned(),
        kind: "EtcdCluster".to_owned(),
        name: resolved.name.clone(),
        uid: resolved.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object in the operator's namespace.
pub fn metadata(resolved: &Resolved, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(resolved.namespace.clone()),
        labels: Some(labels(&resolved.name)),
        owner_references: Some(vec![owner(resolved)]),
        ..ObjectMeta::default()
    }
}
