//! What Rust types cannot say about the schema: list kinds, defaults, limits and validation rules.
//!
//! Source: the CustomResourceDefinitions of the Go operator (`docs/reference/compatibility.md`, CRDs), which
//! controller-gen made of markers in Kubernetes' and its own Go types. k8s-openapi carries the structure of those types
//! but not the markers.

mod kamaji;
mod kubernetes;

use serde_json::Value;

/// Keywords for a schema.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// A list that is owned as a whole.
    Atomic,
    /// A list without duplicates.
    Set,
    /// A list whose elements are identified by these keys.
    ListMap(&'static [&'static str]),
    /// An object that is owned as a whole.
    AtomicMap,
    /// Any JSON value.
    AnyValue,
    /// A number or a text.
    IntOrString,
    /// The value when absent.
    Default(fn() -> Value),
    /// The permitted texts.
    Enum(&'static [&'static str]),
    /// The permitted numbers.
    IntegerEnum(&'static [i64]),
    /// The format of a text.
    Format(&'static str),
    /// A number of no particular width.
    NoFormat,
    /// The pattern of a text.
    Pattern(&'static str),
    /// Least and greatest length of a text.
    Length(Option<u32>, Option<u32>),
    /// Least and greatest number of elements.
    Items(Option<u32>, Option<u32>),
    /// Least and greatest value.
    Range(i64, Option<i64>),
    /// The required fields, in place of what the type says.
    Required(&'static [&'static str]),
    /// An object whose fields the schema does not list.
    Opaque,
    /// Validation rules, each with the message of its violation.
    Cel(&'static [(&'static str, &'static str)]),
}

/// Rules for a type, or for one of its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Schema name of the type.
    pub(super) type_name: &'static str,
    /// The field as JSON has it; empty for the type itself.
    pub(super) field: &'static str,
    /// What to write into its schema.
    pub(super) rules: &'static [Rule],
}

/// Rules for one field of a type.
const fn field(type_name: &'static str, field: &'static str, rules: &'static [Rule]) -> Entry {
    Entry { type_name, field, rules }
}

/// Rules for a type, wherever it is used.
const fn everywhere(type_name: &'static str, rules: &'static [Rule]) -> Entry {
    Entry { type_name, field: "", rules }
}

/// The whole table.
pub(super) fn all() -> impl Iterator<Item = &'static Entry> {
    kubernetes::TABLE.iter().chain(kamaji::TABLE)
}
