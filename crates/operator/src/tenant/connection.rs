//! One HTTP/2 connection to a tenant's API server, and requests over it.
//!
//! kube's own client speaks HTTP/1, where each watch takes a connection of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, Uri, Version, header, uri::Authority};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::{client::Body, core::Status};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{credentials::Credentials, error::Error};

/// An answer begins within this time, or the request has failed (docs/reference/compatibility.md, "Kubeconfigs").
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

const DIAL: Duration = Duration::from_secs(5);

// Finds a peer that went away without a word.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(10);

// Bounds what may wait unread. That of the connection is larger than those of all watches together: what waits there
// must never hold up the answer to a write.
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

// Error answers are read up to here.
const STATUS_LIMIT: usize = 64 * 1024;

const USER_AGENT: &str = concat!("kamaji/", env!("CARGO_PKG_VERSION"));

/// Where a tenant's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port that are dialled; no name has to be looked up.
    pub address: SocketAddr,
    /// Name that the server's certificate must have.
    pub server_name: String,
}

/// An open connection. Clones use the same one; it is closed when the last clone and the last watch are gone.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    authority: Authority,
    address: SocketAddr,
}

impl Connection {
    /// Dials, authenticates both sides, and agrees on HTTP/2.
    ///
    /// # Errors
    /// When one of that fails.
    pub(super) async fn open(endpoint: &Endpoint, credentials: &Credentials) -> Result<Self, Error> {
        let address = endpoint.address;
        let config = credentials.tls_config()?;
        let stream = timeout(DIAL, TcpStream::connect(address))
            .await
            .map_err(|_| Error::TimedOut { address, after: DIAL })?
            .map_err(|source| Error::Dial { address, source })?;
        stream.set_nodelay(true).map_err(|source| Error::Dial { address, source })?;
        let stream = timeout(DEADLINE, encrypt(stream, config, endpoint))
            .await
            .map_err(|_| Error::TimedOut { address, after: DEADLINE })??;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Error::NoHttp2 { address });
        }
        let lost = |source| Error::Lost { address, source };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // A table of headers would save a few bytes per answer, and there are few answers.
            .header_table_size(0)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_DEADLINE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        // Its errors reach whoever waits for an answer.
        tokio::spawn(async move { connection.await.ok() });
        let named = format!("{}:{}", endpoint.server_name, address.port());
        let authority = Authority::try_from(named).map_err(|_| not_a_name(endpoint))?;
        Ok(Self { sender, authority, address })
    }

    /// A client for the write door.
    pub(super) fn client(&self) -> kube::Client {
        let connection = self.clone();
        let service = tower::service_fn(move |request| {
            let connection = connection.clone();
            async move { connection.send(request).await }
        });
        kube::Client::new(service, "default")
    }

    /// Reads a whole answer of at most `limit` bytes. `verb` says what is asked, for messages.
    ///
    /// # Errors
    /// When there is no answer, or not a good one.
    pub(super) async fn read(&self, request: Request<Vec<u8>>, verb: &str, limit: usize) -> Result<Bytes, Error> {
        let body = self.stream(request, verb).await?;
        self.collect(body, verb, limit).await
    }

    /// Begins to read an answer that goes on, as a watch does.
    ///
    /// # Errors
    /// When there is no answer, or not a good one.
    pub(super) async fn stream(&self, request: Request<Vec<u8>>, verb: &str) -> Result<Incoming, Error> {
        let response = self.send(request.map(Body::from)).await?;
        let code = response.status();
        let body = response.into_body();
        if code.is_success() {
            return Ok(body);
        }
        let body = self.collect(body, verb, STATUS_LIMIT).await?;
        let status = serde_json::from_slice::<Status>(&body).ok();
        let message = status.map(|status| status.message).filter(|message| !message.is_empty());
        let message = message.unwrap_or_else(|| format!("HTTP {code}"));
        Err(Error::Refused { verb: verb.to_owned(), code: code.as_u16(), message })
    }

    /// The error of a body that ended with `source`.
    pub(super) fn lost(&self, source: hyper::Error) -> Error {
        Error::Lost { address: self.address, source }
    }

    async fn collect(&self, body: Incoming, verb: &str, limit: usize) -> Result<Bytes, Error> {
        let collected = timeout(DEADLINE, Limited::new(body, limit).collect()).await;
        let collected = collected.map_err(|_| Error::TimedOut { address: self.address, after: DEADLINE })?;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(source) => self.lost(*source),
            Err(other) => Error::Unreadable { verb: verb.to_owned(), detail: other.to_string() },
        })
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        // A path that was parsed before, and an authority, make a URI.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
        let answer = timeout(DEADLINE, self.sender.clone().send_request(request)).await;
        let answer = answer.map_err(|_| Error::TimedOut { address: self.address, after: DEADLINE })?;
        answer.map_err(|source| self.lost(source))
    }
}

async fn encrypt(stream: TcpStream, config: ClientConfig, endpoint: &Endpoint) -> Result<TlsStream<TcpStream>, Error> {
    let name = ServerName::try_from(endpoint.server_name.clone()).map_err(|_| not_a_name(endpoint))?;
    let address = endpoint.address;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|source| {
        // Everything else is the network's.
        if matches!(source.get_ref(), Some(inner) if inner.is::<rustls::Error>()) {
            Error::Tls { address, server_name: endpoint.server_name.clone(), source }
        } else {
            Error::Handshake { address, source }
        }
    })
}

fn not_a_name(endpoint: &Endpoint) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "this is not a DNS name");
    Error::Tls { address: endpoint.address, server_name: endpoint.server_name.clone(), source }
}
