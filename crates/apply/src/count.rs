//! How often each verb went out to the API server.

use std::sync::atomic::{AtomicU64, Ordering};

/// Verbs that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Apply,
    Create,
    Delete,
    Event,
    Migrate,
    Patch,
    Status,
}

impl Verb {
    /// Word for error messages: "could not <verb> Secret a/b".
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Event => "publish",
            Self::Migrate => "take over the managed fields of",
            Self::Patch => "patch",
            Self::Status => "patch the status of",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter {
    apply: AtomicU64,
    create: AtomicU64,
    delete: AtomicU64,
    event: AtomicU64,
    migrate: AtomicU64,
    patch: AtomicU64,
    status: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, verb: Verb) {
        let counter = match verb {
            Verb::Apply => &self.apply,
            Verb::Create => &self.create,
            Verb::Delete => &self.delete,
            Verb::Event => &self.event,
            Verb::Migrate => &self.migrate,
            Verb::Patch => &self.patch,
            Verb::Status => &self.status,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> WriteCounts {
        WriteCounts {
            apply: self.apply.load(Ordering::Relaxed),
            create: self.create.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            event: self.event.load(Ordering::Relaxed),
            migrate: self.migrate.load(Ordering::Relaxed),
            patch: self.patch.load(Ordering::Relaxed),
            status: self.status.load(Ordering::Relaxed),
        }
    }
}

/// Write requests sent since the [`Applier`](crate::Applier) was built, failed ones included, clones added up.
///
/// A request counts even when the API server found nothing to change: the steady state sends none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Server-side applies.
    pub apply: u64,
    /// Creates of objects that must never be overwritten.
    pub create: u64,
    /// Deletes.
    pub delete: u64,
    /// Events published.
    pub event: u64,
    /// Takeovers of objects that an earlier writer of the same name last updated.
    pub migrate: u64,
    /// Merge patches of finalizers and annotations.
    pub patch: u64,
    /// Merge patches of the status subresource.
    pub status: u64,
}

impl WriteCounts {
    /// All write requests together.
    pub fn total(&self) -> u64 {
        let Self { apply, create, delete, event, migrate, patch, status } = *self;
        apply + create + delete + event + migrate + patch + status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_verb_apart() {
        let counter = Counter::default();
        for verb in [Verb::Apply, Verb::Apply, Verb::Create, Verb::Delete, Verb::Event, Verb::Migrate, Verb::Patch] {
            counter.add(verb);
        }
        counter.add(Verb::Status);
        let counts = counter.snapshot();
        assert_eq!(counts, WriteCounts { apply: 2, create: 1, delete: 1, event: 1, migrate: 1, patch: 1, status: 1 });
        assert_eq!(counts.total(), 8);
    }
}
