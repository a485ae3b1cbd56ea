//! Whether an apply would change anything.

use std::fmt;

use serde_json::{Map, Value};

use crate::atomic;
use crate::field_list::{self, ItemKey};
use crate::managed_fields::Fields;
use crate::value::Path;

/// First reason found for an apply. Holds no values: they may be secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    field: String,
    what: &'static str,
}

impl Difference {
    fn at(path: &Path<'_>, what: &'static str) -> Self {
        Self { field: path.to_string(), what }
    }

    pub(crate) fn other_version() -> Self {
        Self { field: "metadata.managedFields".to_owned(), what: "is in another version of the API" }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.field, self.what)
    }
}

const CHANGED: &str = "has another value";
const MISSING: &str = "is not there";
const NOT_OWNED: &str = "is not owned by this manager";
const LEFT_OVER: &str = "is owned by this manager and no longer wanted";
const ORDER: &str = "is in another order";

/// Why `desired` must be applied over `live`, of which this manager owns `owned`; `None` when it need not be.
///
/// The ownership record also says how a list or map is merged: an item key or member below it means item by item, no
/// children means that it is owned whole. So no schema is needed.
pub(crate) fn difference(
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Fields,
) -> Option<Difference> {
    fields(None, desired, live, owned).err()
}

type Checked = Result<(), Difference>;

fn fields(
    parent: Option<&Path<'_>>,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Fields,
) -> Checked {
    for (key, desired) in desired {
        let path = parent.map_or_else(|| Path::root(key), |parent| parent.child(key));
        let Some(Value::Object(owned)) = owned.get(&format!("f:{key}")) else {
            return Err(Difference::at(&path, NOT_OWNED));
        };
        field(&path, desired, live.get(key), owned)?;
    }
    for key in owned.keys().filter(|key| *key != ".") {
        let name = key.strip_prefix("f:").unwrap_or(key);
        if !key.starts_with("f:") || !desired.contains_key(name) {
            let path = parent.map_or_else(|| Path::root(name), |parent| parent.child(name));
            return Err(Difference::at(&path, LEFT_OVER));
        }
    }
    Ok(())
}

fn field(path: &Path<'_>, desired: &Value, live: Option<&Value>, owned: &Fields) -> Checked {
    let whole = owned.keys().all(|key| key == ".");
    let Some(live) = live else {
        // Had somebody else removed it, the ownership would be gone too: the API server leaves zero values out.
        return if atomic::is_zero(desired) && whole { Ok(()) } else { Err(Difference::at(path, MISSING)) };
    };
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) if !whole => fields(Some(path), desired, live, owned),
        (Value::Array(desired), Value::Array(live)) if !whole => items(path, desired, live, owned),
        _ if !whole => Err(Difference::at(path, LEFT_OVER)),
        _ if atomic::same(path, desired, live) => Ok(()),
        _ => Err(Difference::at(path, CHANGED)),
    }
}

