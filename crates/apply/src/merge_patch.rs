//! JSON merge patch (RFC 7386) between two objects.

use serde_json::{Map, Value};

/// The smallest merge patch that turns `live` into `desired`; `None` when they are equal. A null in either counts as
/// an absent field. Lists are replaced whole.
pub(crate) fn difference(live: &Map<String, Value>, desired: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for (key, wanted) in desired.iter().filter(|(_, value)| !value.is_null()) {
        match (live.get(key).filter(|value| !value.is_null()), wanted) {
            (Some(Value::Object(live)), Value::Object(wanted)) => {
                if let Some(inner) = difference(live, wanted) {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(live), wanted) if live == wanted => {}
            (_, wanted) => {
                patch.insert(key.clone(), wanted.clone());
            }
        }
    }
    for (key, value) in live {
        if !value.is_null() && desired.get(key).is_none_or(Value::is_null) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(patch)
}

/// Whether everything that is `left` to change was in the patch that was sent.
pub(crate) fn covers(sent: &Map<String, Value>, left: &Map<String, Value>) -> bool {
    left.iter().all(|(key, left)| match (sent.get(key), left) {
        (Some(Value::Object(sent)), Value::Object(left)) => covers(sent, left),
        (sent, left) => sent == Some(left),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn diff(live: &Value, desired: &Value) -> Option<Value> {
        difference(live.as_object().unwrap(), desired.as_object().unwrap()).map(Value::Object)
    }

    #[test]
    fn is_none_for_equal_statuses_whatever_their_nulls() {
        assert_eq!(diff(&json!({"a": {"b": 1}, "n": null}), &json!({"a": {"b": 1, "m": null}})), None);
    }

    #[test]
    fn carries_only_what_changes_and_nulls_what_goes() {
        let live = json!({"a": {"b": 1, "c": 2}, "gone": {"x": 1}, "same": [1]});
        let desired = json!({"a": {"b": 1, "c": 3}, "new": true, "same": [1]});
        assert_eq!(diff(&live, &desired), Some(json!({"a": {"c": 3}, "gone": null, "new": true})));
    }

    #[test]
    fn covers_what_was_sent_and_nothing_beside_it() {
        let covered = |left: Value| {
            let sent = json!({"a": {"b": 1, "c": [2]}, "gone": null});
            covers(sent.as_object().unwrap(), left.as_object().unwrap())
        };
        for sent in [json!({"a": {"b": 1}}), json!({"a": {"c": [2]}, "gone": null})] {
            assert!(covered(sent.clone()), "{sent}");
        }
        for other in [json!({"a": {"b": 2}}), json!({"a": {"b": 1, "d": 1}}), json!({"x": 1}), json!({"gone": 1})] {
            assert!(!covered(other.clone()), "{other}");
        }
    }

    #[test]
    fn replaces_lists_whole() {
        assert_eq!(diff(&json!({"l": [1, 2]}), &json!({"l": [2]})), Some(json!({"l": [2]})));
    }
}
