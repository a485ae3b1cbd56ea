//! Leader election on a Lease, as client-go does it, so that replicas of the Go operator and of this one exclude each
//! other.
//!
//! A candidate waits until the record has not changed for as long as its holder promised in `leaseDurationSeconds`, by
//! the candidate's own clock. A holder renews every [`RETRY`], writes a duration of [`LEASE_DURATION`], and acts for no
//! longer than [`RENEW_DEADLINE`] after it sent its last successful renewal; the difference is the safety margin.
//! On a requested stop it clears the holder, so that the next one need not wait.
#![allow(
    clippy::disallowed_methods,
    reason = "the Lease decides who may use the write door, so its own writes cannot go through it; each is conditional \
              on the resource version"
)]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kamaji_apply::{Fence, FenceLost};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What we promise others in the record: nobody else may act for this long after a renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);

/// We stop acting this long after our last successful renewal was sent.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(7);

/// Time between two attempts to acquire or renew; one attempt may take as long.
pub const RETRY: Duration = Duration::from_secs(2);

/// What a holder promised that wrote no duration: client-go's default.
const UNSTATED_DURATION: Duration = Duration::from_secs(15);

/// Owner of our fields in the Lease.
const FIELD_MANAGER: &str = "kamaji";

/// Why leader election ended or an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// We acted and may not any more.
    #[error("the Lease {lease} was lost: this replica stops acting at once, and another one takes over")]
    Lost {
        /// `namespace/name`.
        lease: String,
    },
    /// The API server refused or could not be reached.
    #[error(
        "the Lease {lease} cannot be {action}: check that the API server answers and that the operator's Role allows it"
    )]
    Request {
        /// `namespace/name`.
        lease: String,
        /// What was tried.
        action: &'static str,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer within [`RETRY`].
    #[error("the Lease {lease} got no answer within {} s: check that the API server answers", RETRY.as_secs())]
    Timeout {
        /// `namespace/name`.
        lease: String,
    },
    /// The kernel does not say who we are.
    #[error("{path} cannot be read, so that this replica has no name of its own")]
    Identity {
        /// File in /proc.
        path: &'static str,
        /// The answer.
        #[source]
        source: std::io::Error,
    },
}

impl LeaderError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Request { .. } => "request",
            Self::Timeout { .. } => "timeout",
            Self::Identity { .. } => "identity",
        }
    }
}

