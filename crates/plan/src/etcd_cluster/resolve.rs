//! Checks an EtcdCluster's specification, and fills in every default.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kamaji_api::{DataStore, EtcdCluster};

pub use super::resolved::{Resolved, Storage};
use super::{
    names::{self, MAX_MEMBERS, MAX_NAME},
    quantity,
};
use crate::rejection::Rejection;

/// Image where the specification has none. Flags that members are started with need etcd 3.6 or newer.
pub const DEFAULT_IMAGE: &str = "registry.k8s.io/etcd:3.7.3-0";

/// What resolve looks at besides the EtcdCluster itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// Members that the cluster was last made for; none before the first pass.
    pub size: Option<i32>,
    /// The DataStore of the EtcdCluster's name.
    pub data_store: Option<&'a DataStore>,
}

/// Checks and completes the specification.
///
/// # Errors
/// The first rule that it breaks.
pub fn resolve(cluster: &Arc<EtcdCluster>, namespace: &str, observed: &Observed<'_>) -> Result<Resolved, Rejection> {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let uid = cluster.metadata.uid.clone().unwrap_or_default();
    check_name(&name)?;
    let spec = &cluster.spec;
    if let Some(path) = &spec.unreadable {
        let sentence = "it cannot be read as what it should be; correct it, nothing is changed until then";
        return Err(Rejection::new("Unreadable", path.clone(), sentence));
    }
    let wanted = spec.effective_replicas();
    if wanted != 1 && wanted != MAX_MEMBERS {
        return Err(Rejection::new(
            "InvalidReplicas",
            "spec.replicas",
            format!("{wanted} members cannot be run; write 1 or {MAX_MEMBERS}"),
        ));
    }
    let shrinks = observed.size.is_some_and(|size| size > wanted);
    let refused = shrinks.then(|| {
        Rejection::new(
            "ShrinkRefused",
            "spec.replicas",
            format!(
                "a cluster of {MAX_MEMBERS} members is not made smaller, and keeps its members; set it back to \
                 {MAX_MEMBERS}, or move the tenants to another EtcdCluster with one member"
            ),
        )
    });
    let storage = match (spec.persistent_storage(), spec.ephemeral_size_limit()) {
        (Some(persistent), _) => {
            Storage::Persistent { size: persistent.size.clone(), storage_class: persistent.storage_class_name.clone() }
        }
        (None, size_limit) => Storage::Ephemeral { size_limit: size_limit.cloned() },
    };
    if let Some(foreign) = observed.data_store.filter(|store| !is_owned(store, &uid)) {
        let name = foreign.metadata.name.as_deref().unwrap_or_default();
        return Err(Rejection::new(
            "DataStoreTaken",
            "metadata.name",
            format!("the DataStore {name} exists and is not this EtcdCluster's; delete it, or choose another name"),
        ));
    }
    Ok(Resolved {
        quota_bytes: quota(&spec.effective_quota(), &storage)?,
        image: spec.image.clone().filter(|image| !image.is_empty()).unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        addresses: names::addresses(&name, namespace),
        namespace: namespace.to_owned(),
        cluster: Arc::clone(cluster),
        replicas: if shrinks { MAX_MEMBERS } else { wanted },
        refused,
        storage,
        name,
        uid,
    })
}

/// Whether the EtcdCluster of this UID owns the DataStore.
pub fn is_owned(store: &DataStore, uid: &str) -> bool {
    store.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.len() <= MAX_NAME && !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Rejection::new(
        "InvalidName",
        "metadata.name",
        format!(
            "\"{name}\" cannot name a StatefulSet's Service; create an EtcdCluster with at most {MAX_NAME} lower-case \
             letters, digits and hyphens"
        ),
    ))
}

fn quota(quota: &Quantity, storage: &Storage) -> Result<i64, Rejection> {
    let invalid = |message: String| Rejection::new("InvalidQuota", "spec.quota", message);
    let bytes = quantity::bytes(quota).filter(|bytes| *bytes > 0);
    let Some(bytes) = bytes else {
        return Err(invalid(format!("\"{}\" is not a size above zero; write for example 2Gi", quota.0)));
    };
    let (field, volume) = match storage {
        Storage::Persistent { size, .. } => ("spec.storage.persistent.size", Some(size)),
        Storage::Ephemeral { size_limit } => ("spec.storage.ephemeral.sizeLimit", size_limit.as_ref()),
    };
    let Some(volume) = volume else { return Ok(bytes) };
    match quantity::bytes(volume).filter(|size| *size > 0) {
        None => Err(Rejection::new(
            "InvalidSize",
            field,
            format!("\"{}\" is not a size above zero; write for example 8Gi", volume.0),
        )),
        // The write-ahead log and a snapshot in transfer need room beside the backend.
        Some(size) if size <= bytes => Err(invalid(format!(
            "{} leaves no room for the log on a volume of {}; raise {field}, or lower the quota",
            quota.0, volume.0
        ))),
        Some(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(name: &str, spec: &serde_json::Value) -> Arc<EtcdCluster> {
        let object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "EtcdCluster",
            "metadata": {"name": name, "uid": "uid-1"}, "spec": spec,
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn rejected(name: &str, spec: &serde_json::Value) -> String {
        resolve(&cluster(name, spec), "kamaji-system", &Observed::default()).unwrap_err().to_string()
    }

    #[test]
    fn fills_in_one_ephemeral_member_with_two_gibibytes() {
        let resolved = resolve(&cluster("default", &json!({})), "kamaji-system", &Observed::default()).unwrap();
        assert_eq!((resolved.replicas, resolved.quota_bytes), (1, 2 << 30));
        assert_eq!(resolved.storage, Storage::Ephemeral { size_limit: None });
        assert_eq!(resolved.image, DEFAULT_IMAGE);
    }

    #[test]
    fn names_the_field_that_cannot_work() {
        for (name, spec, start) in [
            ("a.b", json!({}), "metadata.name: \"a.b\" cannot"),
            (&*"x".repeat(MAX_NAME + 1), json!({}), "metadata.name: "),
            ("a", json!({"replicas": 2}), "spec.replicas: 2 members"),
            ("a", json!({"quota": "much"}), "spec.quota: \"much\" is not"),
            (
                "a",
                json!({"quota": "8Gi", "storage": {"persistent": {"size": "8Gi"}}}),
                "spec.quota: 8Gi leaves no room",
            ),
            (
                "a",
                json!({"storage": {"ephemeral": {"sizeLimit": "-1"}}}),
                "spec.storage.ephemeral.sizeLimit: \"-1\" is not",
            ),
        ] {
            let sentence = rejected(name, &spec);
            assert!(sentence.starts_with(start), "{sentence}");
        }
    }

    #[test]
    fn keeps_three_members_when_asked_for_one() {
        let observed = Observed { size: Some(3), ..Observed::default() };
        let resolved = resolve(&cluster("a", &json!({"replicas": 1})), "kamaji-system", &observed).unwrap();
        assert_eq!(resolved.replicas, 3);
        assert_eq!(resolved.refused.unwrap().reason, "ShrinkRefused");
    }

    #[test]
    fn does_not_take_over_a_datastore_of_its_name() {
        let store: DataStore = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "a"},
            "spec": {"driver": "etcd", "endpoints": ["x:2379"]},
        }))
        .unwrap();
        let observed = Observed { data_store: Some(&store), ..Observed::default() };
        let rejection = resolve(&cluster("a", &json!({})), "kamaji-system", &observed).unwrap_err();
        assert_eq!(rejection.reason, "DataStoreTaken");
    }
}
