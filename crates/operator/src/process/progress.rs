//! What the controllers are busy with, and whether they get anywhere: the truth behind `/readyz`.
//!
//! A controller says what it queued, what it works on and how its watches are. An operator that has work and finishes
//! none of it is not ready, whatever else runs.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A reconcile is stuck when it is still in flight this long after its deadline.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(30);

/// Unless told otherwise, the queue is stuck when something waits in it for this long while no reconcile ends, and a
/// watch that worked may be broken for this long: its store still holds what was last seen.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A broken watch is tried again, and fails again, within this time. One that has been silent for longer works: a watch
/// that has nothing to tell does not say that it is back.
pub const WATCH_SILENCE: Duration = Duration::from_secs(15);

/// Shared by all controllers; clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

/// An object as a controller knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    controller: &'static str,
    object: String,
}

#[derive(Debug)]
struct State {
    patience: Duration,
    /// No watch was announced yet, and one is to come.
    starting: bool,
    queued: HashMap<Key, Instant>,
    in_flight: HashMap<u64, Reconcile>,
    next: u64,
    last_end: Option<Instant>,
    watches: BTreeMap<(u64, String), Watched>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            starting: false,
            queued: HashMap::new(),
            in_flight: HashMap::new(),
            next: 0,
            last_end: None,
            watches: BTreeMap::new(),
        }
    }
}

#[derive(Debug)]
struct Reconcile {
    key: Key,
    /// Since when it has waited for an end, its time in the queue included.
    queued: Instant,
    started: Instant,
    deadline: Duration,
}

#[derive(Debug)]
enum Watched {
    /// Never saw its objects; with the last error, if there was one.
    Starting {
        reason: Option<String>,
    },
    Ready,
    Broken {
        since: Instant,
        last: Instant,
        reason: String,
    },
}

/// Someone who waits too long. Its text is a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stuck {
    /// The controllers have not begun yet.
    Starting,
    /// A watch has not delivered its objects yet.
    WatchStarting {
        /// What is watched.
        watch: String,
        /// The last error.
        reason: Option<String>,
    },
    /// A watch has been broken for longer than the patience.
    WatchBroken {
        /// What is watched.
        watch: String,
        /// Whole seconds.
        seconds: u64,
        /// The last error.
        reason: String,
    },
    /// A reconcile runs on after its deadline and [`DEADLINE_MARGIN`].
    InFlight {
        /// Controller.
        controller: &'static str,
        /// Object.
        object: String,
        /// Whole seconds.
        seconds: u64,
    },
    /// An object waits for its turn and no reconcile has ended for as long as the patience lasts.
    Queued {
        /// Controller.
        controller: &'static str,
        /// Object.
        object: String,
        /// Whole seconds.
        seconds: u64,
    },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the controllers have not begun yet"),
            Self::WatchStarting { watch, reason: None } => {
                write!(f, "the watch of {watch} has not delivered its objects yet")
            }
            Self::WatchStarting { watch, reason: Some(reason) } => {
                write!(f, "the watch of {watch} has not delivered its objects yet: {reason}")
            }
            Self::WatchBroken { watch, seconds, reason } => {
                write!(f, "the watch of {watch} has been broken for {seconds} s: {reason}")
            }
            Self::InFlight { controller, object, seconds } => {
                write!(f, "the reconcile of {controller} {object} has been running for {seconds} s, past its deadline")
            }
            Self::Queued { controller, object, seconds } => {
                write!(f, "{controller} {object} has waited for {seconds} s and no reconcile ends")
            }
        }
    }
}

impl Progress {
    /// Nobody is busy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a process that starts: not ready until its first watch is. Whoever waits for longer than `patience` is stuck.
    pub fn starting(patience: Duration) -> Self {
        let progress = Self::default();
        {
            let mut state = progress.state();
            state.patience = patience;
            state.starting = true;
        }
        progress
    }

    /// Says that `object` (`namespace/name`) needs a reconcile. Saying it again does not restart its waiting time.
    pub fn queued(&self, controller: &'static str, object: impl Into<String>) {
        let key = Key { controller, object: object.into() };
        self.state().queued.entry(key).or_insert_with(Instant::now);
    }

    /// Says that the object is gone and will not be reconciled.
    pub fn forgotten(&self, controller: &'static str, object: impl Into<String>) {
        self.state().queued.remove(&Key { controller, object: object.into() });
    }

