//! What can go wrong in a pass, and how it is told.

use kamaji_plan::{rejection::Rejection, status::conditions::Trouble};

/// A step that failed. It is tried again by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write to the management cluster.
    #[error("{what} could not be written: {source}")]
    Write {
        /// Kind and name.
        what: String,
        /// What the API server or the fence says.
        #[source]
        source: kamaji_apply::Error,
    },
    /// A read from the management cluster.
    #[error("{what} could not be read: {source}")]
    Read {
        /// Kind and name.
        what: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
    /// A key or a certificate.
    #[error("{what} could not be made: {source}")]
    Mint {
        /// Which Secret.
        what: String,
        /// Why.
        #[source]
        source: kamaji_pki::Error,
    },
    /// A call to a datastore.
    #[error("the DataStore {name} could not be used: {source}")]
    Store {
        /// Name of the DataStore.
        name: String,
        /// What the datastore says.
        #[source]
        source: kamaji_datastore::Error,
    },
    /// A deleted tenant's data could not be taken back.
    #[error("the tenant's keys cannot be erased from the DataStore {name}: {source}; {way_out}")]
    Erase {
        /// Name of the DataStore.
        name: String,
        /// What the datastore says.
        #[source]
        source: Box<kamaji_datastore::Error>,
        /// How the deletion can go on without.
        way_out: String,
    },
    /// A piece of work on another thread was cut.
    #[error("work was cut because the process ends")]
    Cut,
}

impl Error {
    /// A short, fixed word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Write { source, .. } => source.category(),
            Self::Read { .. } => "read",
            Self::Mint { .. } => "mint",
            Self::Store { .. } | Self::Erase { .. } => "datastore",
            Self::Cut => "cut",
        }
    }

    /// CamelCase word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Write { .. } => "WriteFailed",
            Self::Read { .. } => "ReadFailed",
            Self::Mint { .. } => "MintFailed",
            Self::Store { .. } | Self::Erase { .. } => "DataStoreFailed",
            Self::Cut => "Stopping",
        }
    }
}

/// Why a pass did not come to its end.
#[derive(Debug)]
pub enum Halt {
    /// Something has yet to happen elsewhere. `poll` tells whether nothing will wake us when it did.
    Waiting {
        /// What for.
        trouble: Trouble,
        /// Whether to look again by ourselves.
        poll: bool,
    },
    /// The specification cannot work.
    Rejected(Rejection),
    /// A step failed.
    Failed(Error),
}

impl Halt {
    /// Waits for something that a watch reports.
    pub fn watch(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waiting { trouble: Trouble::new(reason, message), poll: false }
    }

    /// Waits for something that no watch reports.
    pub fn poll(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waiting { trouble: Trouble::new(reason, message), poll: true }
    }
}

impl From<Error> for Halt {
    /// That somebody else wrote at the same time is no failure.
    fn from(error: Error) -> Self {
        match &error {
            Error::Write { source, .. } if source.category() == "conflict" => {
                Self::poll("Synchronizing", error.to_string())
            }
            Error::Write { .. }
            | Error::Read { .. }
            | Error::Mint { .. }
            | Error::Store { .. }
            | Error::Erase { .. }
            | Error::Cut => Self::Failed(error),
        }
    }
}

impl From<Rejection> for Halt {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
