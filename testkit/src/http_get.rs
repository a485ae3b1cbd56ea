//! One HTTP GET on its own TCP connection, with or without TLS: for readiness questions and probes.
//!
//! A client with a pool would hide exactly what a probe is to see: whether a new connection is accepted.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificate::{self, Identity, client_config};

/// Readiness answers are short; a peer that sends without end must not fill the memory.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection.
    #[error("{address} accepts no connection: {source}")]
    Connect {
        /// host:port
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No TLS session, or it broke.
    #[error("the connection to {address} broke: {source}")]
    Exchange {
        /// host:port
        address: String,
        /// What the system or rustls said.
        #[source]
        source: io::Error,
    },
    /// Something answered that is not HTTP.
    #[error("{address} answered something else than HTTP")]
    NotHttp {
        /// host:port
        address: String,
    },
    /// The name to check in the server's certificate is none.
    #[error("{name} is neither a DNS name nor an IP address")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Exchange { .. } => "exchange",
            Self::NotHttp { .. } => "not_http",
            Self::ServerName { .. } => "server_name",
            Self::Certificate(_) => "certificate",
        }
    }
}

/// Where to send a GET.
#[derive(Debug, Clone)]
pub struct Target {
    address: String,
    path: String,
    tls: Option<(ServerName<'static>, Arc<rustls::ClientConfig>)>,
}

impl Target {
    /// Plain HTTP to `host`:`port`; `path` starts with a slash.
    pub fn http(host: &str, port: u16, path: &str) -> Self {
        Self { address: host_port(host, port), path: path.to_owned(), tls: None }
    }

    /// HTTPS to `host`:`port`, trusting only `authority` (PEM), showing `identity` if there is one.
    ///
    /// The server's certificate must name `host`, or `server_name` when that is given.
    pub fn https(
        host: &str,
        port: u16,
        path: &str,
        authority: &str,
        identity: Option<&Identity>,
        server_name: Option<&str>,
    ) -> Result<Self, Error> {
        let name = server_name.unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::ServerName { name: name.to_owned() })?;
        Ok(Self {
            address: host_port(host, port),
            path: path.to_owned(),
            tls: Some((name, client_config(authority, identity)?)),
        })
    }

    /// host:port
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection, sends the GET, reads the answer; gives its status code. No timeout of its own.
    pub async fn get(&self) -> Result<u16, Error> {
        let connection = TcpStream::connect(&self.address)
            .await
            .map_err(|source| Error::Connect { address: self.address.clone(), source })?;
        match &self.tls {
            None => self.exchange(connection).await,
            Some((name, config)) => {
                let session = tokio_rustls::TlsConnector::from(Arc::clone(config))
                    .connect(name.clone(), connection)
                    .await
                    .map_err(|source| Error::Exchange { address: self.address.clone(), source })?;
                self.exchange(session).await
            }
        }
    }

    /// As [`Target::get`], as a probe of [`crate::process::Process::wait_ready`]: only 200 is ready.
    pub async fn ready(&self) -> Result<(), String> {
        match self.get().await {
            Ok(200) => Ok(()),
            Ok(status) => Err(format!("{} answered {status}", self.path)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn exchange<C: AsyncRead + AsyncWrite + Unpin>(&self, mut connection: C) -> Result<u16, Error> {
        let broken = |source| Error::Exchange { address: self.address.clone(), source };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kamaji-testkit\r\nConnection: close\r\n\r\n",
            self.path, self.address
        );
        connection.write_all(request.as_bytes()).await.map_err(broken)?;
        connection.flush().await.map_err(broken)?;
        let mut answer = Vec::new();
        match connection.take(ANSWER_LIMIT).read_to_end(&mut answer).await {
            // A peer that closes without TLS close_notify has still answered.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(broken(error)),
            Ok(_) | Err(_) => {}
        }
        status(&answer).ok_or_else(|| {
            if answer.is_empty() {
                broken(io::ErrorKind::UnexpectedEof.into())
            } else {
                Error::NotHttp { address: self.address.clone() }
            }
        })
    }
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Status code of `HTTP/1.1 200 OK`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_code() {
        assert_eq!(status(b"HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n"), Some(403));
        assert_eq!(status(b"HTTP/1.0 200\r\n"), Some(200));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(status(b""), None);
    }

    #[tokio::test]
    async fn tells_a_closed_port_from_a_silent_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::http("127.0.0.1", port, "/");
        let (answer, _) = tokio::join!(target.get(), async {
            let (mut connection, _) = listener.accept().await.unwrap();
            // Read first: closing with unread bytes would be a reset.
            let mut bytes = [0; 512];
            connection.read(&mut bytes).await.unwrap()
        });
        assert_eq!(answer.unwrap_err().category(), "exchange");
        drop(listener);
        assert_eq!(target.get().await.unwrap_err().category(), "connect");
    }
}