    /// Says that a reconcile of `object` began, which should take no longer than `deadline`. It has finished when the
    /// returned value is dropped, on whatever path.
    pub fn started(&self, controller: &'static str, object: impl Into<String>, deadline: Duration) -> InFlight {
        let key = Key { controller, object: object.into() };
        let mut state = self.state();
        let started = Instant::now();
        let queued = state.queued.remove(&key).unwrap_or(started);
        let number = state.next;
        state.next += 1;
        state.in_flight.insert(number, Reconcile { key, queued, started, deadline });
        InFlight { progress: self.clone(), number, cut: false }
    }

    /// Announces a watch of `what`. The process is not ready until the watch is.
    pub fn watch(&self, what: impl Into<String>) -> Watch {
        let mut state = self.state();
        state.starting = false;
        let key = (state.next, what.into());
        state.next += 1;
        state.watches.insert(key.clone(), Watched::Starting { reason: None });
        Watch { progress: self.clone(), key }
    }

    /// Who waits too long at this moment; empty when all is well.
    pub fn stuck(&self) -> Vec<Stuck> {
        let now = Instant::now();
        let state = self.state();
        let mut stuck: Vec<Stuck> =
            state.watches.iter().filter_map(|((_, what), watched)| watched.stuck(what, now, state.patience)).collect();
        if state.starting {
            stuck.push(Stuck::Starting);
        }
        for reconcile in state.in_flight.values() {
            let age = now.duration_since(reconcile.started);
            if age > reconcile.deadline + DEADLINE_MARGIN {
                let Key { controller, object } = reconcile.key.clone();
                stuck.push(Stuck::InFlight { controller, object, seconds: age.as_secs() });
            }
        }
        if state.last_end.is_none_or(|end| now.duration_since(end) > state.patience) {
            for (key, since) in &state.queued {
                let age = now.duration_since(*since);
                if age > state.patience {
                    let Key { controller, object } = key.clone();
                    stuck.push(Stuck::Queued { controller, object, seconds: age.as_secs() });
                }
            }
        }
        drop(state);
        stuck.sort();
        stuck
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn stuck(&self, what: &str, now: Instant, patience: Duration) -> Option<Stuck> {
        match self {
            Self::Starting { reason } => Some(Stuck::WatchStarting { watch: what.to_owned(), reason: reason.clone() }),
            Self::Ready => None,
            Self::Broken { since, last, reason } => {
                let age = now.duration_since(*since);
                (age > patience && now.duration_since(*last) <= WATCH_SILENCE).then(|| Stuck::WatchBroken {
                    watch: what.to_owned(),
                    seconds: age.as_secs(),
                    reason: reason.clone(),
                })
            }
        }
    }
}

/// One reconcile in flight; dropping it says that it ended.
#[must_use = "the reconcile counts as ended when this is dropped"]
#[derive(Debug)]
pub struct InFlight {
    progress: Progress,
    number: u64,
    cut: bool,
}

impl InFlight {
    /// Says that the reconcile was cut at its deadline: that is no progress, and its object has waited since it began.
    pub fn cut(mut self) {
        self.cut = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        let ended = state.in_flight.remove(&self.number);
        match ended {
            Some(Reconcile { key, queued, .. }) if self.cut => {
                state.queued.entry(key).or_insert(queued);
            }
            Some(_) | None => state.last_end = Some(Instant::now()),
        }
    }
}

/// One announced watch; dropping it takes the announcement back.
#[must_use = "the watch counts as gone when this is dropped"]
#[derive(Debug)]
pub struct Watch {
    progress: Progress,
    key: (u64, String),
}

impl Watch {
    /// Says that the watch delivered what there is and follows it.
    pub fn ready(&self) {
        self.set(Watched::Ready);
    }

    /// Says that the watch broke with `reason`.
    pub fn broken(&self, reason: &dyn fmt::Display) {
        let mut state = self.progress.state();
        let (now, reason) = (Instant::now(), reason.to_string());
        let next = match state.watches.get(&self.key) {
            Some(Watched::Broken { since, last, .. }) if now.duration_since(*last) <= WATCH_SILENCE => {
                Watched::Broken { since: *since, last: now, reason }
            }
            Some(Watched::Ready | Watched::Broken { .. }) => Watched::Broken { since: now, last: now, reason },
            Some(Watched::Starting { .. }) | None => Watched::Starting { reason: Some(reason) },
        };
        state.watches.insert(self.key.clone(), next);
    }

