//! Why a tenant's API cannot be used.

use std::{net::SocketAddr, time::Duration};

use kamaji_pki::kubeconfig;

/// Why a tenant's API cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig is not where it should be.
    #[error(
        "the Secret {secret} has no key {key}; correct the annotation kamaji.clastix.io/kubeconfig-secret-key of the \
         TenantControlPlane, or wait until the Secret is written"
    )]
    NoKubeconfig {
        /// Name of the Secret.
        secret: String,
        /// Key that was looked for.
        key: String,
    },
    /// The kubeconfig cannot be read.
    #[error("the key {key} of the Secret {secret} cannot be used: {source}")]
    Kubeconfig {
        /// Name of the Secret.
        secret: String,
        /// Key in its data.
        key: String,
        /// What is wrong.
        #[source]
        source: kubeconfig::Error,
    },
    /// A certificate or key is not usable.
    #[error("{what} of the Secret {secret} cannot be used: {detail}")]
    Credentials {
        /// Which part.
        what: &'static str,
        /// Name of the Secret.
        secret: String,
        /// What the TLS library says; never key material.
        detail: String,
    },
    /// Nobody answers.
    #[error("nothing answers at {address}: {source}")]
    Dial {
        /// Address that was dialled.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The peer is not the tenant's API server, or does not accept the operator's certificate.
    #[error("the server at {address} does not prove to be {server_name}: {source}")]
    Tls {
        /// Address that was dialled.
        address: SocketAddr,
        /// Name that its certificate must have.
        server_name: String,
        /// What the TLS library says.
        #[source]
        source: std::io::Error,
    },
    /// The peer went away while the connection was made.
    #[error("the server at {address} broke off before the connection was made: {source}")]
    Handshake {
        /// Address that was dialled.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The peer speaks HTTP/1 only.
    #[error("the server at {address} does not speak HTTP/2; remove what terminates TLS in front of the API server")]
    NoHttp2 {
        /// Address that was dialled.
        address: SocketAddr,
    },
    /// The connection ended.
    #[error("the connection to {address} broke: {source}")]
    Lost {
        /// Address that was dialled.
        address: SocketAddr,
        /// What the HTTP library says.
        #[source]
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("the server at {address} did not answer within {} seconds", after.as_secs())]
    TimedOut {
        /// Address that was dialled.
        address: SocketAddr,
        /// How long it was waited.
        after: Duration,
    },
    /// The API server refused a request.
    #[error("the API server refused to {verb}: {message}")]
    Refused {
        /// What was asked, as a verb and a kind.
        verb: String,
        /// HTTP code.
        code: u16,
        /// The API server's sentence.
        message: String,
    },
    /// An answer is not what the Kubernetes API promises, or larger than it may be.
    #[error("the answer to \"{verb}\" cannot be read: {detail}")]
    Unreadable {
        /// What was asked, as a verb and a kind.
        verb: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// A short, fixed word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NoKubeconfig { .. } | Self::Kubeconfig { .. } | Self::Credentials { .. } => "credentials",
            Self::Dial { .. } | Self::Handshake { .. } => "dial",
            Self::Tls { .. } => "tls",
            Self::NoHttp2 { .. } => "protocol",
            Self::Lost { .. } => "lost",
            Self::TimedOut { .. } => "timeout",
            Self::Refused { .. } => "refused",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// CamelCase word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoKubeconfig { .. } | Self::Kubeconfig { .. } | Self::Credentials { .. } => "TenantCredentials",
            Self::Tls { .. } => "TenantNotTrusted",
            Self::Refused { code: 401 | 403, .. } => "TenantAccessDenied",
            Self::Dial { .. }
            | Self::Handshake { .. }
            | Self::NoHttp2 { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. } => "TenantUnreachable",
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_the_connection(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Unreadable { .. })
    }
}
