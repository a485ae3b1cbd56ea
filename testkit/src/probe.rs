//! Asks a server on a new connection ten times a second, to show that it was never away.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::http_get::Target;

/// How to probe.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time from the begin of one attempt to the begin of the next, whether that one was answered or not.
    pub interval: Duration,
    /// An attempt that is not answered after this has failed.
    pub timeout: Duration,
    /// Status codes that are a success.
    pub accept: RangeInclusive<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), timeout: Duration::from_secs(5), accept: 200..=299 }
    }
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began.
    pub began: Timestamp,
    /// From the begin of the connection to the last byte of the answer, or to the failure.
    pub took: Duration,
    /// The status code, or why there was none that is accepted.
    pub outcome: Result<u16, String>,
}

/// What a probe saw, in order of time.
#[derive(Debug, Clone)]
pub struct Report {
    /// Every attempt that came to its end.
    pub attempts: Vec<Attempt>,
}

impl Report {
    /// Attempts that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.outcome.is_err())
    }

    /// How many attempts succeeded.
    pub fn successes(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.outcome.is_ok()).count()
    }

    /// The attempt that took longest.
    pub fn slowest(&self) -> Option<&Attempt> {
        self.attempts.iter().max_by_key(|attempt| attempt.took)
    }
}

/// `312 attempts, 2 failed, slowest 45 ms`, then one line per failure.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.slowest().map_or(0, |attempt| attempt.took.as_millis());
        write!(f, "{} attempts, {} failed, slowest {slowest} ms", self.attempts.len(), self.failures().count())?;
        for attempt in self.failures() {
            let reason = attempt.outcome.as_ref().err().map_or("", String::as_str);
            write!(f, "\n{:.3} after {} ms: {reason}", attempt.began, attempt.took.as_millis())?;
        }
        Ok(())
    }
}

/// A running probe; ends when dropped.
#[derive(Debug)]
pub struct Probe {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Vec<Attempt>>,
}

impl Probe {
    /// Begins to probe `target` ten times a second.
    pub fn start(target: Target) -> Self {
        Self::start_with(target, Options::default())
    }

    /// Begins to probe `target`.
    pub fn start_with(target: Target, options: Options) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop: Some(stop), task: tokio::spawn(probe(target, options, stopped)) }
    }

    /// Begins no more attempts, awaits the ones under way, gives what was seen.
    pub async fn finish(mut self) -> Report {
        drop(self.stop.take());
        // It neither panics nor is it aborted before the drop at the end of this function.
        let mut attempts = (&mut self.task).await.unwrap_or_default();
        attempts.sort_by_key(|attempt| attempt.began);
        Report { attempts }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn probe(target: Target, options: Options, mut stopped: oneshot::Receiver<()>) -> Vec<Attempt> {
    let mut ticks = tokio::time::interval(options.interval);
    // A burst after a pause of this process would say nothing new about the server.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut running = JoinSet::new();
    let mut attempts = Vec::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {
                running.spawn(attempt(target.clone(), options.timeout, options.accept.clone()));
            }
            Some(done) = running.join_next() => attempts.extend(done.ok()),
        }
    }
    while let Some(done) = running.join_next().await {
        attempts.extend(done.ok());
    }
    attempts
}

async fn attempt(target: Target, timeout: Duration, accept: RangeInclusive<u16>) -> Attempt {
    let began = Timestamp::now();
    let clock = Instant::now();
    let outcome = match tokio::time::timeout(timeout, target.get()).await {
        Ok(Ok(status)) if accept.contains(&status) => Ok(status),
        Ok(Ok(status)) => Err(format!("{} answered {status}", target.address())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("{} did not answer in time", target.address())),
    };
    Attempt { began, took: clock.elapsed(), outcome }
}
