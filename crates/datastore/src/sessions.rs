//! Connections that serve one request at a time (SQL, NATS): a few per store, kept, failed over, behind the circuit.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::asked::{Asked, worst};
use crate::circuit::{Circuit, Pass};
use crate::connection::Endpoint;
use crate::{Connection, Error};

/// For TCP, TLS and the login together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// For a sign of life on a connection that was kept.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// For one request on a connection that is there.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For what copies or removes files in the server: a database that is made or dropped.
pub(crate) const SLOW_TIMEOUT: Duration = Duration::from_secs(20);
/// For finding a connection, over all endpoints.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Connections of one store at a time.
const AT_MOST: usize = 4;

/// What a driver does to get a connection.
pub(crate) trait Dial: Send + Sync + 'static {
    /// A connection that is logged in.
    type Session: Send;

    /// Connects and logs in. An error that is an outage sends the call to the next endpoint.
    fn dial(&self, endpoint: &Endpoint, asked: Asked<'_>) -> impl Future<Output = Result<Self::Session, Error>> + Send;

    /// Whether a connection that was kept still answers.
    fn answers(&self, session: &mut Self::Session) -> impl Future<Output = bool> + Send;
}

/// See the module.
pub(crate) struct Sessions<D: Dial> {
    members: Vec<Arc<Member>>,
    dialer: D,
    circuit: Circuit,
    /// The member that answered last: asked first.
    preferred: AtomicUsize,
    idle: Mutex<Vec<(Arc<Member>, D::Session)>>,
    permits: Semaphore,
    /// Told when the circuit opens.
    away: Notify,
}

struct Member {
    index: usize,
    endpoint: Endpoint,
    name: String,
}

/// A connection, where it leads to, and the permit to use it.
type Found<'a, D> = (Option<SemaphorePermit<'a>>, Arc<Member>, <D as Dial>::Session);

impl<D: Dial> std::fmt::Debug for Sessions<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}

impl<D: Dial> Sessions<D> {
    /// Checks the endpoints; dials nothing.
    pub fn open(connection: &Connection, dialer: D) -> Result<Self, Error> {
        let member = |(index, text): (usize, &String)| {
            let endpoint = Endpoint::parse(text)?;
            Ok(Arc::new(Member { index, name: endpoint.to_string(), endpoint }))
        };
        let members: Vec<_> = connection.endpoints.iter().enumerate().map(member).collect::<Result<_, Error>>()?;
        if members.is_empty() {
            return Err(Error::InvalidConnection {
                field: "spec.endpoints",
                detail: "it is empty; give at least one host:port".into(),
            });
        }
        Ok(Self {
            members,
            dialer,
            circuit: Circuit::new(CALL_TIMEOUT),
            preferred: AtomicUsize::new(0),
            idle: Mutex::default(),
            permits: Semaphore::new(AT_MOST),
            away: Notify::new(),
        })
    }

    /// `host:port` of each endpoint.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// How connections are made.
    pub fn dialer(&self) -> &D {
        &self.dialer
    }

    /// How long calls will fail at once.
    pub fn retry_after(&self) -> Option<Duration> {
        self.circuit.retry_after(Instant::now())
    }

