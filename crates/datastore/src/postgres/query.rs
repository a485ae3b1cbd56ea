//! Statements: quoting, time limits, and what the server's refusals mean.

use std::error::Error as StdError;
use std::sync::Arc;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Error as ClientError, Row};

use super::dial::{Dialer, Session};
use crate::Error;
use crate::asked::{Asked, chain};
use crate::error::Cause;
use crate::sessions::{Lease, REQUEST_TIMEOUT};
use crate::sql::Sql;

/// A parameter of a query.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// An identifier in double quotes. NUL is refused before, see [`crate::Tenant::check_names`].
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in single quotes, for where a parameter cannot stand. The session has `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Sql for Dialer {
    type Failure = ClientError;

    async fn run(session: &mut Session, sql: &str) -> Result<(), ClientError> {
        session.client.batch_execute(sql).await
    }

    fn failed(asked: Asked<'_>, failure: ClientError) -> Error {
        failed(asked, failure)
    }
}

impl Lease<'_, Dialer> {
    /// Rows of a query.
    pub async fn query(&mut self, operation: &str, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        let session = self.take(operation)?;
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, session.client.query(sql, parameters)).await;
        self.settle(operation, REQUEST_TIMEOUT, session, outcome)
    }
}

/// A column of a row.
pub(crate) fn get<'a, T: FromSql<'a>>(asked: Asked<'_>, row: &'a Row, column: usize) -> Result<T, Error> {
    row.try_get(column).map_err(|error| failed(asked, error))
}

/// Classifies an error of the client.
pub(crate) fn failed(asked: Asked<'_>, error: ClientError) -> Error {
    let Some(answer) = error.as_db_error() else {
        let detail = chain(&error);
        // The client's own words, which it gives no kind: a server that was asked for TLS and has none.
        if detail.contains("server does not support TLS") {
            let detail = "the server does not offer TLS".into();
            return Error::Tls { endpoint: asked.endpoint.to_owned(), detail, source: Arc::new(error) };
        }
        return if error.is_closed() { asked.broken(error) } else { asked.not_connected(error) };
    };
    let (endpoint, operation) = asked.both();
    let detail = answer.message().to_owned();
    let code = answer.code().clone();
    let source: Cause = Arc::new(error);
    if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(&code) {
        return Error::Unauthenticated { endpoint, operation, detail, source };
    }
    if code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Error::PermissionDenied { endpoint, operation, detail, source };
    }
    if code == SqlState::DISK_FULL {
        return Error::NoSpace { endpoint, operation, detail, source };
    }
    let away = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    if away.contains(&code) {
        return Error::Unavailable { endpoint, operation, detail, source };
    }
    Error::Refused { endpoint, operation, detail, source }
}

/// Whether the server refused because of this.
pub(crate) fn is(error: &Error, state: &SqlState) -> bool {
    let Error::Refused { source, .. } = error else { return false };
    code(source.as_ref()) == Some(state)
}

/// Whether somebody else made or changed the same at the same moment: a second look tells who.
pub(crate) fn is_race(error: &Error) -> bool {
    let Error::Refused { source, detail, .. } = error else { return false };
    let races = [SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_DATABASE, SqlState::UNIQUE_VIOLATION];
    code(source.as_ref()).is_some_and(|code| races.contains(code)) || detail == "tuple concurrently updated"
}

/// Whether the server knows the user and wants another password.
pub(crate) fn is_wrong_password(error: &(dyn StdError + 'static)) -> bool {
    code(error) == Some(&SqlState::INVALID_PASSWORD)
}

fn code<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a SqlState> {
    error.downcast_ref::<ClientError>().and_then(ClientError::code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_leave_nothing_open() {
        assert_eq!(identifier("a"), "\"a\"");
        assert_eq!(identifier("a\"; DROP ROLE b; --"), "\"a\"\"; DROP ROLE b; --\"");
        assert_eq!(literal("it's \\"), "'it''s \\'");
    }
}
