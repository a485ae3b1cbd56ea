//! The circuit of one store: after an outage, calls fail at once until a jittered time to try again.
//!
//! Without it, each tenant of a dead store would hold a reconcile for a whole timeout on every pass.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::Error;

/// First pause after an outage; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, before jitter: a store that comes back is noticed within about this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// See the module. Times are arguments, so that its tests need no clock.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    /// How long one trial may take, during which all other calls still fail at once.
    trial: Duration,
}

#[derive(Debug, Default)]
struct State {
    outages: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    last: Error,
}

/// Leave to make one call; remembers how many outages in a row were known when it was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass(u32);

impl Circuit {
    /// A closed circuit. `trial` bounds one call.
    pub fn new(trial: Duration) -> Self {
        Self { state: Mutex::default(), trial }
    }

    /// Lets a call through, or answers with the failure that opened the circuit. When the pause is over, exactly one
    /// call is let through as a trial, and the others go on failing at once until it is back.
    pub fn admit(&self, now: Instant) -> Result<Pass, Error> {
        let mut state = self.lock();
        let outages = state.outages;
        match &mut state.open {
            None => {}
            Some(open) if now < open.until => return Err(open.last.clone()),
            Some(open) => open.until = now + self.trial,
        }
        Ok(Pass(outages))
    }

    /// An outage that another call found since this pass was given: asked after queueing for a connection.
    pub fn outage_since(&self, pass: Pass) -> Option<Error> {
        let state = self.lock();
        state.open.as_ref().filter(|_| state.outages > pass.0).map(|open| open.last.clone())
    }

    /// The server answered.
    pub fn close(&self) {
        *self.lock() = State::default();
    }

    /// The server was found away. Calls that were under way together count as one outage.
    pub fn open(&self, pass: Pass, now: Instant, last: Error) {
        let mut state = self.lock();
        if state.outages > pass.0 {
            return;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << state.outages.min(10)).min(LONGEST_PAUSE);
        // Stores of one machine die together: jitter keeps their retries apart.
        let pause = doubled.mul_f64(rand::rng().random_range(0.75..1.25));
        state.outages = state.outages.saturating_add(1);
        state.open = Some(Open { until: now + pause, last });
    }

    /// How long calls will fail at once.
    pub fn retry_after(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let left = state.open.as_ref()?.until.checked_duration_since(now)?;
        (left > Duration::ZERO).then_some(left)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Duration = Duration::from_secs(10);

    fn outage(name: &str) -> Error {
        Error::Timeout { endpoint: name.into(), operation: "answer".into(), after: TRIAL }
    }

    fn pause(circuit: &Circuit, now: Instant) -> Duration {
        circuit.retry_after(now).unwrap()
    }

    #[test]
    fn answers_with_the_last_failure_until_the_pause_is_over() {
        let circuit = Circuit::new(TRIAL);
        let now = Instant::now();
        let pass = circuit.admit(now).unwrap();
        assert_eq!(circuit.retry_after(now), None);
        circuit.open(pass, now, outage("etcd-7:2379"));
        assert!(circuit.admit(now).unwrap_err().to_string().contains("etcd-7:2379"));
        let after = now + pause(&circuit, now);
        assert!(circuit.admit(after).is_ok());
    }

    #[test]
    fn lets_one_trial_through_while_the_others_still_fail() {
        let circuit = Circuit::new(TRIAL);
        let now = Instant::now();
        circuit.open(circuit.admit(now).unwrap(), now, outage("a:1"));
        let later = now + pause(&circuit, now);
        let trial = circuit.admit(later).unwrap();
        assert!(circuit.admit(later).is_err());
        assert!(circuit.outage_since(trial).is_none(), "the trial itself must not be stopped");
        // A trial that was dropped half-way does not keep the circuit open for ever.
        assert!(circuit.admit(later + TRIAL).is_ok());
    }

    #[test]
    fn pauses_grow_to_a_limit_and_an_answer_resets_them() {
        let circuit = Circuit::new(TRIAL);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            circuit.open(circuit.admit(now).unwrap(), now, outage("a:1"));
            pauses.push(pause(&circuit, now));
            now += pause(&circuit, now);
        }
        assert!(pauses[0] >= FIRST_PAUSE.mul_f64(0.75) && pauses[0] <= FIRST_PAUSE.mul_f64(1.25), "{pauses:?}");
        assert!(pauses[3] > pauses[0] * 3, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE.mul_f64(1.25)), "{pauses:?}");
        circuit.close();
        circuit.open(circuit.admit(now).unwrap(), now, outage("a:1"));
        assert!(pause(&circuit, now) <= FIRST_PAUSE.mul_f64(1.25));
    }

    #[test]
    fn calls_that_fail_together_are_one_outage() {
        let circuit = Circuit::new(TRIAL);
        let now = Instant::now();
        let passes: Vec<Pass> = (0..24).map(|_| circuit.admit(now).unwrap()).collect();
        for pass in &passes {
            circuit.open(*pass, now, outage("a:1"));
        }
        assert!(pause(&circuit, now) <= FIRST_PAUSE.mul_f64(1.25));
        assert!(circuit.outage_since(passes[0]).is_some(), "queued calls learn of it");
    }
}
