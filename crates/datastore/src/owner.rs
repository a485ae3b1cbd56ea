//! On whose behalf a datastore is called.

/// A tenant's object, as it is recorded beside what is made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its UID.
    pub uid: String,
    /// Its `namespace/name`; none is recorded without it.
    pub name: Option<String>,
    /// The UID that it had before it was created anew from a backup. What is recorded for that UID under the same
    /// `namespace/name` is its own. Only the caller can know whether another object has that UID by now.
    pub former: Option<String>,
}

impl Owner {
    /// Of which no more than the UID is known.
    pub fn new(uid: &str) -> Self {
        Self { uid: uid.to_owned(), name: None, former: None }
    }
}
