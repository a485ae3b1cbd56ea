//! What the operator asks of a datastore, whatever its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, Owner, Tenant};

/// A datastore that holds tenants. Every method is idempotent, is safe to drop at any await, checks the tenant's names
/// first, and ends within seconds: when the server is away, calls fail at once with the last error until
/// [`Store::retry_after`] has passed.
///
/// A deletion asks in this order: [`Store::revoke`], [`Store::erase`], [`Store::recount`] until it is empty.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The same store and connections, for calls on behalf of this owner: the UID of the tenant's object. It is recorded
    /// beside what is made, and names that another owner's record is on are refused. Every call that names one tenant
    /// needs it; only etcd, without one, neither heeds nor writes records.
    fn for_owner(&self, owner: &str) -> Arc<dyn Store> {
        self.on_behalf_of(&Owner::new(owner))
    }

    /// As [`Store::for_owner`], with all that is known of the owner.
    fn on_behalf_of(&self, owner: &Owner) -> Arc<dyn Store>;

    /// The same store, for a tenant that is known to have been set up here before: what carries no record, and is just as
    /// the Go operator makes it, is taken for the tenant's own. For all others such a thing is somebody else's.
    fn taking_over(&self) -> Arc<dyn Store>;

    /// Makes the tenant's place and login, or repairs what is half-made. Says what it changed; nothing, when all was
    /// there. The password is compared by logging in with it, and changed only when the server refuses it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a name belongs to somebody else; nothing of theirs is touched.
    /// [`Error::Incomplete`] when a driver with passwords is given none.
    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Changed, Error>;

    /// Whether [`Store::ensure_tenant`] would find nothing to do. Reads only. A password that is not given is not looked
    /// at.
    async fn is_set_up(&self, tenant: &Tenant) -> Result<bool, Error>;

    /// Takes the tenant's access away, running sessions included; its data stays. What is gone already is not missed.
    /// On etcd a watch that is open goes on reading until its connection ends (etcd's design): a schema is given to
    /// another tenant only when the old one's pods are gone. NATS keeps its logins itself: there the account stays open.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a name belongs to somebody else; nothing of theirs is touched.
    async fn revoke(&self, tenant: &Tenant) -> Result<(), Error>;

    /// Deletes the tenant's data, in bounded steps. Revoke first: what a writer still adds meanwhile is left, and
    /// [`Store::recount`] tells.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a name belongs to somebody else; nothing of theirs is touched.
    async fn erase(&self, tenant: &Tenant) -> Result<(), Error>;

    /// What is left of the tenant in the server.
    async fn recount(&self, tenant: &Tenant) -> Result<Leftovers, Error>;

    /// Connects, and checks the version and that the login may administer tenants.
    ///
    /// # Errors
    /// As for any call; besides [`Error::PermissionDenied`] when the login lacks privileges.
    async fn probe(&self) -> Result<Health, Error>;

    /// Size of the store and of the given tenants in it, whoever owns them: only numbers are read. Without tenants a few
    /// requests; etcd counts the keys of each that is given.
    async fn sizes(&self, tenants: &[Tenant]) -> Result<Sizes, Error>;

    /// How long calls will fail at once, because the server was found away; `None` when they are tried.
    fn retry_after(&self) -> Option<Duration>;
}

/// What [`Store::ensure_tenant`] had to do, in order. Empty when everything was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed(pub Vec<Change>);

impl Changed {
    /// Whether anything was written.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing changed");
        }
        for (index, change) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", change.as_str())?;
        }
        Ok(())
    }
}

/// One step of [`Changed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The login was missing.
    UserAdded,
    /// The role was missing.
    RoleAdded,
    /// The role had more, or something else, than it should.
    PermissionRemoved,
    /// The role lacked the permission on the tenant's keys.
    PermissionGranted,
    /// The login did not have the role.
    RoleGranted,
    /// The server did not yet ask who its clients are.
    AuthenticationEnabled,
    /// The database was missing.
    DatabaseAdded,
    /// The database was open to every login of the server.
    PublicRevoked,
    /// The database took no connections, as it does while it is made.
    DatabaseOpened,
    /// The login was locked, as it is while its tenant is deleted.
    LoginUnlocked,
    /// The login had another password.
    PasswordChanged,
    /// There was no owner's record, or one without the owner's `namespace/name`.
    OwnerRecorded,
    /// The owner's record named the UID that the owner had before.
    OwnerReplaced,
}

impl Change {
    /// The step in the past tense, for an Event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAdded => "user added",
            Self::RoleAdded => "role added",
            Self::PermissionRemoved => "foreign permission removed",
            Self::PermissionGranted => "permission granted",
            Self::RoleGranted => "role granted to user",
            Self::AuthenticationEnabled => "authentication enabled",
            Self::DatabaseAdded => "database added",
            Self::PublicRevoked => "public access to the database revoked",
            Self::DatabaseOpened => "database opened",
            Self::LoginUnlocked => "login unlocked",
            Self::PasswordChanged => "password changed",
            Self::OwnerRecorded => "owner recorded",
            Self::OwnerReplaced => "owner's record taken over from the former UID",
        }
    }
}

/// What [`Store::recount`] found of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Keys or rows; a SQL database or a bucket that exists counts at least one.
    pub keys: u64,
    /// Logins.
    pub users: u64,
    /// Roles; on etcd and NATS the record of the owner, too.
    pub roles: u64,
    /// Open sessions of the tenant's login, where the server tells.
    pub sessions: u64,
}

impl Leftovers {
    /// Nothing is left.
    pub const fn is_empty(self) -> bool {
        self.keys == 0 && self.users == 0 && self.roles == 0 && self.sessions == 0
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys, {} users, {} roles", self.keys, self.users, self.roles)?;
        if self.sessions > 0 {
            write!(f, ", {} sessions", self.sessions)?;
        }
        Ok(())
    }
}

/// What [`Store::probe`] found.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Version of the server; the lowest one, when the endpoints differ.
    pub version: String,
    /// Why endpoints did not answer, by their place in [`crate::Connection::endpoints`]; all others did.
    pub silent: BTreeMap<usize, Error>,
    /// Sentences about what else works but should not stay so.
    pub warnings: Vec<String>,
}

impl Health {
    /// A sentence for each thing that is not as it should be.
    pub fn sentences(&self) -> Vec<String> {
        self.silent.values().map(Error::to_string).chain(self.warnings.iter().cloned()).collect()
    }
}

/// What [`Store::sizes`] measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes on the disk of one server.
    pub bytes: Option<u64>,
    /// Bytes of these that hold data; the rest is free for reuse, or for defragmentation.
    pub bytes_in_use: Option<u64>,
    /// Bytes after which the server takes no more writes.
    pub quota: Option<u64>,
    /// By schema, for the tenants that were asked for.
    pub tenants: BTreeMap<String, TenantSize>,
}

/// One tenant's share of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantSize {
    /// Keys or rows, estimated where the server estimates, where it can tell without reading everything.
    pub keys: Option<u64>,
    /// Bytes, where the server can tell without reading everything.
    pub bytes: Option<u64>,
}
