//! The connections of one etcd: at most one per endpoint, kept, failed over, and guarded by the circuit.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::dial::{Connected, Dialer};
use super::failure::{Answer, Failure, Refusal};
use crate::asked::{Asked, worst};
use crate::circuit::{Circuit, Pass};
use crate::connection::{Connection, Endpoint};
use crate::{Driver, Error};

/// For one request on a connection that is there.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For one call over all endpoints, connecting included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a call is asked again when roles changed under it, which many tenants set up at once make likely.
const STALE_RETRIES: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Member>,
    dialer: Dialer,
    circuit: Circuit,
    /// The member that answered last: asked first.
    preferred: AtomicUsize,
}

struct Member {
    endpoint: Endpoint,
    name: String,
    slot: Mutex<Slot>,
}

/// A member's connection, numbered so that a late failure of an old one does not close its successor.
#[derive(Default)]
struct Slot {
    generation: u64,
    connected: Option<Connected>,
}

/// One attempt that failed.
struct Failed {
    failure: Failure,
    /// The request may have reached the server.
    sent: bool,
    /// The connection was older than the attempt.
    kept: bool,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Whether a request that may already have been carried out may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Doing it twice is doing it once.
    Safe,
    /// It must be sent at most once.
    Unsafe,
}

impl Pool {
    /// Checks endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        if connection.driver != Driver::Etcd {
            return Err(Error::InvalidConnection {
                field: "spec.driver",
                detail: format!(
                    "it is {}, where only etcd will do; give a DataStore with the driver etcd",
                    connection.driver
                ),
            });
        }
        let members: Vec<Member> =
            connection.endpoints.iter().map(|text| Endpoint::parse(text).map(Member::new)).collect::<Result<_, _>>()?;
        if members.is_empty() {
            return Err(Error::InvalidConnection {
                field: "spec.endpoints",
                detail: "it is empty; give at least one host:port".into(),
            });
        }
        let dialer = Dialer::new(connection)?;
        Ok(Self { members, dialer, circuit: Circuit::new(CALL_TIMEOUT), preferred: AtomicUsize::new(0) })
    }

    /// `host:port` of each member that is configured.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// How long calls will fail at once.
    pub fn retry_after(&self) -> Option<Duration> {
        self.circuit.retry_after(Instant::now())
    }

    /// Asks any member; a refusal is an error.
    pub async fn call<T, F, Fut>(&self, operation: &str, repeat: Repeat, request: F) -> Result<T, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        self.ask(operation, repeat, request).await?.map_err(|answer| answer.error)
    }

    /// Asks any member; some refusals are an outcome, `None`.
    pub async fn call_unless<T, F, Fut>(
        &self,
        operation: &str,
        outcomes: &[Refusal],
        request: F,
    ) -> Result<Option<T>, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        match self.ask(operation, Repeat::Safe, request).await? {
            Ok(value) => Ok(Some(value)),
            Err(answer) if outcomes.contains(&answer.kind) => Ok(None),
            Err(answer) => Err(answer.error),
        }
    }

    /// Asks exactly this endpoint, past the circuit: what one member says is no word about the store.
    pub async fn call_member<T, F, Fut>(
        &self,
        endpoint: &str,
        operation: &str,
        within: Duration,
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        self.ask_member(endpoint, operation, within, request).await?.map_err(|answer| answer.error)
    }

    /// As [`Self::call_member`] with the member that answered last, for what takes longer than a request may; some
    /// refusals are an outcome, `None`.
    pub async fn call_slow_unless<T, F, Fut>(
        &self,
        operation: &str,
        within: Duration,
        outcomes: &[Refusal],
        request: F,
    ) -> Result<Option<T>, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let endpoint = self.endpoints().nth(preferred).unwrap_or_default();
        match self.ask_member(endpoint, operation, within, request).await? {
            Ok(value) => Ok(Some(value)),
            Err(answer) if outcomes.contains(&answer.kind) => Ok(None),
            Err(answer) => Err(answer.error),
        }
    }

    async fn ask_member<T, F, Fut>(
        &self,
        endpoint: &str,
        operation: &str,
        within: Duration,
        request: F,
    ) -> Result<Result<T, Answer>, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let stranger;
        let member = if let Some(member) = self.members.iter().find(|member| member.name == endpoint) {
            member
        } else {
            stranger = Member::new(Endpoint::parse(endpoint)?);
            &stranger
        };
        let asked = Asked { endpoint: &member.name, operation };
        // A kept connection may have died unnoticed: one more try finds out. What one member is asked is repeatable.
        let mut retried = false;
        loop {
            let Failed { failure, kept, .. } = match self.attempt(member, asked, within, None, &request).await {
                Ok(value) => return Ok(Ok(value)),
                Err(failed) => failed,
            };
            match failure {
                Failure::Answer(answer) => return Ok(Err(answer)),
                Failure::Stale(_) if !retried => retried = true,
                Failure::Broken(error) if kept && !retried && !matches!(error, Error::Timeout { .. }) => retried = true,
                Failure::Broken(error) | Failure::Stale(error) | Failure::Elsewhere(error) => return Err(error),
            }
        }
    }

    async fn ask<T, F, Fut>(&self, operation: &str, repeat: Repeat, request: F) -> Result<Result<T, Answer>, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let pass = self.circuit.admit(Instant::now())?;
        let round = self.round(operation, repeat, pass, &request);
        let outcome = tokio::time::timeout(CALL_TIMEOUT, round).await.unwrap_or_else(|_elapsed| {
            let endpoint = self.endpoints().collect::<Vec<_>>().join(", ");
            Err(Asked { endpoint: &endpoint, operation }.timed_out(CALL_TIMEOUT))
        });
        match &outcome {
            Ok(_) => self.circuit.close(),
            Err(error) if error.is_outage() => {
                tracing::debug!(%error, "datastore is away");
                self.circuit.open(pass, Instant::now(), error.clone());
            }
            Err(_) => {}
        }
        outcome
    }

    /// Asks one member after the other, the one that answered last first, until one answers.
    async fn round<T, F, Fut>(
        &self,
        operation: &str,
        repeat: Repeat,
        pass: Pass,
        request: &F,
    ) -> Result<Result<T, Answer>, Error>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let order = self.members.iter().enumerate().cycle().skip(first).take(self.members.len());
        let mut failures: Vec<(usize, Error)> = Vec::new();
        for (index, member) in order {
            let asked = Asked { endpoint: &member.name, operation };
            let mut stale = 0;
            let mut reconnected = false;
            loop {
                let outcome = self.attempt(member, asked, REQUEST_TIMEOUT, Some(pass), request).await;
                let Failed { failure, sent, kept } = match outcome {
                    Ok(value) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(Ok(value));
                    }
                    Err(failed) => failed,
                };
                match failure {
                    Failure::Answer(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(Err(answer));
                    }
                    Failure::Stale(_) if stale < STALE_RETRIES => {
                        stale += 1;
                        tokio::time::sleep(Duration::from_millis(5 * u64::from(stale))).await;
                    }
                    Failure::Stale(error) => return Err(error),
                    Failure::Broken(error) | Failure::Elsewhere(error) if sent && repeat == Repeat::Unsafe => {
                        return Err(error);
                    }
                    // A kept connection that broke at once says only that the server was restarted since.
                    Failure::Broken(error) if kept && !reconnected && !matches!(error, Error::Timeout { .. }) => {
                        reconnected = true;
                    }
                    Failure::Broken(error) | Failure::Elsewhere(error) => {
                        failures.push((index, error));
                        break;
                    }
                }
            }
            // Another call found the store away while this one waited its turn to connect.
            if let Some(error) = self.circuit.outage_since(pass) {
                return Err(error);
            }
        }
        failures.sort_by_key(|(index, _)| *index);
        Err(worst(failures.into_iter().map(|(_, error)| error).collect(), operation))
    }

    /// One request on the member's connection, dialling it when there is none.
    async fn attempt<T, F, Fut>(
        &self,
        member: &Member,
        asked: Asked<'_>,
        within: Duration,
        pass: Option<Pass>,
        request: &F,
    ) -> Result<T, Failed>
    where
        F: Fn(Connected) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let (generation, connected, kept) = {
            // Held while dialling, so that a hundred callers make one connection.
            let mut slot = member.slot.lock().await;
            if let Some(connected) = &slot.connected {
                (slot.generation, connected.clone(), true)
            } else {
                let not_sent = |failure| Failed { failure, sent: false, kept: false };
                if let Some(error) = pass.and_then(|pass| self.circuit.outage_since(pass)) {
                    return Err(not_sent(Failure::Broken(error)));
                }
                let connected = match self.dialer.connect(&member.endpoint, asked).await {
                    Ok(connected) => connected,
                    Err(failure) => return Err(not_sent(self.explained(member, asked, failure).await)),
                };
                slot.generation += 1;
                slot.connected = Some(connected.clone());
                (slot.generation, connected, false)
            }
        };
        let failure = match tokio::time::timeout(within, request(connected)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => asked.failed(error),
            Err(_elapsed) => Failure::Broken(asked.timed_out(within)),
        };
        let failure = if kept { failure } else { self.explained(member, asked, failure).await };
        // A new connection logs in anew, and so has a token of the present revision.
        let useless = match failure {
            Failure::Broken(_) => true,
            Failure::Stale(_) => self.dialer.logs_in(),
            Failure::Elsewhere(_) | Failure::Answer(_) => false,
        };
        if useless {
            let mut slot = member.slot.lock().await;
            if slot.generation == generation {
                slot.connected = None;
            }
        }
        Err(Failed { failure, sent: true, kept })
    }

    /// The reason behind a fresh connection that broke, where it can be had.
    async fn explained(&self, member: &Member, asked: Asked<'_>, failure: Failure) -> Failure {
        match failure {
            Failure::Broken(error @ Error::Unreachable { .. }) => {
                let reason = self.dialer.diagnose(&member.endpoint, asked).await;
                Failure::Broken(reason.unwrap_or(error))
            }
            failure => failure,
        }
    }
}

impl Member {
    fn new(endpoint: Endpoint) -> Self {
        Self { name: endpoint.to_string(), endpoint, slot: Mutex::default() }
    }
}
