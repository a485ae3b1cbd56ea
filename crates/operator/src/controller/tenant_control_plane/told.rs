//! What a tenant was told by an Event and nothing else remembers: each pass comes to it again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The notes by the UID of their tenant.
#[derive(Default)]
pub struct Told(Mutex<HashMap<String, BTreeSet<String>>>);

impl Told {
    /// Whether the tenant was not told this yet.
    pub fn is_news(&self, tenant_uid: &str, note: &str) -> bool {
        !self.notes().get(tenant_uid).is_some_and(|notes| notes.contains(note))
    }

    /// From now on the tenant was told this: its Event is written.
    pub fn mark(&self, tenant_uid: &str, note: String) {
        self.notes().entry(tenant_uid.to_owned()).or_default().insert(note);
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.notes().remove(tenant_uid);
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_news_until_it_was_told_for_each_tenant() {
        let told = Told::default();
        assert!(told.is_news("a", "one"));
        for (uid, note, is_news) in
            [("a", "one", true), ("a", "one", false), ("a", "two", true), ("a", "one", false), ("b", "one", true)]
        {
            assert_eq!(told.is_news(uid, note), is_news, "{uid} {note}");
            told.mark(uid, note.to_owned());
        }
        told.forget("a");
        assert!(told.is_news("a", "one") && !told.is_news("b", "one"));
    }
}
