//! The client of the management cluster, and the one TLS provider of the process.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// A connection to the API server that is not up after this long is tried anew.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is silent for this long while an answer is due is given up: its other end may be gone without a
/// word. Longer than any watch, which the API server ends before ([`kamaji_apply::store::WATCH_SECONDS`]).
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Another TLS provider was installed before.
    #[error("another TLS provider is installed already: this process must use aws-lc-rs alone")]
    TlsProvider,
    /// The named kubeconfig is unusable.
    #[error("--kubeconfig={path} cannot be used: name a readable kubeconfig")]
    Kubeconfig {
        /// As given.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Neither the Pod nor the environment says where the API server is.
    #[error(
        "no Kubernetes API server is known: run in a Pod with a ServiceAccount, set KUBECONFIG, or pass --kubeconfig"
    )]
    Unknown(#[source] Box<kube::config::InferConfigError>),
    /// The configuration does not make a client.
    #[error("the Kubernetes client cannot be built from its configuration")]
    Build(#[source] Box<kube::Error>),
}

impl ClientError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::TlsProvider => "tls_provider",
            Self::Kubeconfig { .. } => "kubeconfig",
            Self::Unknown(_) => "no_configuration",
            Self::Build(_) => "client",
        }
    }
}

/// Makes aws-lc-rs the TLS provider of every library in the process.
///
/// # Errors
/// When another one got there first.
pub fn install_tls_provider() -> Result<(), ClientError> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| ClientError::TlsProvider)
}

/// A client from the first source that there is: the named kubeconfig, `$KUBECONFIG`, the Pod's ServiceAccount,
/// `~/.kube/config`. No request is made.
///
/// # Errors
/// When a named source is unusable or there is none.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path)
            .await
            .map_err(|source| ClientError::Kubeconfig { path: path.display().to_string(), source: Box::new(source) })?,
        // A Pod's ServiceAccount comes before the home directory, as with Go clients.
        None if std::env::var_os("KUBECONFIG").is_none_or(|value| value.is_empty()) => match Config::incluster() {
            Ok(config) => config,
            Err(_) => inferred().await?,
        },
        None => inferred().await?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config).map_err(|source| ClientError::Build(Box::new(source)))
}

async fn from_file(path: &Path) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await
}

async fn inferred() -> Result<Config, ClientError> {
    Config::infer().await.map_err(|source| ClientError::Unknown(Box::new(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_the_kubeconfig_that_cannot_be_read() {
        let Err(error) = connect(Some(Path::new("/nowhere/admin.conf"))).await else { panic!("connected to nowhere") };
        assert!(error.to_string().contains("--kubeconfig=/nowhere/admin.conf"), "{error}");
    }
}
