//! What the controllers are busy with, and whether they get anywhere: the truth behind `/readyz`.
//!
//! A controller says what it queued, what it works on and how its watches are. A controller that has work and finishes
//! none of it makes the process not ready, whatever the other controllers finish: one that looks at its objects every few
//! seconds would hide all the rest.
//!
//! A pass ends when it comes to a result, and "it waits" and "it failed" are results. One that is cut at its deadline came
//! to none, so that its object goes on waiting, through the next passes as well. Where nothing else of its controller
//! ends, a single object whose passes are all cut looks like a controller that stands still, and counts as one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A reconcile is stuck when it is still in flight this long after its deadline.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(30);

/// Unless told otherwise, a controller is stuck when something waits for it for this long while none of its reconciles
/// ends, and a watch that worked may be broken for this long: its store still holds what was last seen.
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
    queued: HashMap<Key, Waiting>,
    in_flight: HashMap<u64, Reconcile>,
    next: u64,
    /// By controller.
    last_end: HashMap<&'static str, Instant>,
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
            last_end: HashMap::new(),
            watches: BTreeMap::new(),
        }
    }
}

/// How an object waits for a reconcile that ends.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Instant,
    /// Its last reconcile was cut: until one ends, it waits while it is worked on, too.
    cut: bool,
}

#[derive(Debug)]
struct Reconcile {
    key: Key,
    /// Its time in the queue included.
    waiting: Waiting,
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
    /// An object waits for a reconcile that ends, and none of its controller has ended for as long as the patience
    /// lasts.
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
                write!(f, "{controller} {object} has waited for {seconds} s, and no reconcile of a {controller} ends")
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
        self.state().queued.entry(key).or_insert_with(Waiting::now);
    }

    /// Says that the object does not exist and will not be reconciled.
    pub fn forgotten(&self, controller: &'static str, object: impl Into<String>) {
        self.state().queued.remove(&Key { controller, object: object.into() });
    }

    /// Says that a reconcile of `object` began, which should take no longer than `deadline`. It has finished when the
    /// returned value is dropped, on whatever path.
    pub fn started(&self, controller: &'static str, object: impl Into<String>, deadline: Duration) -> InFlight {
        let key = Key { controller, object: object.into() };
        let mut state = self.state();
        let started = Instant::now();
        let waiting = state.queued.remove(&key).unwrap_or(Waiting { since: started, cut: false });
        let number = state.next;
        state.next += 1;
        state.in_flight.insert(number, Reconcile { key, waiting, started, deadline });
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
            } else if reconcile.waiting.cut {
                stuck.extend(state.waits_too_long(&reconcile.key, reconcile.waiting, now));
            }
        }
        // Who was woken during its own reconcile waits for nothing but that: however long it may take, it has a deadline.
        let busy: HashSet<&Key> = state.in_flight.values().map(|reconcile| &reconcile.key).collect();
        for (key, waiting) in state.queued.iter().filter(|(key, _)| !busy.contains(key)) {
            stuck.extend(state.waits_too_long(key, *waiting, now));
        }
        drop(busy);
        drop(state);
        stuck.sort();
        stuck
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn waits_too_long(&self, key: &Key, waiting: Waiting, now: Instant) -> Option<Stuck> {
        // Nearly everybody: what follows looks at all that is at work.
        if now.duration_since(waiting.since) <= self.patience {
            return None;
        }
        let Key { controller, object } = key.clone();
        // A pass may take as long as its deadline allows, and where all places are taken the others wait for it.
        let at_work = self.in_flight.values().filter(|one| one.key.controller == controller && !one.waiting.cut);
        let patience = at_work.map(|one| one.deadline).fold(self.patience, Duration::max);
        let too_long = |since: Instant| now.duration_since(since) > patience;
        let stands_still = self.last_end.get(controller).is_none_or(|end| too_long(*end));
        let seconds = now.duration_since(waiting.since).as_secs();
        (stands_still && too_long(waiting.since)).then_some(Stuck::Queued { controller, object, seconds })
    }
}

impl Waiting {
    fn now() -> Self {
        Self { since: Instant::now(), cut: false }
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
    /// Says that the reconcile was cut at its deadline: that is no progress, and its object goes on waiting.
    pub fn cut(mut self) {
        self.cut = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        let Some(Reconcile { key, waiting, .. }) = state.in_flight.remove(&self.number) else { return };
        if self.cut {
            // Woken meanwhile or not, it has waited since before this reconcile.
            state.queued.insert(key, Waiting { since: waiting.since, cut: true });
        } else {
            state.last_end.insert(key.controller, Instant::now());
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
mod tests;
