//! Items of lists in the notation of `fieldsV1`: `k:{"name":"a"}` for items with keys, `v:"a"` for members of a set.

use serde_json::{Map, Value};

// Keys that the API server fills in before it records an item under them.
const KEY_DEFAULTS: [(&str, &str); 1] = [("protocol", "TCP")];

/// The key of one owned list item.
pub(crate) enum ItemKey {
    /// Item of an associative list.
    Keys(Map<String, Value>),
    /// Member of a set.
    Value(Value),
    /// Not an item of a list.
    Other,
}

impl ItemKey {
    /// The item is the one that is recorded under this key.
    pub(crate) fn is_of(&self, item: &Value) -> bool {
        match self {
            Self::Keys(keys) => matches(item, keys),
            Self::Value(value) => value == item,
            Self::Other => false,
        }
    }
}

pub(crate) fn parse(key: &str) -> ItemKey {
    if let Some(keys) = key.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok()) {
        ItemKey::Keys(keys)
    } else if let Some(value) = key.strip_prefix("v:").and_then(|value| serde_json::from_str(value).ok()) {
        ItemKey::Value(value)
    } else {
        ItemKey::Other
    }
}

fn matches(item: &Value, keys: &Map<String, Value>) -> bool {
    let Value::Object(item) = item else { return false };
    keys.iter().all(|(key, recorded)| match item.get(key) {
        Some(value) => value == recorded,
        None => match KEY_DEFAULTS.iter().find(|(name, _)| name == key) {
            Some((_, default)) => recorded == default,
            None => crate::atomic::is_zero(recorded),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches_key(item: &Value, key: &str) -> bool {
        parse(key).is_of(item)
    }

    #[test]
    fn finds_a_port_whose_protocol_was_left_out() {
        let tcp = r#"k:{"containerPort":6443,"protocol":"TCP"}"#;
        let udp = r#"k:{"containerPort":6443,"protocol":"UDP"}"#;
        assert!(matches_key(&json!({"containerPort": 6443, "name": "api"}), tcp));
        assert!(!matches_key(&json!({"containerPort": 6443, "name": "api"}), udp));
        assert!(matches_key(&json!({"containerPort": 6443, "protocol": "UDP"}), udp));
        assert!(!matches_key(&json!({"containerPort": 6444}), tcp));
    }

    #[test]
    fn tells_sets_from_fields() {
        assert!(matches!(parse(r#"v:"a""#), ItemKey::Value(value) if value == "a"));
        assert!(matches!(parse("f:a"), ItemKey::Other));
        assert!(matches!(parse("."), ItemKey::Other));
    }
}
