//! How long one session waits before it tries again.

use std::time::Duration;

/// Waits that double from `first` to `longest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    failures: u32,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

impl Backoff {
    /// Nothing has failed.
    pub(super) const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Counts a failure; gives the wait after it, less up to a fifth, so that what failed together does not come back
    /// together.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - 0.2 * rand::random::<f64>())
    }

    /// As [`Backoff::next`], for what does not pass by itself: the wait is close to the longest.
    pub(super) fn long(&mut self) -> Duration {
        self.failures = self.failures.max(7);
        self.next()
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_half_a_minute_and_start_again_after_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2, "{waits:?}");
        assert!(waits.iter().zip(&waits[2..]).take(5).all(|(early, late)| early < late), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        assert!(waits[11] >= LONGEST / 2, "{waits:?}");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn what_does_not_pass_by_itself_is_not_asked_for_soon() {
        assert!(Backoff::new().long() > Duration::from_secs(15));
    }
}