    fn set(&self, watched: Watched) {
        self.progress.state().watches.insert(self.key.clone(), watched);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.progress.state().watches.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);
    const TENANT: &str = "TenantControlPlane";

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn is_not_ready_until_every_watch_delivered() {
        let progress = Progress::starting(PATIENCE);
        assert_eq!(progress.stuck(), [Stuck::Starting]);
        let (tenants, secrets) = (progress.watch("TenantControlPlanes"), progress.watch("Secrets"));
        tenants.ready();
        secrets.broken(&"forbidden");
        let stuck = progress.stuck();
        assert_eq!(stuck.len(), 1);
        assert_eq!(stuck[0].to_string(), "the watch of Secrets has not delivered its objects yet: forbidden");
        secrets.ready();
        assert_eq!(progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn tolerates_a_short_break_of_a_watch_and_reports_a_long_one() {
        let progress = Progress::new();
        let watch = progress.watch("Secrets");
        watch.ready();
        watch.broken(&"connection refused");
        for _ in 0..4 {
            pass(PATIENCE / 4).await;
            watch.broken(&"timed out");
            assert_eq!(progress.stuck(), []);
        }
        pass(Duration::from_secs(1)).await;
        let stuck = progress.stuck();
        assert_eq!(stuck[0].to_string(), "the watch of Secrets has been broken for 61 s: timed out");
        watch.ready();
        assert_eq!(progress.stuck(), []);
        watch.broken(&"again");
        drop(watch);
        pass(PATIENCE * 2).await;
        assert_eq!(progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn takes_the_silence_of_a_watch_that_was_broken_for_its_return() {
        let progress = Progress::new();
        let watch = progress.watch("Secrets");
        watch.ready();
        for _ in 0..8 {
            watch.broken(&"connection refused");
            pass(Duration::from_secs(10)).await;
        }
        assert_eq!(progress.stuck().len(), 1);
        pass(WATCH_SILENCE).await;
        assert_eq!(progress.stuck(), []);
        watch.broken(&"connection refused");
        assert_eq!(progress.stuck(), [], "a new break has its own minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_was_cut_is_no_progress() {
        let progress = Progress::new();
        progress.queued(TENANT, "ns/t");
        for _ in 0..2 {
            let reconcile = progress.started(TENANT, "ns/t", DEADLINE);
            pass(DEADLINE).await;
            reconcile.cut();
        }
        assert_eq!(progress.stuck(), []);
        pass(Duration::from_secs(1)).await;
        assert_eq!(progress.stuck(), [Stuck::Queued { controller: TENANT, object: "ns/t".into(), seconds: 61 }]);
        drop(progress.started(TENANT, "ns/t", DEADLINE));
        assert_eq!(progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_reconcile_that_outlives_its_deadline() {
        let progress = Progress::new();
        let reconcile = progress.started(TENANT, "ns/t", DEADLINE);
        let quick = progress.started(TENANT, "ns/u", DEADLINE);
        drop(quick);
        pass(DEADLINE + DEADLINE_MARGIN).await;
        assert_eq!(progress.stuck(), []);
        pass(Duration::from_secs(1)).await;
        assert_eq!(progress.stuck(), [Stuck::InFlight { controller: TENANT, object: "ns/t".into(), seconds: 61 }]);
        drop(reconcile);
        assert_eq!(progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_queue_only_while_nothing_ends() {
        let progress = Progress::new();
        progress.queued(TENANT, "ns/slow");
        pass(PATIENCE).await;
        progress.queued(TENANT, "ns/slow");
        drop(progress.started(TENANT, "ns/other", DEADLINE));
        pass(PATIENCE).await;
        assert_eq!(progress.stuck(), [], "another reconcile ended just a minute ago");
        pass(Duration::from_secs(1)).await;
        assert_eq!(progress.stuck(), [Stuck::Queued { controller: TENANT, object: "ns/slow".into(), seconds: 121 }]);
        let _reconcile = progress.started(TENANT, "ns/slow", DEADLINE);
        assert_eq!(progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_went_away_waits_no_more() {
        let progress = Progress::new();
        progress.queued(TENANT, "ns/t");
        progress.forgotten(TENANT, "ns/t");
        pass(PATIENCE * 2).await;
        assert_eq!(progress.stuck(), []);
    }
}
