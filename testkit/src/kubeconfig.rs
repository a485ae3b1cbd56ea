//! kubeconfig files and clients for a server that tests started.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::Client;
use kube::config::AuthInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::certificate::Identity;

/// Why there is no kubeconfig or client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("the kubeconfig {} could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Address and certificates do not make up a client.
    #[error("no Kubernetes client can be made for {url}")]
    Client {
        /// URL of the server.
        url: String,
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Client { .. } => "client",
        }
    }
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct Access {
    /// IP address or DNS name, which the server's certificate carries.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Certificate authority of the server, PEM.
    pub authority: String,
}

impl Access {
    /// URL of the server.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    /// A client that logs in with this certificate. Belongs to the async runtime that calls.
    pub fn client(&self, identity: &Identity) -> Result<Client, Error> {
        let make = || -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
            let mut config = kube::Config::new(self.url().parse()?);
            config.root_cert = Some(vec![CertificateDer::from_pem_slice(self.authority.as_bytes())?.as_ref().to_vec()]);
            config.auth_info = AuthInfo {
                client_certificate_data: Some(BASE64.encode(&identity.certificate)),
                client_key_data: Some(BASE64.encode(&identity.key).into()),
                ..AuthInfo::default()
            };
            Ok(Client::try_from(config)?)
        };
        make().map_err(|source| Error::Client { url: self.url(), source })
    }

    /// Writes a kubeconfig with everything inline, as JSON, which is YAML.
    pub fn write_kubeconfig(&self, identity: &Identity, path: &Path) -> Result<(), Error> {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": {
                "server": self.url(),
                "certificate-authority-data": BASE64.encode(&self.authority),
            }}],
            "users": [{ "name": "test", "user": {
                "client-certificate-data": BASE64.encode(&identity.certificate),
                "client-key-data": BASE64.encode(&identity.key),
            }}],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        std::fs::write(path, kubeconfig.to_string()).map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}
