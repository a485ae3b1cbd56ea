//! JSON pointers (RFC 6901), and what can be done at the place that one names.

use std::fmt;

use serde_json::{Map, Value};

/// Deeper documents cannot be read back by common decoders.
const DEEPEST: usize = 64;

/// A place in a document: one token per level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// The place at the end of these levels.
    pub(super) fn new(levels: Vec<String>) -> Self {
        Self(levels)
    }

    /// Reads the text of a pointer; the empty text names the whole document.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(format!("\"{text}\" is not a JSON pointer; begin it with a slash"));
        };
        let tokens: Vec<String> = tokens.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        if tokens.len() > DEEPEST {
            return Err(format!("the pointer has {} levels, more than the {DEEPEST} that are allowed", tokens.len()));
        }
        Ok(Self(tokens))
    }

    /// Whether this place lies within `other`, and is another.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the whole document");
        }
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// Refuses a value that is nested too deeply to be put below another.
pub(super) fn check_depth(value: &Value) -> Result<(), String> {
    fn fits(value: &Value, levels: usize) -> bool {
        match value {
            Value::Object(members) => levels > 0 && members.values().all(|member| fits(member, levels - 1)),
            Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    if fits(value, DEEPEST) {
        Ok(())
    } else {
        Err(format!("the value is nested more than the {DEEPEST} levels that are allowed"))
    }
}

/// The value at `path`.
pub(super) fn get<'a>(document: &'a Value, path: &Pointer) -> Option<&'a Value> {
    path.0.iter().try_fold(document, |node, token| match node {
        Value::Object(members) => members.get(token),
        Value::Array(items) => items.get(index(token, items.len()).ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// Adds `value` at `path`: a member takes the place of its predecessor, a list's item is put before the one there.
/// Parents that are missing are made.
pub(super) fn add(document: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    put(document, path, value, |items, token, value| {
        let length = items.len();
        let index = if token == "-" { length } else { index(token, length + 1)? };
        if index > length {
            return Err(format!("the list has {length} items, none can be put at {token}"));
        }
        items.insert(index, value);
        Ok(())
    })
}

/// Puts `value` in the place of what is at `path`; a key that is missing is added.
pub(super) fn replace(document: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    put(document, path, value, |items, token, value| {
        let length = items.len();
        match items.get_mut(index(token, length)?) {
            Some(item) => *item = value,
            None => return Err(format!("the list has {length} items, none is at {token}")),
        }
        Ok(())
    })
}

/// Takes away what is at `path` and returns it; `None` when nothing is there.
pub(super) fn remove(document: &mut Value, path: &Pointer) -> Result<Option<Value>, String> {
    let Some((last, parents)) = path.0.split_last() else {
        return Err("the whole document cannot be removed".to_owned());
    };
    let parent = parents.iter().try_fold(document, |node, token| match node {
        Value::Object(members) => members.get_mut(token),
        Value::Array(items) => {
            let index = index(token, items.len()).ok()?;
            items.get_mut(index)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    });
    Ok(match parent {
        Some(Value::Object(members)) => members.remove(last),
        Some(Value::Array(items)) => {
            let index = index(last, items.len())?;
            (index < items.len()).then(|| items.remove(index))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => None,
    })
}

/// Walks to the parent of `path`, making what is missing, and puts `value` there; `into_list` says how if that is a
/// list.
fn put(
    document: &mut Value,
    path: &Pointer,
    value: Value,
    into_list: impl FnOnce(&mut Vec<Value>, &str, Value) -> Result<(), String>,
) -> Result<(), String> {
    let Some((last, parents)) = path.0.split_last() else {
        *document = value;
        return Ok(());
    };
    let mut node = document;
    let mut tokens = path.0.iter().skip(1);
    for token in parents {
        let next = tokens.next().map_or("", String::as_str);
        node = match node {
            Value::Object(members) => {
                let child = members.entry(token).or_insert(Value::Null);
                if child.is_null() {
                    *child = container(next);
                }
                child
            }
            Value::Array(items) => {
                let length = items.len();
                let index = index(token, length)?;
                items.get_mut(index).ok_or_else(|| format!("the list has {length} items, none is at {token}"))?
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(format!(
                    "nothing can be put below {path}'s \"{token}\": its parent is neither object nor list"
                ));
            }
        };
    }
    match node {
        Value::Object(members) => {
            members.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) => into_list(items, last, value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(format!("nothing can be put at {path}: its parent is neither object nor list"))
        }
    }
}

/// What a missing parent is: a list if its first item is addressed, else an object.
fn container(next: &str) -> Value {
    if next == "-" || next == "0" { Value::Array(Vec::new()) } else { Value::Object(Map::new()) }
}

/// The index that `token` names in a list of `length` places; negative ones count from the end. It may lie beyond.
fn index(token: &str, length: usize) -> Result<usize, String> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let legal = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    let number: usize = legal
        .then(|| digits.parse().ok())
        .flatten()
        .ok_or_else(|| format!("\"{token}\" is no index of a list; give a number"))?;
    if digits.len() == token.len() {
        return Ok(number);
    }
    length.checked_sub(number).ok_or_else(|| format!("the list has no item {token}"))
}
