//! One connection to one endpoint.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint as TonicEndpoint, Identity};

use super::failure::Failure;
use crate::asked::Asked;
use crate::connection::{Connection, Endpoint, Secret, Tls};
use crate::{BasicAuth, Error, tls};

/// For TCP, the TLS handshake and the login together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the alert is waited for, connecting included.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything but the endpoint, checked.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<TlsSetup>,
    login: Option<(String, Secret)>,
}

/// The same material in two forms.
#[derive(Clone)]
struct TlsSetup {
    channel: ClientTlsConfig,
    /// For [`Dialer::diagnose`].
    session: Arc<rustls::ClientConfig>,
}

/// A connection that was made.
#[derive(Clone)]
pub(crate) struct Connected {
    /// The etcd API on it.
    pub client: Client,
    /// The bare channel, for the call that the client lacks.
    pub channel: Channel,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Dialer {
    /// Checks the TLS material, so that a wrong PEM block is told from a server that is away.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let login =
            connection.basic_auth.as_ref().map(|BasicAuth { username, password }| (username.clone(), password.clone()));
        let tls = connection.tls.as_ref().map(TlsSetup::new).transpose()?;
        Ok(Self { tls, login })
    }

    /// Whether connections carry a token.
    pub fn logs_in(&self) -> bool {
        self.login.is_some()
    }

    /// Connects and logs in, within [`CONNECT_TIMEOUT`].
    pub async fn connect(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Connected, Failure> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.dial(endpoint, asked)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::Broken(asked.timed_out(CONNECT_TIMEOUT))),
        }
    }

    async fn dial(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Connected, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let broken = |error: tonic::transport::Error| Failure::Broken(asked.not_connected(error));
        let mut target = TonicEndpoint::from_shared(format!("{scheme}://{endpoint}"))
            .map_err(broken)?
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .tcp_nodelay(true);
        if let Some(tls) = &self.tls {
            target = target.tls_config(tls.channel.clone().domain_name(endpoint.host.clone())).map_err(broken)?;
        }
        let channel = target.connect().await.map_err(broken)?;
        let client = self.log_in(channel.clone(), asked).await?;
        Ok(Connected { client, channel })
    }

    /// Says more of a fresh connection that broke: a TLS failure instead, if that was the reason.
    ///
    /// With TLS 1.3 the client has finished its handshake before the server judges its certificate, so a refusal breaks
    /// the first request, and whether its alert is read before the socket is reset is a race. Here nothing is written
    /// after the handshake, so the alert arrives.
    pub async fn diagnose(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Option<Error> {
        let session = self.tls.as_ref()?.session.clone();
        let name = ServerName::try_from(endpoint.host.clone()).ok()?;
        let silence = async {
            let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
            let mut stream = tokio_rustls::TlsConnector::from(session).connect(name, socket).await?;
            stream.read_u8().await
        };
        let outcome = tokio::time::timeout(DIAGNOSIS_TIMEOUT, silence).await.ok()?;
        let error = asked.not_connected(outcome.err()?);
        matches!(error, Error::Tls { .. }).then_some(error)
    }

    async fn log_in(&self, channel: Channel, asked: Asked<'_>) -> Result<Client, Failure> {
        let raw = || etcd_client::Channel::Tonic(channel.clone());
        if let Some((name, password)) = &self.login {
            let options =
                ConnectOptions::new().with_user(name.as_str(), password.expose()).with_auto_token_refresh(true);
            match Client::from_channel(raw(), Some(options)).await {
                Ok(client) => return Ok(client),
                Err(error) => match asked.failed(error) {
                    // A server without authentication gives no token and wants none.
                    Failure::Answer(answer) if answer.kind == super::failure::Refusal::AuthNotEnabled => {}
                    failure => return Err(failure),
                },
            }
        }
        Client::from_channel(raw(), None).await.map_err(|error| asked.failed(error))
    }
}

impl TlsSetup {
    fn new(tls: &Tls) -> Result<Self, Error> {
        let mut session = tls::session(tls)?;
        session.alpn_protocols = vec![b"h2".to_vec()];
        let channel = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
        let channel = match &tls.client {
            None => channel,
            Some((certificate, key)) => channel.identity(Identity::from_pem(certificate, key)),
        };
        Ok(Self { channel, session: Arc::new(session) })
    }
}