    /// A connection for this operation (a verb phrase, for messages): a kept one, else a new one to the first endpoint
    /// that answers.
    pub async fn lease(&self, operation: &str) -> Result<Lease<'_, D>, Error> {
        let pass = self.circuit.admit(Instant::now())?;
        let found = tokio::select! {
            found = self.queue_and_find(operation) => found,
            // All others would find out the same, and later.
            error = self.outage(pass) => return Err(error),
        };
        match found {
            Ok((permit, member, session)) => {
                self.circuit.close();
                self.preferred.store(member.index, Ordering::Relaxed);
                Ok(Lease { sessions: self, member, session: Some(session), _permit: permit })
            }
            Err(error) => {
                if error.is_outage() {
                    tracing::debug!(%error, "datastore is away");
                    self.circuit.open(pass, Instant::now(), error.clone());
                    self.away.notify_waiters();
                }
                Err(error)
            }
        }
    }

    /// The outage that another call finds meanwhile.
    async fn outage(&self, pass: Pass) -> Error {
        loop {
            let mut told = pin!(self.away.notified());
            // From here on nothing is missed.
            told.as_mut().enable();
            match self.circuit.outage_since(pass) {
                Some(error) => return error,
                None => told.await,
            }
        }
    }

    async fn queue_and_find(&self, operation: &str) -> Result<Found<'_, D>, Error> {
        // Not limited: whoever holds a permit is, and an outage that they find ends the queue.
        let permit = self.permits.acquire().await.ok();
        let found = tokio::time::timeout(CALL_TIMEOUT, self.find(operation)).await.unwrap_or_else(|_elapsed| {
            let endpoint = self.endpoints().collect::<Vec<_>>().join(", ");
            Err(Asked { endpoint: &endpoint, operation }.timed_out(CALL_TIMEOUT))
        });
        found.map(|(member, session)| (permit, member, session))
    }

    async fn find(&self, operation: &str) -> Result<(Arc<Member>, D::Session), Error> {
        let mut failures: Vec<(usize, Error)> = Vec::new();
        while let Some((member, mut session)) = self.take_idle() {
            match tokio::time::timeout(ANSWER_TIMEOUT, self.dialer.answers(&mut session)).await {
                Ok(true) => return Ok((member, session)),
                // It ended while it was kept: its server may have been restarted since.
                Ok(false) => {}
                Err(_elapsed) => {
                    self.lock().retain(|(other, _)| other.index != member.index);
                    let asked = Asked { endpoint: &member.name, operation };
                    failures.push((member.index, asked.timed_out(ANSWER_TIMEOUT)));
                }
            }
        }
        let first = self.preferred.load(Ordering::Relaxed);
        for member in self.members.iter().cycle().skip(first).take(self.members.len()) {
            if failures.iter().any(|(failed, _)| *failed == member.index) {
                continue;
            }
            match self.dial(member, operation).await {
                Ok(session) => return Ok((member.clone(), session)),
                Err(error) if error.is_outage() => failures.push((member.index, error)),
                Err(error) => return Err(error),
            }
        }
        failures.sort_by_key(|(index, _)| *index);
        Err(worst(failures.into_iter().map(|(_, error)| error).collect(), operation))
    }

    async fn dial(&self, member: &Member, operation: &str) -> Result<D::Session, Error> {
        let asked = Asked { endpoint: &member.name, operation };
        let dialled = tokio::time::timeout(CONNECT_TIMEOUT, self.dialer.dial(&member.endpoint, asked)).await;
        dialled.unwrap_or_else(|_elapsed| Err(asked.timed_out(CONNECT_TIMEOUT)))
    }

    /// What is wrong with each endpoint that gives no connection, by its place in the configuration; past the circuit.
    /// Nothing is asked where there is only one.
    pub async fn silent(&self, operation: &str) -> BTreeMap<usize, Error> {
        let members = if self.members.len() > 1 { self.members.as_slice() } else { &[] };
        let answers = futures::future::join_all(members.iter().map(|member| self.dial(member, operation))).await;
        answers.into_iter().enumerate().filter_map(|(place, answer)| Some((place, answer.err()?))).collect()
    }

    fn take_idle(&self) -> Option<(Arc<Member>, D::Session)> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Member>, D::Session)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection for one operation. It is kept for the next one, unless it broke, or a request on it was given up half-way.
pub(crate) struct Lease<'a, D: Dial> {
    sessions: &'a Sessions<D>,
    member: Arc<Member>,
    session: Option<D::Session>,
    _permit: Option<SemaphorePermit<'a>>,
}

impl<D: Dial> Lease<'_, D> {
    /// The endpoint that it is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
    }

    /// How its connection was made.
    pub fn dialer(&self) -> &D {
        &self.sessions.dialer
    }

    /// The connection; nothing after it broke.
    pub fn session(&self) -> Option<&D::Session> {
        self.session.as_ref()
    }

    /// For the messages about one request.
    pub fn asked<'a>(&'a self, operation: &'a str) -> Asked<'a> {
        Asked { endpoint: &self.member.name, operation }
    }

    /// Takes the connection out for one request. Give it back with [`Self::put`] when it can be used again: a request
    /// that is dropped half-way takes its connection with it.
    pub fn take(&mut self, operation: &str) -> Result<D::Session, Error> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.session.take().ok_or_else(|| self.asked(operation).broken(gone()))
    }

    /// See [`Self::take`].
    pub fn put(&mut self, session: D::Session) {
        self.session = Some(session);
    }
}

impl<D: Dial> Drop for Lease<'_, D> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.lock().push((self.member.clone(), session));
        }
    }
}
