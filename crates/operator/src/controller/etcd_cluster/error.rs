//! Why a pass ended early.

use kamaji_plan::etcd_cluster::names::EtcdSecret;

/// See the module. Waiting is none of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The management cluster refused a write, or was not reached.
    #[error(transparent)]
    Apply(#[from] kamaji_apply::Error),
    /// The management cluster refused a read, or was not reached.
    #[error("the {kind} could not be listed; the pass is repeated")]
    List {
        /// Plural kind.
        kind: &'static str,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A certificate could not be made.
    #[error("the certificates in the Secret {name} could not be made")]
    Certificate {
        /// The Secret's name.
        name: String,
        /// What failed.
        #[source]
        source: kamaji_pki::Error,
    },
    /// etcd, or the way to it.
    #[error(transparent)]
    Etcd(#[from] kamaji_datastore::Error),
}

impl Error {
    /// A failure to make the content of a Secret.
    pub fn certificate(cluster: &str, which: EtcdSecret) -> impl FnOnce(kamaji_pki::Error) -> Self {
        let name = which.name(cluster);
        move |source| Self::Certificate { name, source }
    }

    /// One word per kind of failure, for metrics and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.category(),
            Self::List { .. } => "unavailable",
            Self::Certificate { .. } => "certificate",
            Self::Etcd(error) => error.category(),
        }
    }
}
