//! Differences that the API server insists on.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::managed_fields;

// Rare entries of 100 bytes: enough for a webhook that changes every object of a large fleet.
const LIMIT: usize = 32_768;

// Of an answer that says nothing of the definition that made it: an update of that is found out by asking again.
const LASTS: Duration = Duration::from_mins(10);

/// Remembers, per object, for which wish the API server answered with which state.
///
/// An admission webhook may change what was applied, and the API server may add defaults to a list that is owned
/// whole. Either looks like a change for ever. The memory is only an optimisation: without it the same apply goes out
/// again, and changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    seen: Mutex<HashMap<String, (u64, Instant)>>,
    lasts: Option<Duration>,
}

impl Settled {
    /// One that forgets each answer after ten minutes. Without, it lasts until wish or state change.
    pub(crate) fn for_a_while() -> Self {
        Self { lasts: Some(LASTS), ..Self::default() }
    }

    pub(crate) fn remember(
        &self,
        uid: String,
        desired: &Map<String, Value>,
        live: &Map<String, Value>,
        entries: &[ManagedFieldsEntry],
        manager: &str,
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= LIMIT {
            seen.clear();
        }
        seen.insert(uid, (digest(desired, live, entries, manager), Instant::now()));
    }

    pub(crate) fn holds(
        &self,
        uid: &str,
        desired: &Map<String, Value>,
        live: &Map<String, Value>,
        entries: &[ManagedFieldsEntry],
        manager: &str,
    ) -> bool {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied();
        known.is_some_and(|(known, since)| {
            self.lasts.is_none_or(|lasts| since.elapsed() < lasts) && known == digest(desired, live, entries, manager)
        })
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn digest(
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    entries: &[ManagedFieldsEntry],
    manager: &str,
) -> u64 {
    let mut hasher = DefaultHasher::new();
    desired.hash(&mut hasher);
    live.hash(&mut hasher);
    if let Some((version, owned)) = managed_fields::ownership(entries, manager).applied {
        version.hash(&mut hasher);
        owned.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn forgets_an_answer_when_wish_or_state_change() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let (wish, state) = (map(json!({"a": 1})), map(json!({"a": 2})));
        let settled = Settled::default();
        settled.remember("u".to_owned(), &wish, &state, &[], "m");
        assert!(settled.holds("u", &wish, &state, &[], "m"));
        assert!(!settled.holds("u", &state, &state, &[], "m"));
        assert!(!settled.holds("u", &wish, &wish, &[], "m"));
        assert!(!settled.holds("other", &wish, &state, &[], "m"));
        settled.forget("u");
        assert!(!settled.holds("u", &wish, &state, &[], "m"));
    }

    #[tokio::test(start_paused = true)]
    async fn asks_again_after_a_while_where_the_definition_may_be_another_one_by_then() {
        let (wish, state) = (json!({"a": 1, "new": 1}), json!({"a": 1}));
        let (wish, state) = (wish.as_object().unwrap(), state.as_object().unwrap());
        let (lasting, passing) = (Settled::default(), Settled::for_a_while());
        for (round, settled) in [(1, &lasting), (1, &passing), (2, &passing)] {
            settled.remember("u".to_owned(), wish, state, &[], "m");
            tokio::time::advance(LASTS.saturating_sub(Duration::from_secs(1))).await;
            assert!(settled.holds("u", wish, state, &[], "m"), "{round}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(settled.holds("u", wish, state, &[], "m"), settled.lasts.is_none(), "{round}");
        }
    }
}
