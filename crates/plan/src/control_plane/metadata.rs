//! Metadata of the tenant's objects: the only place that writes labels and owner references.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kamaji_api::contract;

use crate::resolved::Resolved;

/// The controller reference that lets the garbage collector take an object with its tenant.
pub fn owner(resolved: &Resolved) -> OwnerReference {
    OwnerReference {
        api_version: contract::API_VERSION.to_owned(),
        kind: "TenantControlPlane".to_owned(),
        name: resolved.name.clone(),
        uid: resolved.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of an object that the tenant owns.
pub fn owned(resolved: &Resolved, name: String, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(resolved.namespace.clone()),
        labels: Some(contract::labels::of(&resolved.name, component)),
        owner_references: Some(vec![owner(resolved)]),
        ..ObjectMeta::default()
    }
}

/// Writes the checksum annotation of a Secret or ConfigMap.
pub fn set_checksum(metadata: &mut ObjectMeta, checksum: String) {
    metadata.annotations.get_or_insert_default().insert(contract::annotations::CHECKSUM.to_owned(), checksum);
}

/// Merges a user's labels and annotations over ours, but for the label that the operator finds its objects by.
pub fn merge_user(
    metadata: &mut ObjectMeta,
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) {
    for (own, user) in [(&mut metadata.labels, labels), (&mut metadata.annotations, annotations)] {
        for (key, value) in user.into_iter().flatten().filter(|(key, _)| *key != contract::labels::PROJECT) {
            own.get_or_insert_default().insert(key.clone(), value.clone());
        }
    }
}