fn items(path: &Path<'_>, desired: &[Value], live: &[Value], owned: &Fields) -> Checked {
    let mut keys: Vec<(ItemKey, Option<&Fields>)> = owned
        .iter()
        .filter(|(key, _)| *key != ".")
        .map(|(key, below)| (field_list::parse(key), below.as_object()))
        .collect();
    let mut last_index = None;
    for item in desired {
        let Some(position) = keys.iter().position(|(key, _)| key.is_of(item)) else {
            return Err(Difference::at(path, NOT_OWNED));
        };
        let (key, below) = keys.swap_remove(position);
        let Some((index, live)) = live.iter().enumerate().find(|(_, live)| key.is_of(live)) else {
            return Err(Difference::at(path, MISSING));
        };
        // The order of a set means nothing; that of init containers and environment variables does.
        if item.is_object() {
            if last_index.is_some_and(|last| last > index) {
                return Err(Difference::at(path, ORDER));
            }
            last_index = Some(index);
            let below = below.ok_or_else(|| Difference::at(path, NOT_OWNED))?;
            field(path, item, Some(live), below)?;
        }
    }
    if keys.is_empty() { Ok(()) } else { Err(Difference::at(path, LEFT_OVER)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(desired: &Value, live: &Value, owned: &Value) -> Option<String> {
        let map = |value: &Value| value.as_object().unwrap().clone();
        difference(&map(desired), &map(live), &map(owned)).map(|difference| difference.to_string())
    }

    #[test]
    fn allows_defaults_and_foreign_fields_around_the_wanted_ones() {
        let desired = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "a", "image": "i", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "0.5"}}},
        ]}}}});
        let live = json!({
            "metadata": {"labels": {"foreign": "x"}},
            "spec": {"replicas": 2, "progressDeadlineSeconds": 600, "template": {"spec": {"containers": [
                {"name": "injected"},
                {
                    "name": "a", "image": "i", "imagePullPolicy": "Always",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": "500m"}},
                },
            ]}}},
        });
        let owned = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"a\"}": {
                ".": {}, "f:name": {}, "f:image": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                "f:resources": {"f:limits": {"f:cpu": {}}},
            },
        }}}}});
        assert_eq!(why(&desired, &live, &owned), None);
    }

    #[test]
    fn finds_a_removed_field_that_no_value_shows() {
        let owned = json!({"f:data": {"f:a": {}, "f:b": {}}});
        let live = json!({"data": {"a": "1", "b": "2"}});
        assert_eq!(
            why(&json!({"data": {"a": "1"}}), &live, &owned).unwrap(),
            "data.b is owned by this manager and no longer wanted"
        );
        assert_eq!(why(&json!({}), &live, &owned).unwrap(), "data is owned by this manager and no longer wanted");
    }

    #[test]
    fn finds_a_field_that_somebody_else_took() {
        let desired = json!({"data": {"a": "1"}});
        assert_eq!(why(&desired, &desired, &json!({})).unwrap(), "data is not owned by this manager");
    }

    #[test]
    fn finds_a_removed_list_item_and_a_removed_member() {
        let owned = json!({"f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}, "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}});
        let live = json!({"list": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(
            why(&json!({"list": [{"name": "a"}]}), &live, &owned).unwrap(),
            "list is owned by this manager and no longer wanted"
        );
        let owned = json!({"f:set": {"v:\"a\"": {}, "v:\"b\"": {}}});
        let live = json!({"set": ["b", "a"]});
        assert_eq!(why(&json!({"set": ["a", "b"]}), &live, &owned), None);
        assert_eq!(
            why(&json!({"set": ["a"]}), &live, &owned).unwrap(),
            "set is owned by this manager and no longer wanted"
        );
    }

    #[test]
    fn finds_items_in_another_order() {
        let owned = json!({"f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}, "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}});
        let desired = json!({"list": [{"name": "b"}, {"name": "a"}]});
        let live = json!({"list": [{"name": "a"}, {"name": "foreign"}, {"name": "b"}]});
        assert_eq!(why(&desired, &live, &owned).unwrap(), "list is in another order");
        let live = json!({"list": [{"name": "b"}, {"name": "foreign"}, {"name": "a"}]});
        assert_eq!(why(&desired, &live, &owned), None);
    }

    #[test]
    fn compares_what_is_owned_whole_in_both_directions() {
        let owned = json!({"f:spec": {"f:selector": {}, "f:args": {}}});
        let live = json!({"spec": {"selector": {"a": "1", "b": "2"}, "args": ["x", "y"]}});
        assert_eq!(why(&live, &live, &owned), None);
        let desired = json!({"spec": {"selector": {"a": "1"}, "args": ["x", "y"]}});
        assert_eq!(why(&desired, &live, &owned).unwrap(), "spec.selector has another value");
        let desired = json!({"spec": {"selector": {"a": "1", "b": "2"}, "args": ["x"]}});
        assert_eq!(why(&desired, &live, &owned).unwrap(), "spec.args has another value");
    }

    #[test]
    fn accepts_that_the_server_left_out_a_zero_value_it_was_given() {
        let desired = json!({"spec": {"hostNetwork": false, "nodeSelector": {}}});
        let owned = json!({"f:spec": {"f:hostNetwork": {}, "f:nodeSelector": {}}});
        assert_eq!(why(&desired, &json!({"spec": {}}), &owned), None);
        assert_eq!(
            why(
                &json!({"spec": {"hostNetwork": true}}),
                &json!({"spec": {}}),
                &json!({"f:spec": {"f:hostNetwork": {}}})
            )
            .unwrap(),
            "spec.hostNetwork is not there"
        );
    }

    #[test]
    fn shows_no_value_in_the_reason() {
        let desired = json!({"data": {"password": "aHVudGVyMg=="}});
        let live = json!({"data": {"password": "b2xk"}});
        assert_eq!(
            why(&desired, &live, &json!({"f:data": {"f:password": {}}})).unwrap(),
            "data.password has another value"
        );
    }
}
