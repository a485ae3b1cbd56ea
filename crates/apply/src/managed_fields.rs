//! Who owns which field: reads `metadata.managedFields`, and takes over from earlier writers of the same name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value, json};

/// Set of fields in the notation of `fieldsV1`.
pub(crate) type Fields = Map<String, Value>;

/// What a manager left on an object.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ownership {
    /// Fields that the manager applied, with the API version that they are written in.
    pub(crate) applied: Option<(String, Fields)>,
    /// The manager also holds fields from ordinary updates: removals do not take until these are taken over.
    pub(crate) updated: bool,
}

pub(crate) fn ownership(entries: &[ManagedFieldsEntry], manager: &str) -> Ownership {
    let applied = entries.iter().find(|entry| is_applied(entry, manager)).map(|entry| {
        (entry.api_version.clone().unwrap_or_default(), entry.fields_v1.as_ref().map(fields).unwrap_or_default())
    });
    Ownership { applied, updated: entries.iter().any(|entry| is_updated(entry, manager)) }
}

/// This entry is the manager's, and not one of a subresource.
pub(crate) fn is_of(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager) && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

pub(crate) fn is_applied(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    is_of(entry, manager) && entry.operation.as_deref() == Some("Apply")
}

fn is_updated(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    is_of(entry, manager) && entry.operation.as_deref() == Some("Update")
}

/// Replaces the tree by its text, a fifth of the memory; [`ownership`] reads both.
pub(crate) fn compact(entry: &mut ManagedFieldsEntry) {
    if let Some(FieldsV1(tree)) = &mut entry.fields_v1
        && tree.is_object()
    {
        *tree = Value::String(tree.to_string());
    }
}

fn fields(fields: &FieldsV1) -> Fields {
    match &fields.0 {
        Value::Object(fields) => fields.clone(),
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Fields::new(),
    }
}

/// Managed fields after the takeover: what the manager updated counts as applied from now on, so that the next apply
/// removes what it no longer wants. `None` when there is nothing to take over. Rule: client-go's `csaupgrade`.
pub(crate) fn taken_over(entries: &[ManagedFieldsEntry], manager: &str) -> Option<Vec<ManagedFieldsEntry>> {
    let first_update = entries.iter().find(|entry| is_updated(entry, manager))?;
    let applied = entries.iter().find(|entry| is_applied(entry, manager));
    let mut merged = applied.unwrap_or(first_update).clone();
    merged.operation = Some("Apply".to_owned());
    let mut all = merged.fields_v1.as_ref().map(fields).unwrap_or_default();
    for update in entries.iter().filter(|entry| is_updated(entry, manager)) {
        // Field names of another version of the API cannot be merged; the next apply states all fields anyway.
        if update.api_version == merged.api_version {
            unite(&mut all, update.fields_v1.as_ref().map(fields).unwrap_or_default());
        }
    }
    merged.fields_v1 = Some(FieldsV1(Value::Object(all)));
    let others = entries.iter().filter(|entry| !is_applied(entry, manager) && !is_updated(entry, manager));
    Some(std::iter::once(merged).chain(others.cloned()).collect())
}

/// Fields that anybody owns.
pub(crate) fn union(entries: &[ManagedFieldsEntry]) -> Fields {
    let mut all = Fields::new();
    for entry in entries {
        unite(&mut all, entry.fields_v1.as_ref().map(fields).unwrap_or_default());
    }
    all
}

fn unite(into: &mut Fields, from: Fields) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => unite(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// JSON patch that writes `entries` if the object is still at `resource_version`. The API server answers 409 if not.
pub(crate) fn patch(entries: &[ManagedFieldsEntry], resource_version: &str) -> Value {
    json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, subresource: Option<&str>, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            api_version: Some("v1".to_owned()),
            subresource: subresource.map(str::to_owned),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn reads_only_the_managers_own_entries() {
        let entries = [
            entry("kubectl", "Apply", None, json!({"f:a": {}})),
            entry("kamaji", "Update", Some("status"), json!({"f:status": {}})),
            entry("kamaji", "Apply", None, json!({"f:b": {}})),
        ];
        let seen = ownership(&entries, "kamaji");
        let expected = json!({"f:b": {}}).as_object().unwrap().clone();
        assert_eq!(seen, Ownership { applied: Some(("v1".to_owned(), expected)), updated: false });
        assert!(taken_over(&entries, "kamaji").is_none());
    }

    #[test]
    fn reads_a_compacted_entry_like_the_tree() {
        let mut compacted = entry("kamaji", "Apply", None, json!({"f:data": {"f:k": {}, "k:{\"a\":\"b\"}": {}}}));
        let before = ownership(std::slice::from_ref(&compacted), "kamaji");
        compact(&mut compacted);
        assert!(compacted.fields_v1.as_ref().unwrap().0.is_string());
        assert_eq!(ownership(&[compacted], "kamaji"), before);
    }

    #[test]
    fn turns_an_update_entry_into_an_apply_entry() {
        let entries =
            [entry("kamaji", "Update", None, json!({"f:a": {}})), entry("other", "Update", None, json!({"f:b": {}}))];
        let after = taken_over(&entries, "kamaji").unwrap();
        assert_eq!(after.len(), 2);
        assert_eq!(after[0].operation.as_deref(), Some("Apply"));
        assert_eq!(after[1], entries[1]);
    }

    #[test]
    fn unites_update_and_apply_fields_and_keeps_the_status_entry() {
        let status = entry("kamaji", "Update", Some("status"), json!({"f:status": {}}));
        let entries = [
            entry("kamaji", "Apply", None, json!({"f:spec": {"f:a": {}}})),
            entry("kamaji", "Update", None, json!({"f:spec": {".": {}, "f:b": {"f:c": {}}}})),
            status.clone(),
        ];
        let after = taken_over(&entries, "kamaji").unwrap();
        assert_eq!(after.len(), 2);
        assert_eq!(after[0].fields_v1.as_ref().unwrap().0, json!({"f:spec": {"f:a": {}, ".": {}, "f:b": {"f:c": {}}}}));
        assert_eq!(after[1], status);
    }
}
