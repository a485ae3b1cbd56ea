//! Values that are owned whole: no ownership record says what is inside.

use serde_json::{Map, Value};

use crate::value::{self, Path};

// (field that holds it, default that the API server adds, its value). Only what it adds inside values that are owned
// whole; elsewhere the ownership record tells a default from a leftover. A default that is missing here costs one
// apply without effect per process.
const DEFAULTS: [(&str, &str, &str); 15] = [
    ("fieldRef", "apiVersion", "\"v1\""),
    ("resourceFieldRef", "divisor", "\"0\""),
    ("serviceAccountToken", "expirationSeconds", "3600"),
    ("ports", "protocol", "\"TCP\""),
    ("roleRef", "apiGroup", "\"rbac.authorization.k8s.io\""),
    ("subjects", "apiGroup", "\"rbac.authorization.k8s.io\""),
    ("rules", "scope", "\"*\""),
    ("volumeClaimTemplates", "apiVersion", "\"v1\""),
    ("volumeClaimTemplates", "kind", "\"PersistentVolumeClaim\""),
    ("volumeClaimTemplates", "status", "{\"phase\":\"Pending\"}"),
    ("parentRefs", "group", "\"gateway.networking.k8s.io\""),
    ("parentRefs", "kind", "\"Gateway\""),
    ("backendRefs", "group", "\"\""),
    ("backendRefs", "kind", "\"Service\""),
    ("backendRefs", "weight", "1"),
];

/// `live` is `desired` but for defaults of the API server.
pub(crate) fn same(path: &Path<'_>, desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => same_object(path, desired, live),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len() && desired.iter().zip(live).all(|(desired, live)| same(path, desired, live))
        }
        (desired, live) => value::same(path, desired, live),
    }
}

pub(crate) fn same_object(path: &Path<'_>, desired: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    // The API server leaves out a scalar that is zero. Nobody else can have removed it: that would have taken the
    // ownership of the whole value. An empty object is no absent one: `namespaceSelector: {}` selects all namespaces.
    let wanted = desired.iter().all(|(key, desired)| match live.get(key) {
        Some(live) => same(&path.child(key), desired, live),
        None => !desired.is_object() && !desired.is_array() && is_zero(desired),
    });
    wanted && live.iter().all(|(key, live)| desired.contains_key(key) || is_default(path, key, live))
}

/// Value that the API server may leave out of an object.
pub(crate) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_zero),
    }
}

fn is_default(path: &Path<'_>, key: &str, live: &Value) -> bool {
    let parent = path.leaf();
    let volume_mode = path.parent_name() == "volumeClaimTemplates" && key == "volumeMode" && live == "Filesystem";
    volume_mode
        || DEFAULTS.iter().any(|(holder, name, value)| {
            *holder == parent && *name == key && serde_json::from_str::<Value>(value).is_ok_and(|value| value == *live)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_what_is_left_over() {
        let path = Path::root("selector");
        assert!(!same(&path, &json!({"a": "1"}), &json!({"a": "1", "b": "2"})));
        assert!(!same(&path, &json!({"a": "1", "b": "2"}), &json!({"a": "1"})));
        assert!(!same(&path, &json!(["a"]), &json!(["a", "b"])));
        assert!(!same(&path, &json!(["a", "b"]), &json!(["b", "a"])));
        assert!(!same(&path, &json!({"a": "1"}), &json!({"a": "1", "all": {}})));
        assert!(!same(&path, &json!({"a": "1", "all": {}}), &json!({"a": "1"})));
        assert!(same(&path, &json!({"a": "1"}), &json!({"a": "1"})));
    }

    #[test]
    fn a_zero_scalar_that_the_server_leaves_out_is_no_difference() {
        let path = Path::root("tolerations");
        assert!(same(&path, &json!([{"key": "a", "value": ""}]), &json!([{"key": "a"}])));
        assert!(!same(&path, &json!([{"key": "a", "value": "b"}]), &json!([{"key": "a"}])));
    }

    #[test]
    fn allows_the_servers_defaults() {
        let root = Path::root("spec");
        let field = root.child("fieldRef");
        assert!(same(&field, &json!({"fieldPath": "x"}), &json!({"fieldPath": "x", "apiVersion": "v1"})));
        assert!(!same(&field, &json!({"fieldPath": "x"}), &json!({"fieldPath": "x", "apiVersion": "v2"})));
        let sources = root.child("sources");
        assert!(same(
            &sources,
            &json!([{"serviceAccountToken": {"path": "token"}}]),
            &json!([{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]),
        ));
        assert!(same(
            &root.child("volumeClaimTemplates"),
            &json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1024Mi"}}}}]),
            &json!([{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
                "status": {"phase": "Pending"},
            }]),
        ));
    }
}
