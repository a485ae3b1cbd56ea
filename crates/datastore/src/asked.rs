//! What was asked of which endpoint, and what it means that no answer came.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::error::Cause;

/// Where and for what an attempt was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// `host:port`.
    pub endpoint: &'a str,
    /// A verb phrase.
    pub operation: &'a str,
}

impl Asked<'_> {
    /// Both, owned, as the variants of [`Error`] hold them.
    pub fn both(&self) -> (String, String) {
        (self.endpoint.to_owned(), self.operation.to_owned())
    }

    /// The attempt was given up after this time.
    pub fn timed_out(&self, after: Duration) -> Error {
        let (endpoint, operation) = self.both();
        Error::Timeout { endpoint, operation, after }
    }

    /// Dialling failed: name, network or TLS.
    pub fn not_connected(&self, source: impl StdError + Send + Sync + 'static) -> Error {
        let source: Cause = Arc::new(source);
        self.transport(chain(source.as_ref()), source)
    }

    /// A connection that was there broke. Which of reset, broken pipe or end of file it is depends on who was faster:
    /// one sentence for all, so that a condition made of it stays the same. The source has the difference.
    pub fn broken(&self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.transport("the connection was closed before an answer came".to_owned(), Arc::new(source))
    }

    /// As [`Self::not_connected`], with other words.
    pub fn transport(&self, detail: String, source: Cause) -> Error {
        let (endpoint, operation) = self.both();
        if is_tls(source.as_ref()) {
            Error::Tls { endpoint, detail: chain(source.as_ref()), source }
        } else {
            Error::Unreachable { endpoint, operation, detail, source }
        }
    }
}

/// The whole chain of causes in one line, without repeating what a cause already said.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let own = error
            .downcast_ref::<tonic::Status>()
            .map_or_else(|| error.to_string(), |status| status.message().to_owned());
        if !own.is_empty() && !text.contains(&own) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&own);
        }
        next = error.source();
    }
    text
}

/// Whether the TLS library is among the causes.
pub(crate) fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if inner.is_some() || error.is::<rustls::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The one failure to report of several: a certificate that is refused, or a server that hangs, says more than one
/// that is merely away. Names every endpoint when they failed alike.
pub(crate) fn worst(failures: Vec<Error>, operation: &str) -> Error {
    const fn weight(error: &Error) -> u8 {
        match error {
            Error::Tls { .. } => 3,
            Error::Unavailable { .. } => 2,
            Error::Timeout { .. } => 1,
            _ => 0,
        }
    }
    let all: Vec<String> = failures
        .iter()
        .filter_map(|error| match error {
            Error::Unreachable { endpoint, .. } => Some(endpoint.clone()),
            _ => None,
        })
        .collect();
    let alike = all.len() == failures.len();
    // The first of the heaviest, in the order of the configuration: the sentence stays the same from call to call.
    let chosen = failures.into_iter().rev().max_by_key(weight);
    match chosen {
        Some(Error::Unreachable { operation, detail, source, .. }) if alike => {
            let mut endpoints = all;
            endpoints.sort();
            Error::Unreachable { endpoint: endpoints.join(", "), operation, detail, source }
        }
        Some(error) => error,
        // Never: there is at least one endpoint, and each that did not answer left its error.
        None => Asked { endpoint: "none", operation }.timed_out(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked { endpoint: "db-0:5432", operation: "say its version" };

    #[test]
    fn the_tls_library_is_found_below_io_errors() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(ASKED.not_connected(refused).category(), "unreachable");
        let tls = std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired),
        );
        assert_eq!(ASKED.not_connected(tls).category(), "tls");
    }

    #[test]
    fn a_broken_connection_reads_the_same_however_it_broke() {
        let kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
        let [reset, pipe] = kinds.map(|kind| ASKED.broken(std::io::Error::from(kind)).to_string());
        assert_eq!(reset, pipe);
    }
}
