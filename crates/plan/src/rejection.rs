//! What cannot work, said in a sentence.

use std::fmt;

/// A specification that cannot be acted on as it is written.
///
/// It is a value, not an error: it becomes a condition and an Event, and goes away by itself when the specification or
/// the object it names changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// CamelCase word for the condition's `reason`; one of a fixed set, so it may label a metric.
    pub reason: &'static str,
    /// Path of the field below the object, for example `spec.networkProfile.serviceCidrs[0]`.
    pub field: String,
    /// What is wrong and what to do, without the field's name in front.
    pub message: String,
}

impl Rejection {
    /// Builds a rejection of `field` for `reason` with the sentence `message`.
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for Rejection {}
