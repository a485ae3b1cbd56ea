//! One connection to one endpoint.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint as TonicEndpoint, Identity};

use super::failure::{Asked, Failure};
use crate::connection::{Connection, Endpoint, Secret, Tls};
use crate::{BasicAuth, Error};

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

fn invalid(field: &'static str, detail: impl Into<String>) -> Error {
    Error::InvalidTls { field, detail: detail.into() }
}

impl TlsSetup {
    fn new(tls: &Tls) -> Result<Self, Error> {
        const CA: &str = "spec.tlsConfig.certificateAuthority.certificate";
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(CA, &tls.ca)? {
            roots.add(certificate).map_err(|error| invalid(CA, format!("it is no certificate ({error})")))?;
        }
        let session = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("spec.tlsConfig", error.to_string()))?
            .with_root_certificates(roots);
        let channel = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
        let (mut session, channel) = match &tls.client {
            None => (session.with_no_client_auth(), channel),
            Some((certificate, key)) => {
                let pair = Arc::new(pair(certificate, key, &provider)?);
                let resolver = Arc::new(SingleCertAndKey::from(pair));
                let identity = Identity::from_pem(certificate, key);
                (session.with_client_cert_resolver(resolver), channel.identity(identity))
            }
        };
        session.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { channel, session: Arc::new(session) })
    }
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(field, format!("it is not valid PEM ({error}); give CERTIFICATE blocks")))?;
    if certificates.is_empty() {
        return Err(invalid(field, "it holds no CERTIFICATE block; give at least one certificate in PEM"));
    }
    Ok(certificates)
}

fn pair(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    const CERTIFICATE: &str = "spec.tlsConfig.clientCertificate.certificate";
    const KEY: &str = "spec.tlsConfig.clientCertificate.privateKey";
    let chain = certificates(CERTIFICATE, certificate)?;
    // The library's words about a key are not repeated: they could quote it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| invalid(KEY, "it holds no private key in PEM; give a PKCS#8, PKCS#1 or SEC1 block"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid(KEY, "it does not belong to spec.tlsConfig.clientCertificate.certificate; give the two of one pair")
        }
        rustls::Error::InvalidCertificate(error) => {
            invalid(CERTIFICATE, format!("it is no certificate ({error}); give CERTIFICATE blocks"))
        }
        _ => invalid(KEY, "its kind is not supported; give an RSA, ECDSA or Ed25519 key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Driver;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["etcd".into()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    fn dialer(ca: Vec<u8>, client: Option<(Vec<u8>, Vec<u8>)>) -> Result<Dialer, Error> {
        Dialer::new(&Connection {
            driver: Driver::Etcd,
            endpoints: vec!["etcd:2379".into()],
            tls: Some(Tls { ca, client }),
            basic_auth: None,
        })
    }

    #[test]
    fn takes_a_matching_pair() {
        let (ca, _) = pair();
        dialer(ca.clone(), Some(pair())).unwrap();
        dialer([ca.clone(), ca.clone()].concat(), None).unwrap();
    }

    #[test]
    fn refuses_unusable_pem_and_names_the_field() {
        let (ca, key) = pair();
        let (certificate, own_key) = pair();
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        for (ca, client, field) in [
            (Vec::new(), None, "certificateAuthority.certificate"),
            (b"not pem".to_vec(), None, "certificateAuthority.certificate"),
            (key.clone(), None, "certificateAuthority.certificate"),
            (garbage.clone(), None, "certificateAuthority.certificate"),
            (ca.clone(), Some((b"x".to_vec(), own_key.clone())), "clientCertificate.certificate"),
            (ca.clone(), Some((garbage, own_key.clone())), "clientCertificate.certificate"),
            (ca.clone(), Some((certificate.clone(), b"x".to_vec())), "clientCertificate.privateKey"),
            (ca.clone(), Some((certificate.clone(), certificate.clone())), "clientCertificate.privateKey"),
            (ca.clone(), Some((certificate.clone(), key.clone())), "clientCertificate.privateKey"),
        ] {
            let error = dialer(ca, client).unwrap_err();
            assert_eq!(error.category(), "tls");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
