//! What a session remembers of each object: enough to tell whether an event is news.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use kamaji_api::contract;
use kamaji_apply::store;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;

use super::kinds::Kept;

/// Digests of the objects that are as they should be. 24 bytes each: no object is kept.
#[derive(Debug, Default)]
pub(super) struct Records(HashMap<u64, Record>);

/// An object that was found, or made, as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    live: u64,
    wanted: u64,
}

impl Records {
    /// Remembers that the API server's answer to the wish `wanted` was `live`, whatever still differs.
    pub(super) fn settled<K: Kept>(&mut self, live: &K, wanted: u64) {
        self.0.insert(place(live), Record { live: digest(live), wanted });
    }

    /// Whether `live` was settled with this wish before.
    pub(super) fn is_settled<K: Kept>(&self, live: &K, wanted: u64) -> bool {
        self.0.get(&place(live)).is_some_and(|record| *record == Record { live: digest(live), wanted })
    }

    /// Whether an event about `live` tells nothing: it shows the object as it was settled.
    pub(super) fn is_known<K: Kept>(&self, live: &K) -> bool {
        self.0.get(&place(live)).is_some_and(|record| record.live == digest(live))
    }

    /// Whether an object of this name was settled.
    pub(super) fn holds<K: Kept>(&self, object: &K) -> bool {
        self.0.contains_key(&place(object))
    }

    /// Forgets an object.
    pub(super) fn forget<K: Kept>(&mut self, object: &K) {
        self.0.remove(&place(object));
    }
}

/// Drops what neither compare nor digest needs.
pub(super) fn trim<K: Kept>(object: &mut K) {
    store::trim(object, contract::FIELD_MANAGER);
}

/// Whether the operator wrote the object: a label can be copied, the record of who wrote it is made by the API server.
/// Takes a trimmed object.
pub(super) fn is_ours<K: Kept>(object: &K) -> bool {
    !object.managed_fields().is_empty()
}

/// Digest of what can differ from a wish: neither the status nor what the API server counts. Takes a trimmed object.
pub(super) fn digest<K: Serialize>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Every object of the API is a JSON object.
    if let Ok(Value::Object(mut fields)) = serde_json::to_value(object) {
        fields.remove("status");
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("resourceVersion");
            metadata.remove("generation");
        }
        fields.hash(&mut hasher);
    }
    hasher.finish()
}

fn place<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    K::kind(&()).hash(&mut hasher);
    object.meta().namespace.hash(&mut hasher);
    object.meta().name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    fn deployment(change: impl FnOnce(&mut Value)) -> Deployment {
        let mut value = json!({
            "metadata": {
                "namespace": "kube-system", "name": "coredns", "resourceVersion": "7", "generation": 1,
                "managedFields": [
                    {"manager": "kamaji", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                    {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
                ],
            },
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"replicas": 2},
        });
        change(&mut value);
        let mut object = serde_json::from_value(value).unwrap();
        trim(&mut object);
        object
    }

    #[test]
    fn a_change_of_the_status_is_no_news() {
        let mut records = Records::default();
        records.settled(&deployment(|_| {}), 1);
        let later = deployment(|object| {
            object["metadata"]["resourceVersion"] = json!("8");
            object["metadata"]["managedFields"][1]["time"] = json!("2026-01-01T00:00:00Z");
            object["status"]["availableReplicas"] = json!(2);
        });
        assert!(records.is_known(&later));
        assert!(records.is_settled(&later, 1));
        assert!(!records.is_settled(&later, 2), "another wish");
    }

    #[test]
    fn a_change_of_the_specification_or_of_an_owner_is_news() {
        let mut records = Records::default();
        records.settled(&deployment(|_| {}), 1);
        assert!(!records.is_known(&deployment(|object| object["spec"]["replicas"] = json!(3))));
        let taken = json!([{"manager": "kamaji", "operation": "Apply", "fieldsV1": {}}]);
        assert!(!records.is_known(&deployment(|object| object["metadata"]["managedFields"] = taken)));
        records.forget(&deployment(|_| {}));
        assert!(!records.is_known(&deployment(|_| {})));
    }

    #[test]
    fn an_object_that_others_wrote_is_not_ours_whatever_its_labels() {
        assert!(is_ours(&deployment(|_| {})));
        let foreign = json!([{"manager": "kubectl-create", "operation": "Update"}]);
        let copied = deployment(|object| {
            object["metadata"]["labels"] = json!({"kamaji.clastix.io/project": "kamaji"});
            object["metadata"]["managedFields"] = foreign;
        });
        assert!(!is_ours(&copied));
    }
}
