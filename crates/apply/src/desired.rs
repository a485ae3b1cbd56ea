//! The form in which objects are sent and compared.

use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Error;

// The parts of metadata that a writer may own; the API server strips the rest from every ownership record.
const OWNED_METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

/// Body of an apply, and its part that ownership is compared by.
pub(crate) struct Desired {
    /// What is sent.
    pub(crate) body: Value,
    /// What is compared: no type, no identity.
    pub(crate) fields: Map<String, Value>,
}

pub(crate) fn desired<K>(object: &K, shown: &str) -> Result<Desired, Error>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let mut fields = comparable(object, shown)?;
    fields.values_mut().for_each(state_twin);
    if fields.contains_key("stringData") {
        return Err(Error::StringData { object: shown.to_owned() });
    }
    let mut body = fields.clone();
    let metadata = body.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.insert("name".to_owned(), json!(object.meta().name));
        if let Some(namespace) = object.meta().namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
    }
    body.insert("apiVersion".to_owned(), json!(K::api_version(&())));
    body.insert("kind".to_owned(), json!(K::kind(&())));
    Ok(Desired { body: Value::Object(body), fields })
}

/// The object without type, identity and status, without nulls and empty lists.
///
/// An empty list means the same as an absent one throughout the Kubernetes API, and most API types cannot keep the
/// two apart.
pub(crate) fn comparable<K: Serialize>(object: &K, shown: &str) -> Result<Map<String, Value>, Error> {
    let Value::Object(mut fields) = serde_json::to_value(object).map_err(|error| Error::json(shown, &error))? else {
        return Err(Error::json(shown, &serde::ser::Error::custom("not an object")));
    };
    for key in ["apiVersion", "kind", "status"] {
        fields.remove(key);
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|key, value| OWNED_METADATA.contains(&key.as_str()) && !is_void(value));
        if metadata.is_empty() {
            fields.remove("metadata");
        }
    }
    prune(&mut fields);
    Ok(fields)
}

// The API server copies a pod's `serviceAccountName` to the old field of the same meaning, and back: nobody owns the
// copy, so that the account could never be removed. Stated together, they go together.
fn state_twin(value: &mut Value) {
    let Value::Object(map) = value else { return };
    if map.get("containers").is_some_and(Value::is_array)
        && let Some(name) = map.get("serviceAccountName").cloned()
    {
        map.insert("serviceAccount".to_owned(), name);
    }
    map.values_mut().for_each(state_twin);
}

fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn prune(map: &mut Map<String, Value>) {
    map.retain(|_, value| {
        prune_value(value);
        !matches!(value, Value::Null) && !matches!(value, Value::Array(items) if items.is_empty())
    });
}

fn prune_value(value: &mut Value) {
    match value {
        Value::Object(map) => prune(map),
        Value::Array(items) => items.iter_mut().for_each(prune_value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Pod, Secret};

    #[test]
    fn sends_identity_but_nothing_that_the_server_owns() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "labels": {"l": "v"},
                "annotations": {}, "managedFields": [{"manager": "m"}],
            },
            "spec": {"containers": [], "nodeSelector": {}, "tolerations": []},
            "status": {"phase": "Running"},
        }))
        .unwrap();
        let desired = desired(&pod, "Pod b/a").unwrap();
        assert_eq!(
            desired.body,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "namespace": "b", "labels": {"l": "v"}}, "spec": {"nodeSelector": {}},
            })
        );
        assert_eq!(
            Value::Object(desired.fields),
            json!({"metadata": {"labels": {"l": "v"}}, "spec": {"nodeSelector": {}}})
        );
    }

    #[test]
    fn states_both_names_of_the_service_account() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}], "serviceAccountName": "s"},
        }))
        .unwrap();
        let desired = desired(&pod, "Pod a").unwrap();
        assert_eq!(desired.body["spec"]["serviceAccount"], "s");
        assert_eq!(desired.fields["spec"]["serviceAccount"], "s");
    }

    #[test]
    fn refuses_string_data_without_showing_it() {
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "a"}, "stringData": {"password": "hunter2"}})).unwrap();
        let error = desired(&secret, "Secret a").err().unwrap();
        assert_eq!(error.category(), "internal");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
