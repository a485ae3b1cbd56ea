//! Why a datastore could not do what it was asked.

use std::sync::Arc;
use std::time::Duration;

use crate::Driver;

/// The cause below an [`Error`], shared so that an open circuit can answer with the failure that opened it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A failed call. Each message is a sentence with the endpoint (or field) and the way out; none holds a secret, and
/// the same failure reads the same each time, so that a condition made of it does not change without a reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The DataStore says nothing that can be dialled.
    #[error("the DataStore's {field} cannot be used: {detail}")]
    InvalidConnection {
        /// Field of the DataStore.
        field: &'static str,
        /// What is wrong with it, and how it should look.
        detail: String,
    },
    /// TLS material that cannot be used, whatever the server says.
    #[error("the DataStore's {field} cannot be used: {detail}")]
    InvalidTls {
        /// Field of the DataStore.
        field: &'static str,
        /// What is wrong with it, and how it should look.
        detail: String,
    },
    /// A schema or user name that no tenant may have.
    #[error("the {field} {name:?} cannot be used: {reason}; choose another name")]
    InvalidName {
        /// `schema` or `user`.
        field: &'static str,
        /// The refused name.
        name: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// No connection could be made, or it broke.
    #[error(
        "the datastore at {endpoint} could not be reached to {operation}: {detail}; \
         check the DataStore's spec.endpoints, the server, and the network between"
    )]
    Unreachable {
        /// `host:port`; several, separated by commas, when each was tried.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The network's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// It took the connection and then said nothing, or not in time.
    #[error("the datastore at {endpoint} did not {operation} within {} s; check whether the server hangs", after.as_secs())]
    Timeout {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// How long it was given.
        after: Duration,
    },
    /// It answers, but has no quorum or is shutting down.
    #[error(
        "the datastore at {endpoint} cannot {operation} now: {detail}; check that it, or a majority of its members, runs"
    )]
    Unavailable {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The server's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// The two sides do not accept each other's certificates.
    #[error(
        "no TLS session with the datastore at {endpoint}: {detail}; \
         check the certificate authority and the client certificate in the DataStore's spec.tlsConfig"
    )]
    Tls {
        /// `host:port`.
        endpoint: String,
        /// What the TLS library said.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// The server does not know who we are.
    #[error(
        "the datastore at {endpoint} does not accept the DataStore's credentials to {operation}: {detail}; \
         check spec.basicAuth, or the common name of spec.tlsConfig.clientCertificate"
    )]
    Unauthenticated {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The server's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// The server knows us, and we may not.
    #[error(
        "the datastore at {endpoint} does not allow the DataStore's login to {operation}: {detail}; \
         give it the privileges of an administrator"
    )]
    PermissionDenied {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The server's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// The server's storage quota is used up: it takes no writes.
    #[error(
        "the datastore at {endpoint} has no space left to {operation}: {detail}; \
         free or add space (etcd: compact and defragment it, or raise its quota, then disarm the alarm)"
    )]
    NoSpace {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The server's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
    /// The caller did not say what this driver needs of a tenant.
    #[error(
        "the {what} of the tenant with the schema {schema:?} is not known, which the driver {driver} needs; {way_out}"
    )]
    Incomplete {
        /// The driver that needs it.
        driver: Driver,
        /// Which schema the tenant has.
        schema: String,
        /// What is missing.
        what: &'static str,
        /// Where it belongs.
        way_out: &'static str,
    },
    /// The server is older than what this driver works with.
    #[error("the datastore at {endpoint} runs {product} {version}, which is too old; upgrade it to {wanted} or later")]
    TooOld {
        /// `host:port`.
        endpoint: String,
        /// Name of the server.
        product: &'static str,
        /// Its version.
        version: String,
        /// The oldest version that will do.
        wanted: &'static str,
    },
    /// What was asked would take something that belongs to somebody else.
    #[error("{detail}")]
    Conflict {
        /// A sentence with both parties and the way out.
        detail: String,
    },
    /// The server refused for a reason of its own.
    #[error("the datastore at {endpoint} refused to {operation}: {detail}")]
    Refused {
        /// `host:port`.
        endpoint: String,
        /// What was asked of it, as a verb phrase.
        operation: String,
        /// The server's own words.
        detail: String,
        /// The error below.
        #[source]
        source: Cause,
    },
}

impl Error {
    /// A short name of the kind of failure, for a condition's reason, a metric's label or a retry class.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::InvalidConnection { .. } => "invalid_connection",
            Self::InvalidTls { .. } | Self::Tls { .. } => "tls",
            Self::InvalidName { .. } => "invalid_name",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::NoSpace { .. } => "no_space",
            Self::Incomplete { .. } => "incomplete",
            Self::TooOld { .. } => "too_old",
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether the server itself is away (or its certificates are not accepted), so that other calls would fail alike.
    /// These failures open the store's circuit.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Unavailable { .. } | Self::Tls { .. } => true,
            Self::InvalidConnection { .. }
            | Self::InvalidTls { .. }
            | Self::InvalidName { .. }
            | Self::Unauthenticated { .. }
            | Self::PermissionDenied { .. }
            | Self::NoSpace { .. }
            | Self::Incomplete { .. }
            | Self::TooOld { .. }
            | Self::Conflict { .. }
            | Self::Refused { .. } => false,
        }
    }
}
