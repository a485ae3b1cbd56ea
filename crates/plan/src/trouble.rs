//! What to tell of something that is not as it should be.

/// A reason with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// CamelCase word, one of a fixed set.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
}

impl Trouble {
    /// A reason with its sentence.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
