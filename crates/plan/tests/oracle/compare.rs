//! What differs between two objects, field by field.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{AUTHORITY, AUTHORITY_PEM, Objects, defaults};

/// One field that is not the same.
#[derive(Clone, Debug)]
pub struct Found {
    /// Kind, namespace and name.
    pub object: String,
    /// JSON pointer; empty when one side does not have the object.
    pub field: String,
    /// kubeadm's value, null when it has none.
    pub kubeadms: Value,
    /// Ours, null when we have none.
    pub ours: Value,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, kubeadms, ours } = self;
        write!(f, "{object} {field}: kubeadm {kubeadms}, ours {ours}")
    }
}

/// Every difference between what kubeadm wrote and what is planned.
pub fn all(kubeadms: &Objects, ours: &Objects) -> Vec<Found> {
    let mut found = Vec::new();
    let absent = Value::Null;
    let mut names: Vec<&String> = kubeadms.keys().chain(ours.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        match (kubeadms.get(name), ours.get(name)) {
            (Some(theirs), Some(own)) => fields(name, "", &prepared(theirs), &prepared(own), &mut found),
            (theirs, own) => found.push(Found {
                object: name.clone(),
                field: String::new(),
                kubeadms: if theirs.is_some() { "present".into() } else { absent.clone() },
                ours: if own.is_some() { "present".into() } else { absent.clone() },
            }),
        }
    }
    found
}

/// The object with its documents read and without what the API server fills in.
fn prepared(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) {
        for (key, text) in data.iter_mut() {
            // Everything but CoreDNS' file is YAML.
            if key != "Corefile" {
                let authority = STANDARD.encode(AUTHORITY_PEM);
                *text = serde_saphyr::from_str(&text.as_str().unwrap().replace(&authority, AUTHORITY)).unwrap();
            }
        }
    }
    defaults::drop(&mut object);
    object
}

fn fields(object: &str, field: &str, kubeadms: &Value, ours: &Value, found: &mut Vec<Found>) {
    let (Value::Object(theirs), Value::Object(own)) = (kubeadms, ours) else {
        // Lists are compared whole: their order has a meaning wherever it is not sorted by both.
        if kubeadms != ours {
            let (object, field) = (object.to_owned(), field.to_owned());
            found.push(Found { object, field, kubeadms: kubeadms.clone(), ours: ours.clone() });
        }
        return;
    };
    let mut keys: Vec<&String> = theirs.keys().chain(own.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let field = format!("{field}/{}", key.replace('~', "~0").replace('/', "~1"));
        let [theirs, own] = [theirs, own].map(|members| members.get(key).unwrap_or(&Value::Null));
        fields(object, &field, theirs, own, found);
    }
}
