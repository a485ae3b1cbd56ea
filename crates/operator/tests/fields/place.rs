//! Finds a place in an object, and makes one.

use serde_json::{Value, json};

/// The merge patch that sets `path` below `spec`.
pub fn patch(path: &str, value: Value) -> Value {
    let parts: Vec<&str> = path.split('.').collect();
    let inner = parts.iter().rev().fold(value, |value, part| json!({*part: value}));
    json!({"spec": inner})
}

/// What is at `place`, written as for a [`super::Field`].
pub fn look(object: &Value, place: &str) -> Option<Value> {
    let mut node = object;
    let mut rest = place.strip_prefix('/')?;
    loop {
        // The last part may be a text with slashes.
        if let Value::Array(items) = node
            && !rest.starts_with('{')
        {
            let (index, below) = rest.split_once('/').map_or((rest, None), |(index, below)| (index, Some(below)));
            let Ok(index) = index.parse::<usize>() else {
                return items.iter().any(|item| item == rest).then_some(Value::Bool(true));
            };
            return match below {
                Some(below) => look(items.get(index)?, &format!("/{below}")),
                None => items.get(index).cloned(),
            };
        }
        let (part, below) = match rest.strip_prefix('{') {
            Some(named) => {
                let (name, below) = named.split_once('}')?;
                (name, below.strip_prefix('/').unwrap_or_default())
            }
            None => rest.split_once('/').unwrap_or((rest, "")),
        };
        node = match node {
            Value::Array(items) => items.iter().find(|item| item["name"] == part || item["mountPath"] == part)?,
            other => other.get(part)?,
        };
        if below.is_empty() {
            return Some(node.clone());
        }
        rest = below;
    }
}