/// A name for this replica that nobody else has: `hostname_uuid`, as client-go's.
///
/// # Errors
/// When the kernel's files cannot be read.
pub fn identity() -> Result<String, LeaderError> {
    let read = |path| std::fs::read_to_string(path).map_err(|source| LeaderError::Identity { path, source });
    let hostname = read("/proc/sys/kernel/hostname")?;
    let uuid = read("/proc/sys/kernel/random/uuid")?;
    Ok(format!("{}_{}", hostname.trim(), uuid.trim()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Somebody else acts, or nobody.
    Waiting,
    /// We act until this moment, or for good.
    Held { until: Option<Instant> },
    /// We acted, and never will again.
    Ended,
}

/// Whether this replica may act, for everyone who asks. It is the [`Fence`] of every write.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<watch::Sender<State>>);

impl Leadership {
    fn new(state: State) -> Self {
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Held from the start and for good: the process runs without leader election.
    pub fn always() -> Self {
        Self::new(State::Held { until: None })
    }

    /// Whether this replica may act now. True by the clock, not by what a task got round to say: a process that was
    /// suspended finds out at once.
    pub fn is_held(&self) -> bool {
        match *self.0.borrow() {
            State::Waiting | State::Ended => false,
            State::Held { until } => until.is_none_or(|until| Instant::now() < until),
        }
    }

    /// Ends when this replica may act. It never ends if that never happens.
    pub async fn acquired(&self) {
        let mut state = self.0.subscribe();
        while !self.is_held() {
            // The sender lives as long as `self`.
            let _ = state.changed().await;
        }
    }

    /// Ends when this replica acted and may not any more, also by letting go on a requested stop. It waits while the
    /// replica has not acted yet.
    pub async fn lost(&self) {
        let mut state = self.0.subscribe();
        loop {
            let now = *state.borrow_and_update();
            match now {
                State::Ended => return,
                State::Held { until: Some(until) } => {
                    tokio::select! {
                        _ = state.changed() => {}
                        () = tokio::time::sleep_until(until) => return,
                    }
                }
                State::Waiting | State::Held { until: None } => {
                    let _ = state.changed().await;
                }
            }
        }
    }

    fn set(&self, state: State) {
        self.0.send_replace(state);
    }
}

impl Fence for Leadership {
    fn check(&self) -> Result<(), FenceLost> {
        if self.is_held() { Ok(()) } else { Err(FenceLost) }
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        async {
            if self.is_held() {
                Leadership::lost(self).await;
            }
        }
        .boxed()
    }
}

/// One replica's part in the election.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    leadership: Leadership,
    observed: Option<Observed>,
}

/// The record as last seen, and when it last changed.
#[derive(Clone, Debug)]
struct Observed {
    spec: LeaseSpec,
    resource_version: String,
    changed: Instant,
}

/// How an attempt ended.
enum Attempt {
    /// The Lease is ours from the moment the attempt began.
    Held,
    /// Somebody else's.
    HeldBy(String),
    /// Somebody wrote it at the same time.
    Conflict,
}

impl Observed {
    fn holder(&self) -> &str {
        self.spec.holder_identity.as_deref().unwrap_or_default()
    }

    /// When others may take the Lease.
    fn runs_out(&self) -> Instant {
        let promised = match self.spec.lease_duration_seconds {
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            None => UNSTATED_DURATION,
        };
        self.changed + promised
    }

    fn may_be_taken_by(&self, identity: &str, now: Instant) -> bool {
        self.holder().is_empty() || self.holder() == identity || now >= self.runs_out()
    }
}

impl Election {
    /// Takes part in the election on Lease `namespace/name` under the name `identity`, once [`Election::run`] runs.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity,
            leadership: Leadership::new(State::Waiting),
            observed: None,
        }
    }

    /// Tells the outcome to those who want to act.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Acquires the Lease, renews it, and lets go of it on `release`. It ends when it let go, or when the Lease was
    /// lost: this replica takes no part any more then, because what it knew may be out of date.
    pub async fn run(mut self, release: CancellationToken) {
        let mut held: Option<Instant> = None;
        loop {
            let began = Instant::now();
            // A renewal that hangs must not outlive the right to act.
            let limit = held.map_or(RETRY, |until| until.duration_since(began).min(RETRY));
            match tokio::time::timeout(limit, self.attempt()).await {
                Ok(Ok(Attempt::Held)) => {
                    if held.is_none() {
                        tracing::info!(lease = self.lease(), identity = self.identity, "acquired the Lease");
                    }
                    let until = began + RENEW_DEADLINE;
                    held = Some(until);
                    self.leadership.set(State::Held { until: Some(until) });
                }
                Ok(Ok(Attempt::HeldBy(holder))) => {
                    tracing::debug!(lease = self.lease(), holder, "the Lease is held by another replica");
                    if held.is_some() {
                        break;
                    }
                }
                Ok(Ok(Attempt::Conflict)) => {}
                Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "retrying"),
                Err(_) => {
                    // Whether the write got through is unknown.
                    self.forget_what_we_wrote();
                    tracing::warn!(error = %LeaderError::Timeout { lease: self.lease() }, "retrying");
                }
            }
            let next = match held {
                Some(until) => (began + RETRY).min(until),
                None => began + jittered(RETRY, &self.identity, began),
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = release.cancelled() => return self.let_go(held.is_some()).await,
            }
            if held.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        self.leadership.set(State::Ended);
        tracing::error!(error = %LeaderError::Lost { lease: self.lease() }, "stopping");
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn refused(&self, action: &'static str) -> impl FnOnce(kube::Error) -> LeaderError + use<> {
        let lease = self.lease();
        move |source| LeaderError::Request { lease, action, source: Box::new(source) }
    }

    /// One attempt to acquire or to renew. What turns out to be stale is read again, once.
    async fn attempt(&mut self) -> Result<Attempt, LeaderError> {
        match self.attempt_once().await? {
            Attempt::Conflict => self.attempt_once().await,
            settled => Ok(settled),
        }
    }

    async fn attempt_once(&mut self) -> Result<Attempt, LeaderError> {
        let now = Instant::now();
        let seen = match self.what_we_wrote() {
            // A holder needs no read before its next write.
            Some(seen) => seen,
            None => match (self.read().await?, &self.observed) {
                (Some(lease), _) => self.observe(lease),
                // Deleted under a holder that still acts.
                (None, Some(seen)) if !seen.may_be_taken_by(&self.identity, now) => {
                    return Ok(Attempt::HeldBy(seen.holder().to_owned()));
                }
                (None, _) => return self.create().await,
            },
        };
        if seen.may_be_taken_by(&self.identity, now) {
            self.take(seen).await
        } else {
            Ok(Attempt::HeldBy(seen.holder().to_owned()))
        }
    }

    async fn read(&self) -> Result<Option<Lease>, LeaderError> {
        self.api.get_opt(&self.name).await.map_err(self.refused("read"))
    }

    fn what_we_wrote(&self) -> Option<Observed> {
        self.observed.clone().filter(|seen| seen.holder() == self.identity)
    }

    /// Remembers the record, and when it changed by our clock.
    fn observe(&mut self, lease: Lease) -> Observed {
        let resource_version = lease.resource_version().unwrap_or_default();
        let spec = lease.spec.unwrap_or_default();
        let changed = match &self.observed {
            Some(before) if before.spec == spec => before.changed,
            _ => Instant::now(),
        };
        let seen = Observed { spec, resource_version, changed };
        self.observed = Some(seen.clone());
        seen
    }

    async fn create(&mut self) -> Result<Attempt, LeaderError> {
        let now = MicroTime(Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let how = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = self.api.create(&how, &lease).await;
        self.written(written, "created")
    }

    /// Writes our name into the record, if it is still the one that we saw.
    async fn take(&mut self, seen: Observed) -> Result<Attempt, LeaderError> {
        let now = Timestamp::now();
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE_DURATION.as_secs(),
            "renewTime": MicroTime(now),
        });
        if seen.holder() != self.identity
            && let Some(spec) = spec.as_object_mut()
        {
            let transitions = seen.spec.lease_transitions.unwrap_or_default().saturating_add(1);
            spec.insert("acquireTime".to_owned(), json!(MicroTime(now)));
            spec.insert("leaseTransitions".to_owned(), json!(transitions));
        }
        let written = self.patch(&seen.resource_version, spec).await;
        self.written(written, "renewed")
    }

    async fn patch(&self, resource_version: &str, spec: serde_json::Value) -> kube::Result<Lease> {
        let patch = json!({ "metadata": { "resourceVersion": resource_version }, "spec": spec });
        let how = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch(&self.name, &how, &Patch::Merge(patch)).await
    }

    fn written(&mut self, written: kube::Result<Lease>, action: &'static str) -> Result<Attempt, LeaderError> {
        match written {
            Ok(lease) => {
                self.observe(lease);
                Ok(Attempt::Held)
            }
            // Somebody was faster, or deleted the record: look again next time.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.forget_what_we_wrote();
                Ok(Attempt::Conflict)
            }
            Err(error) => {
                self.forget_what_we_wrote();
                Err(self.refused(action)(error))
            }
        }
    }

    /// Makes the next attempt read first. What others wrote stays remembered, with its time.
    fn forget_what_we_wrote(&mut self) {
        if self.what_we_wrote().is_some() {
            self.observed = None;
        }
    }

    /// Stops acting, then clears the holder so that the next replica need not wait.
    async fn let_go(mut self, held: bool) {
        // First, so that nothing can be written after somebody else took over.
        self.leadership.set(State::Ended);
        if let Err(error) = self.release(held).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the next replica waits until the Lease runs out");
        }
    }

    async fn release(&mut self, held: bool) -> Result<(), LeaderError> {
        let seen = match self.what_we_wrote() {
            None if held => self.read().await?.map(|lease| self.observe(lease)),
            known => known,
        };
        let Some(seen) = seen.filter(|seen| seen.holder() == self.identity) else { return Ok(()) };
        // The record of a released Lease as client-go writes it.
        let spec = json!({ "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": MicroTime(Timestamp::now()) });
        self.patch(&seen.resource_version, spec).await.map_err(self.refused("released"))?;
        tracing::info!(lease = self.lease(), "released the Lease");
        Ok(())
    }
}

/// `period` and up to a fifth more, so that candidates that started together do not go on asking together.
fn jittered(period: Duration, identity: &str, now: Instant) -> Duration {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (identity, now).hash(&mut hasher);
    let percent = u32::try_from(hasher.finish() % 20).unwrap_or_default();
    period + period * percent / 100
}

#[cfg(test)]
mod tests;
