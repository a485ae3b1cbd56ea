//! What the SQL drivers share: statements with a time limit, the steps of a setup, and what a server says to a password.

use std::future::Future;
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::asked::Asked;
use crate::sessions::{Dial, Lease, REQUEST_TIMEOUT, SLOW_TIMEOUT};
use crate::{Change, Changed, Error, record};

/// One statement, or several in one transaction where the server has those for them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// What it does, as a verb phrase.
    pub operation: String,
    /// May hold the tenant's password or what stands for it, so it is never shown.
    pub sql: String,
    /// It makes, copies or removes files in the server.
    pub slow: bool,
    /// The tenant is set up without it, too: when the server refuses it, it is tried again at the next look.
    pub optional: bool,
    /// What is reported of it.
    pub change: Option<Change>,
}

impl Step {
    /// A quick one that the tenant needs.
    pub fn new(operation: String, sql: String, change: Change) -> Self {
        Self { operation, sql, slow: false, optional: false, change: Some(change) }
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("operation", &self.operation).field("change", &self.change).finish_non_exhaustive()
    }
}

/// What a server says to a tenant's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordIs {
    Right,
    Wrong,
}

/// A driver whose connections take SQL.
pub(crate) trait Sql: Dial {
    /// Its client's error.
    type Failure: Send;

    /// Carries out a text without an answer.
    fn run(session: &mut Self::Session, sql: &str) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// Classifies an error of the client.
    fn failed(asked: Asked<'_>, failure: Self::Failure) -> Error;
}

impl<D: Sql> Lease<'_, D> {
    /// Carries out a statement. Several in one text are one transaction on PostgreSQL.
    pub async fn execute(&mut self, operation: &str, sql: &str) -> Result<(), Error> {
        self.execute_within(REQUEST_TIMEOUT, operation, sql).await
    }

    /// As [`Self::execute`], for what takes longer.
    pub async fn execute_within(&mut self, within: Duration, operation: &str, sql: &str) -> Result<(), Error> {
        let mut session = self.take(operation)?;
        let outcome = tokio::time::timeout(within, D::run(&mut session, sql)).await;
        self.settle(operation, within, session, outcome)
    }

    /// Carries a step out, and reports it.
    pub async fn step(&mut self, step: Step, changed: &mut Changed) -> Result<(), Error> {
        let within = if step.slow { SLOW_TIMEOUT } else { REQUEST_TIMEOUT };
        match self.execute_within(within, &step.operation, &step.sql).await {
            Ok(()) => changed.0.extend(step.change),
            Err(error) if step.optional => record::not_completed(error)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The end of a request: the connection is kept unless it broke or the request was given up.
    pub fn settle<T>(
        &mut self,
        operation: &str,
        within: Duration,
        session: D::Session,
        outcome: Result<Result<T, D::Failure>, Elapsed>,
    ) -> Result<T, Error> {
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(|failure| D::failed(self.asked(operation), failure)),
            Err(_elapsed) => Err(self.asked(operation).timed_out(within)),
        };
        if outcome.as_ref().err().is_none_or(|error| !error.is_outage()) {
            self.put(session);
        }
        outcome
    }
}
