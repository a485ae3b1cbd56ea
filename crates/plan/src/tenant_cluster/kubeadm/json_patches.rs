//! JSON patches (RFC 6902) of a configuration, applied leniently.
//!
//! A configuration leaves out what has its default, so a patch often names a key that is not there. `replace` then adds,
//! `remove` does nothing, and `add` makes the parents; the rest follows RFC 6902, with negative list indices counted
//! from the end (docs/reference/compatibility.md, "kubeadm objects"). Only what no node could read is refused.

mod fields;
mod pointer;

use kamaji_api::tenant_control_plane::{JsonPatch, JsonPatchOperation};
use serde_json::Value;

use self::pointer::Pointer;
use crate::trouble::Trouble;

/// A document may double with each copy: all copies of a list of patches together hold no more bytes than a ConfigMap can.
const MOST_COPIED: usize = 1 << 20;

/// A patch that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tenant_cluster) struct Refusal {
    /// Which patch of the list, from 0.
    pub(in crate::tenant_cluster) index: usize,
    /// Why.
    pub(in crate::tenant_cluster) message: String,
}

impl Refusal {
    /// The trouble of the patches at `field`, because of which `object` is kept as it is.
    pub(in crate::tenant_cluster) fn trouble(&self, field: &str, object: &str) -> Trouble {
        let Self { index, message } = self;
        let sentence = format!(
            "{field}[{index}]: {message}; correct or remove this patch, the {object} stays as it is until then"
        );
        Trouble::new("JSONPatchFailed", sentence)
    }
}

/// Applies `patches` in their order. A key that ends up as `null` is left out, as a decoder of the configuration would
/// read it.
///
/// # Errors
/// The first patch that does not apply, or after which `document` is not an object of its `apiVersion` and `kind` any
/// more; else one that gives a field a value that no node can read, and that no later one corrects. `document` is then
/// of no use.
pub(in crate::tenant_cluster) fn apply(document: &mut Value, patches: &[JsonPatch]) -> Result<(), Refusal> {
    let unpatched = document.clone();
    all(document, patches)?;
    drop_nulls(document);
    match fields::mistake(document) {
        Some(mistake) => Err(culprit(&unpatched, patches, mistake)),
        None => Ok(()),
    }
}

fn all(document: &mut Value, patches: &[JsonPatch]) -> Result<(), Refusal> {
    let identity = |document: &Value| ["apiVersion", "kind"].map(|key| document.get(key).cloned());
    let before = identity(document);
    let mut copied = 0;
    for (index, patch) in patches.iter().enumerate() {
        let refuse = |message: String| Refusal { index, message };
        one(document, patch, &mut copied).map_err(refuse)?;
        if identity(document) != before {
            return Err(refuse("the configuration loses its apiVersion or kind by it".to_owned()));
        }
    }
    Ok(())
}

/// The patch with which a mistake comes. A look after each patch would take hours for a long list over a large object;
/// halving takes few.
fn culprit(unpatched: &Value, patches: &[JsonPatch], mistake: String) -> Refusal {
    let (mut right, mut wrong, mut message) = (0, patches.len(), mistake);
    while wrong - right > 1 {
        let middle = right.midpoint(wrong);
        let mut document = unpatched.clone();
        let applied = all(&mut document, patches.get(..middle).unwrap_or_default());
        match applied.ok().and_then(|()| fields::mistake(&document)) {
            Some(found) => (wrong, message) = (middle, found),
            None => right = middle,
        }
    }
    Refusal { index: wrong.saturating_sub(1), message }
}

fn one(document: &mut Value, patch: &JsonPatch, copied: &mut usize) -> Result<(), String> {
    let target = Pointer::parse(&patch.path)?;
    // The API server hands out a null value and a missing one alike.
    let value = || patch.value.clone().unwrap_or(Value::Null);
    let from = || Pointer::parse(patch.from.as_deref().unwrap_or_default());
    match &patch.op {
        JsonPatchOperation::Add => pointer::add(document, &target, value()),
        JsonPatchOperation::Replace => pointer::replace(document, &target, value()),
        JsonPatchOperation::Remove => pointer::remove(document, &target).map(|_| ()),
        JsonPatchOperation::Copy => {
            let value = pointer::get(document, &from()?).ok_or_else(|| nothing_at(patch))?;
            pointer::check_depth(value)?;
            *copied += value.to_string().len();
            if *copied > MOST_COPIED {
                return Err("the copies are larger than a ConfigMap can be".to_owned());
            }
            let value = value.clone();
            pointer::add(document, &target, value)
        }
        JsonPatchOperation::Move => {
            let from = from()?;
            if target.is_below(&from) {
                return Err(format!("{from} cannot move below itself, to {target}"));
            }
            let moved = pointer::remove(document, &from)?.ok_or_else(|| nothing_at(patch))?;
            pointer::check_depth(&moved)?;
            pointer::add(document, &target, moved)
        }
        JsonPatchOperation::Test => {
            let found = pointer::get(document, &target).unwrap_or(&Value::Null);
            let wanted = value();
            if equal(found, &wanted) {
                Ok(())
            } else {
                Err(format!("the test of {target} fails: {} was wanted, {} is there", short(&wanted), short(found)))
            }
        }
        JsonPatchOperation::Other(operation) => {
            Err(format!("\"{operation}\" is not one of add, remove, replace, move, copy, test"))
        }
    }
}

fn nothing_at(patch: &JsonPatch) -> String {
    format!("there is nothing at \"{}\" to {} from", patch.from.as_deref().unwrap_or_default(), patch.op)
}

/// A value in a sentence: long ones are cut.
fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// RFC 6902, 4.6: numbers are equal by value, however they are written.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
