//! Fields that nobody owns: defaults of the API server that stand in the way.
//!
//! A default stays when the wish changes, because no manager can give it up: a Deployment that was applied without
//! `strategy.rollingUpdate` has one, and then refuses `strategy.type: Recreate`. Once the manager owns the default,
//! its next apply removes it, and the API server fills in the defaults that fit the new wish.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};

use crate::field_list;
use crate::managed_fields::{self, Fields};

/// Managed fields in which `manager` owns what nobody owns and `desired` does not state, beside its own fields. `None`
/// when there is no such field. `entries` are all of the object's.
pub(crate) fn adopted(
    entries: &[ManagedFieldsEntry],
    manager: &str,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
) -> Option<Vec<ManagedFieldsEntry>> {
    let (_, mut owned) = managed_fields::ownership(entries, manager).applied?;
    let everybody = managed_fields::union(entries);
    let mut live = live.clone();
    // Every label and annotation is somebody's.
    live.remove("metadata");
    if !adopt(&mut owned, &everybody, Some(desired), &live) {
        return None;
    }
    let mut entries = entries.to_vec();
    let entry = entries.iter_mut().find(|entry| managed_fields::is_applied(entry, manager))?;
    entry.fields_v1 = Some(FieldsV1(Value::Object(owned)));
    Some(entries)
}

// Descends only where the manager owns parts of an object: what is owned whole has no orphans.
fn adopt(
    owned: &mut Fields,
    everybody: &Fields,
    desired: Option<&Map<String, Value>>,
    live: &Map<String, Value>,
) -> bool {
    let mut any = false;
    for (key, live) in live {
        let field = format!("f:{key}");
        let desired = desired.and_then(|desired| desired.get(key));
        match (owned.get_mut(&field), everybody.get(&field)) {
            (Some(Value::Object(owned)), Some(Value::Object(everybody))) if !owned.is_empty() => {
                any |= adopt_below(owned, everybody, desired, live);
            }
            (None, None) if desired.is_none() => {
                owned.insert(field, Value::Object(Map::new()));
                any = true;
            }
            _ => {}
        }
    }
    any
}

fn adopt_below(owned: &mut Fields, everybody: &Fields, desired: Option<&Value>, live: &Value) -> bool {
    match live {
        Value::Object(live) => adopt(owned, everybody, desired.and_then(Value::as_object), live),
        Value::Array(live) => {
            let mut any = false;
            for (key, below) in owned.iter_mut() {
                let parsed = field_list::parse(key);
                let item = live.iter().find(|item| parsed.is_of(item)).and_then(Value::as_object);
                let all = everybody.get(key).and_then(Value::as_object);
                let (Some(item), Some(all), Value::Object(below)) = (item, all, below) else { continue };
                let wanted = desired.and_then(Value::as_array).into_iter().flatten().find(|item| parsed.is_of(item));
                if !below.is_empty() {
                    any |= adopt(below, all, wanted.and_then(Value::as_object), item);
                }
            }
            any
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    fn adopted_fields(entries: &[ManagedFieldsEntry], desired: &Value, live: &Value) -> Option<Value> {
        let map = |value: &Value| value.as_object().unwrap().clone();
        let entries = adopted(entries, "kamaji", &map(desired), &map(live))?;
        entries[0].fields_v1.clone().map(|fields| fields.0)
    }

    #[test]
    fn adopts_what_nobody_owns_and_leaves_the_rest() {
        let entries = [
            entry(
                "kamaji",
                "Apply",
                json!({"f:spec": {"f:strategy": {"f:type": {}}, "f:selector": {}, "f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}}}}),
            ),
            entry("scaler", "Update", json!({"f:spec": {"f:replicas": {}}})),
        ];
        let live = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "replicas": 2,
                "selector": {"x": "y"}, "wanted": 1, "list": [{"name": "a", "default": {}}, {"name": "b", "other": 1}],
            },
        });
        let desired = json!({"spec": {"strategy": {"type": "Recreate"}, "wanted": 2, "list": [{"name": "a"}]}});
        assert_eq!(
            adopted_fields(&entries, &desired, &live),
            Some(json!({"f:spec": {
                "f:strategy": {"f:type": {}, "f:rollingUpdate": {}}, "f:selector": {},
                "f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:default": {}}},
            }}))
        );
    }

    #[test]
    fn is_none_when_all_is_owned() {
        let entries = [entry("kamaji", "Apply", json!({"f:spec": {"f:a": {}}}))];
        assert_eq!(adopted_fields(&entries, &json!({"spec": {"a": 1}}), &json!({"spec": {"a": 2}})), None);
    }
}
