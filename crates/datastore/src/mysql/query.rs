//! Statements with time limits, and what the server's refusals mean.

use std::sync::Arc;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Error as ClientError, IoError, Params, Row, Value};

use super::dial::{Dialer, Session};
use crate::Error;
use crate::asked::{Asked, chain};
use crate::sessions::{Lease, REQUEST_TIMEOUT};
use crate::sql::Sql;

impl Sql for Dialer {
    type Failure = ClientError;

    async fn run(session: &mut Session, sql: &str) -> Result<(), ClientError> {
        session.conn.query_drop(sql).await
    }

    fn failed(asked: Asked<'_>, failure: ClientError) -> Error {
        failed(asked, failure)
    }
}

impl Lease<'_, Dialer> {
    /// Rows of a query, whose parameters are `?`.
    pub async fn query(&mut self, operation: &str, sql: &str, parameters: Vec<&str>) -> Result<Vec<Row>, Error> {
        let mut session = self.take(operation)?;
        let parameters: Vec<Value> = parameters.into_iter().map(Value::from).collect();
        let parameters = if parameters.is_empty() { Params::Empty } else { Params::Positional(parameters) };
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, session.conn.exec(sql, parameters)).await;
        self.settle(operation, REQUEST_TIMEOUT, session, outcome)
    }
}

/// A column as text; nothing when it is NULL or not there.
pub(crate) fn text(row: &Row, column: usize) -> Option<String> {
    value(row.as_ref(column)?)
}

/// Every column as name and text.
pub(crate) fn columns(row: &Row) -> impl Iterator<Item = (String, String)> {
    let names = row.columns_ref().iter().map(|column| column.name_str().into_owned());
    names.enumerate().map(|(index, name)| (name, text(row, index).unwrap_or_default()))
}

fn value(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other @ (Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..)) => Some(other.as_sql(true)),
    }
}

/// Classifies an error of the client.
pub(crate) fn failed(asked: Asked<'_>, error: ClientError) -> Error {
    let (endpoint, operation) = asked.both();
    match &error {
        ClientError::Server(answer) => {
            let detail = answer.message.clone();
            let code = answer.code;
            let source = Arc::new(error);
            match code {
                1045 | 1698 => Error::Unauthenticated { endpoint, operation, detail, source },
                1044 | 1142 | 1143 | 1227 | 1370 | 1410 => {
                    Error::PermissionDenied { endpoint, operation, detail, source }
                }
                1021 | 1114 => Error::NoSpace { endpoint, operation, detail, source },
                // Too many connections, shutting down, or read-only.
                1040 | 1053 | 1203 | 1290 | 1836 => Error::Unavailable { endpoint, operation, detail, source },
                _ => Error::Refused { endpoint, operation, detail, source },
            }
        }
        ClientError::Io(IoError::Tls(_)) => {
            let detail = chain(&error);
            Error::Tls { endpoint, detail, source: Arc::new(error) }
        }
        ClientError::Driver(mysql_async::DriverError::NoClientSslFlagFromServer) => {
            let detail = "the server does not offer TLS".to_owned();
            Error::Tls { endpoint, detail, source: Arc::new(error) }
        }
        ClientError::Driver(mysql_async::DriverError::ConnectionClosed) => asked.broken(error),
        ClientError::Io(IoError::Io(inner)) if inner.kind() == std::io::ErrorKind::ConnectionReset => {
            asked.broken(error)
        }
        ClientError::Io(_) | ClientError::Driver(_) | ClientError::Other(_) | ClientError::Url(_) => {
            asked.not_connected(error)
        }
    }
}

/// Whether somebody else made the same at the same moment: a second look tells who.
pub(crate) fn is_race(error: &Error) -> bool {
    // The database is there, or the user.
    matches!(code(error), Some(1007 | 1396))
}

/// The server's number of a refusal.
pub(crate) fn code(error: &Error) -> Option<u16> {
    let (Error::Refused { source, .. }
    | Error::Unauthenticated { source, .. }
    | Error::PermissionDenied { source, .. }) = error
    else {
        return None;
    };
    match source.downcast_ref::<ClientError>() {
        Some(ClientError::Server(answer)) => Some(answer.code),
        Some(_) | None => None,
    }
}
