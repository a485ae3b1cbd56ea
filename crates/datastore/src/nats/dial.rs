//! One connection to one NATS server.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::{self, Failure, Socket, Wire};
use crate::asked::Asked;
use crate::connection::{Connection, Endpoint, Secret};
use crate::sessions::Dial;
use crate::{Error, tls};

/// The oldest release whose consumers kine can make.
const OLDEST: ((u16, u16), &str) = ((2, 9), "2.9");

/// Everything but the endpoint, checked.
pub(crate) struct Dialer {
    tls: Option<TlsConnector>,
    login: Option<(String, Secret)>,
}

/// A connection that is logged in.
pub(crate) struct Session {
    pub wire: Wire,
    pub version: String,
}

impl Dialer {
    /// Checks the TLS material.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let tls = connection.tls.as_ref().map(tls::session).transpose()?;
        let login = connection.basic_auth.as_ref().map(|login| (login.username.clone(), login.password.clone()));
        Ok(Self { tls: tls.map(|session| TlsConnector::from(Arc::new(session))), login })
    }

    /// Encrypts the connection, if both sides want it.
    async fn secure(
        &self,
        socket: TcpStream,
        endpoint: &Endpoint,
        greeting: &Value,
        asked: Asked<'_>,
    ) -> Result<Box<dyn Socket>, Error> {
        let says = |key: &str| greeting.get(key).and_then(Value::as_bool).unwrap_or_default();
        let refused = |detail: &str| {
            let source = Arc::new(std::io::Error::from(std::io::ErrorKind::Unsupported));
            Err(Error::Tls { endpoint: asked.endpoint.to_owned(), detail: detail.to_owned(), source })
        };
        let Some(connector) = &self.tls else {
            return if says("tls_required") { refused("the server wants TLS") } else { Ok(Box::new(socket)) };
        };
        if !says("tls_required") && !says("tls_available") {
            return refused("the server does not offer TLS");
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| asked.not_connected(error))?;
        let secured = connector.connect(name, socket).await.map_err(|error| asked.not_connected(error))?;
        Ok(Box::new(secured))
    }
}

/// Classifies a failure of the protocol.
pub(crate) fn failed(asked: Asked<'_>, failure: Failure) -> Error {
    let (endpoint, operation) = asked.both();
    match failure {
        Failure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => asked.not_connected(error),
        Failure::Io(error) => asked.broken(error),
        Failure::Refused(detail) => {
            let words = detail.to_ascii_lowercase();
            let source = Arc::new(Failure::Refused(detail.clone()));
            if words.starts_with("permissions violation") {
                Error::PermissionDenied { endpoint, operation, detail, source }
            } else if words.contains("authorization") || words.contains("authentication") {
                Error::Unauthenticated { endpoint, operation, detail, source }
            } else {
                // Too many connections, a slow consumer, a stale connection, shutting down.
                Error::Unavailable { endpoint, operation, detail, source }
            }
        }
    }
}

impl Dial for Dialer {
    type Session = Session;

    async fn dial(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Session, Error> {
        let mut socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|error| asked.not_connected(error))?;
        let greeting = wire::greeting(&mut socket).await.map_err(|error| failed(asked, error.into()))?;
        let version = greeting.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut numbers = version.split('.').map(str::parse::<u16>);
        let known = numbers.next().and_then(Result::ok).zip(numbers.next().and_then(Result::ok));
        if known.is_none_or(|known| known < OLDEST.0) {
            let (endpoint, _) = asked.both();
            return Err(Error::TooOld { endpoint, product: "NATS", version, wanted: OLDEST.1 });
        }
        let socket = self.secure(socket, endpoint, &greeting, asked).await?;
        let mut options = json!({
            "verbose": false,
            "pedantic": false,
            "tls_required": self.tls.is_some(),
            "name": "kamaji",
            "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "headers": true,
            "no_responders": true,
        });
        if let Some((name, password)) = &self.login
            && let Some(options) = options.as_object_mut()
        {
            options.insert("user".into(), name.as_str().into());
            options.insert("pass".into(), password.expose().into());
        }
        let wire = Wire::log_in(socket, &options).await.map_err(|failure| failed(asked, failure))?;
        Ok(Session { wire, version })
    }

    async fn answers(&self, session: &mut Session) -> bool {
        session.wire.ping().await.is_ok()
    }
}
