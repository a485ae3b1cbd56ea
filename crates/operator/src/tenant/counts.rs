//! How much the sessions wrote.

use std::sync::{Mutex, PoisonError};

use kamaji_apply::WriteCounts;

/// Writes of all sessions.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<WriteCounts>);

impl Counts {
    /// Adds the writes of one write door.
    pub(super) fn add(&self, more: WriteCounts) {
        let WriteCounts { apply, create, delete, event, migrate, patch, status } = more;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.apply += apply;
        all.create += create;
        all.delete += delete;
        all.event += event;
        all.migrate += migrate;
        all.patch += patch;
        all.status += status;
    }

    /// All of them.
    pub(super) fn total(&self) -> WriteCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
