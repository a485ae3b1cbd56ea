//! The requests to JetStream that are needed: account, names, look, make, change, delete.

use std::sync::Arc;

use serde_json::{Value, json};

use super::dial::{Dialer, failed};
use super::wire::Answer;
use crate::Error;
use crate::sessions::{Lease, REQUEST_TIMEOUT};

/// What the server says of a refusal, by its number (`err_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such stream.
    NotFound,
    /// There is one of the name, with another configuration.
    Exists,
}

impl Refusal {
    const fn code(self) -> u64 {
        match self {
            Self::NotFound => 10_059,
            Self::Exists => 10_058,
        }
    }
}

/// What JetStream answers when it has no leader, or is starting.
const AWAY: [u64; 3] = [10_008, 10_009, 10_118];
/// What it answers when its account or the server has no room.
const FULL: [u64; 4] = [10_002, 10_023, 10_028, 10_047];

impl Lease<'_, Dialer> {
    /// One request; this refusal is an outcome, `None`.
    pub async fn ask(
        &mut self,
        operation: &str,
        subject: &str,
        request: &Value,
        outcome: Option<Refusal>,
    ) -> Result<Option<Value>, Error> {
        let mut session = self.take(operation)?;
        let payload = if request.is_null() { String::new() } else { request.to_string() };
        let subject = format!("$JS.API.{subject}");
        let answered = tokio::time::timeout(REQUEST_TIMEOUT, session.wire.request(&subject, &payload)).await;
        let asked = self.asked(operation);
        let refused = |detail: String| {
            let (endpoint, operation) = asked.both();
            let source = Arc::new(std::io::Error::other(detail.clone()));
            (endpoint, operation, detail, source)
        };
        let result = match answered {
            // The next answer on this connection might be that of this request: it is dropped with it.
            Err(_elapsed) => return Err(asked.timed_out(REQUEST_TIMEOUT)),
            Ok(Err(failure)) => return Err(failed(asked, failure)),
            Ok(Ok(Answer::NoResponders)) => {
                let detail = "JetStream is not enabled there, or not for this account".to_owned();
                let (endpoint, operation, detail, source) = refused(detail);
                Err(Error::Refused { endpoint, operation, detail, source })
            }
            Ok(Ok(Answer::Message(bytes))) => {
                let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let error = answer.get("error");
                let code = error.and_then(|error| error.get("err_code")).and_then(Value::as_u64).unwrap_or_default();
                let detail = error.and_then(|error| error.get("description")).and_then(Value::as_str);
                let detail = detail.unwrap_or("it answered with what cannot be read").to_owned();
                let (endpoint, operation, detail, source) = refused(detail);
                if error.is_none() && answer.is_object() {
                    Ok(Some(answer))
                } else if outcome.is_some_and(|outcome| outcome.code() == code) {
                    Ok(None)
                } else if AWAY.contains(&code) {
                    Err(Error::Unavailable { endpoint, operation, detail, source })
                } else if FULL.contains(&code) {
                    Err(Error::NoSpace { endpoint, operation, detail, source })
                } else {
                    Err(Error::Refused { endpoint, operation, detail, source })
                }
            }
        };
        self.put(session);
        result
    }

    /// The account's use and limits of JetStream.
    pub async fn account(&mut self, operation: &str) -> Result<Value, Error> {
        Ok(self.ask(operation, "INFO", &Value::Null, None).await?.unwrap_or_default())
    }

    /// Configuration and state of a stream, if it is there.
    pub async fn stream(&mut self, operation: &str, name: &str) -> Result<Option<Value>, Error> {
        self.ask(operation, &format!("STREAM.INFO.{name}"), &Value::Null, Some(Refusal::NotFound)).await
    }

    /// Makes a stream; `None` when there is another of its name. One that is there just so is fine.
    pub async fn create(&mut self, operation: &str, name: &str, config: &Value) -> Result<Option<Value>, Error> {
        self.ask(operation, &format!("STREAM.CREATE.{name}"), config, Some(Refusal::Exists)).await
    }

    /// Changes the configuration of a stream that is there.
    pub async fn update(&mut self, operation: &str, name: &str, config: &Value) -> Result<(), Error> {
        self.ask(operation, &format!("STREAM.UPDATE.{name}"), config, None).await.map(drop)
    }

    /// Deletes a stream with all that it holds; one that is gone is not missed.
    pub async fn delete(&mut self, operation: &str, name: &str) -> Result<(), Error> {
        self.ask(operation, &format!("STREAM.DELETE.{name}"), &Value::Null, Some(Refusal::NotFound)).await.map(drop)
    }

    /// Names of all streams on subjects of buckets.
    pub async fn bucket_streams(&mut self, operation: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        loop {
            let request = json!({ "subject": "$KV.>", "offset": names.len() });
            let page = self.ask(operation, "STREAM.NAMES", &request, None).await?.unwrap_or_default();
            let total = page.get("total").and_then(Value::as_u64).unwrap_or_default();
            let streams = page.get("streams").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            names.extend(streams.iter().filter_map(Value::as_str).map(str::to_owned));
            if streams.is_empty() || names.len() as u64 >= total {
                return Ok(names);
            }
        }
    }
}
