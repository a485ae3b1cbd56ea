//! How long to wait before something that failed is tried again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// Failures in a row, by object.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure. Waits double from half a second to a minute, and are spread so that objects that failed
    /// together do not come back together.
    pub fn next(&self, object: &str) -> Duration {
        let mut failures = self.failures();
        let count = failures.entry(object.to_owned()).or_default();
        let wait = FIRST.saturating_mul(2u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        self.spread(wait)
    }

    /// Forgets an object's failures.
    pub fn reset(&self, object: &str) {
        self.failures().remove(object);
    }

    /// `wait`, less up to a fifth of it.
    pub fn spread(&self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 - 0.2 * rand::random::<f64>())
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_start_again_after_success() {
        let backoff = Backoff::default();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next("a")).collect();
        assert!(waits.iter().zip(waits.iter().skip(2)).take(5).all(|(early, late)| early < late));
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        backoff.reset("a");
        assert!(backoff.next("a") <= FIRST);
    }
}
