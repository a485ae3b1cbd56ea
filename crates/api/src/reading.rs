//! Reading whatever an API server can hold.
//!
//! A list or watch is decoded as a whole: one object that cannot be decoded would hide all the others. And the CRDs,
//! which are the Go operator's, let such objects in: `spec` is not required, and a number-or-text field takes numbers
//! beyond 32 bits. So a spec always decodes; one that makes no sense says which field is to blame, and whoever resolves
//! it rejects it. A status that makes no sense is read as empty: it is a report, and is written anew.

use serde_json::Value;

/// Reads a value as a spec, by the spec type's own derived function.
///
/// `None` stands for an absent or null spec. On failure the result is the path of the field to blame, within the spec;
/// the offending value stays out of it because it may be a secret.
pub(crate) fn spec<T: Default>(
    value: Option<Value>,
    derived: impl FnOnce(serde_path_to_error::Deserializer<'_, '_, Value>) -> Result<T, serde_json::Error>,
) -> Result<T, String> {
    let Some(value) = value else { return Ok(T::default()) };
    let mut track = serde_path_to_error::Track::new();
    derived(serde_path_to_error::Deserializer::new(value, &mut track)).map_err(|_| track.path().to_string())
}

/// Implements serde's traits for a spec type that carries `#[serde(remote = "Self")]` and a skipped field
/// `unreadable: Option<String>`.
macro_rules! readable_spec {
    ($spec:ty) => {
        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // Asking for an option is what makes serde take an absent field for none.
                let value = <Option<serde_json::Value> as serde::Deserialize>::deserialize(deserializer)?;
                let spec = crate::reading::spec(value, |tracked| Self::deserialize(tracked));
                Ok(spec.unwrap_or_else(|field| Self { unreadable: Some(format!("spec.{field}")), ..Self::default() }))
            }
        }
    };
}

/// Implements serde's traits for a status type that carries `#[serde(remote = "Self")]`.
macro_rules! readable_status {
    ($status:ty) => {
        impl serde::Serialize for $status {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $status {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::deserialize(value).unwrap_or_default())
            }
        }
    };
}

pub(crate) use {readable_spec, readable_status};
