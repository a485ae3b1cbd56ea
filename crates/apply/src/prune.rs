//! Which owned objects are no longer wanted.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};

/// Live objects of one kind that belong to an owner and are not wanted any more, in the order of `live`.
///
/// `owner_uid` is the owner's `metadata.uid`: a name would match the objects of an owner that was deleted and made
/// again. `wanted` holds the names of the objects that the owner wants, in the namespace that `live` covers. Objects
/// that are being deleted already are left out. Pass only objects that carry the owner's label, so that what somebody
/// else attached to the owner stays.
pub fn prune_candidates<'a, K>(
    owner_uid: &str,
    wanted: &BTreeSet<String>,
    live: impl IntoIterator<Item = &'a K>,
) -> Vec<&'a K>
where
    K: Resource + 'a,
{
    live.into_iter()
        .filter(|object| {
            let owned = object.owner_references().iter().any(|owner| owner.uid == owner_uid);
            owned && object.meta().deletion_timestamp.is_none() && !wanted.contains(&object.name_any())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn config_map(name: &str, owner: &str, deleting: bool) -> ConfigMap {
        let deletion = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {
            "name": name, "deletionTimestamp": deletion,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "owner", "uid": owner}],
        }}))
        .unwrap()
    }

    #[test]
    fn picks_only_unwanted_objects_of_this_owner() {
        let live = [
            config_map("kept", "a", false),
            config_map("dropped", "a", false),
            config_map("foreign", "b", false),
            config_map("going", "a", true),
        ];
        let wanted = BTreeSet::from(["kept".to_owned()]);
        let names: Vec<_> = prune_candidates("a", &wanted, &live).iter().map(|object| object.name_any()).collect();
        assert_eq!(names, ["dropped"]);
    }
}
