//! The datastores that tenants' API servers write to, behind one intent-level trait.
//!
//! In goes a [`Connection`] (already resolved: bytes, no references to Secrets) and, per call, a [`Tenant`]; out comes
//! what was changed, what is left, or an [`Error`] that is a sentence. The crate knows no Kubernetes client: who reads
//! the DataStore object and its Secrets, and who writes conditions, is the caller.
//!
//! [`open`] connects lazily. The returned [`Store`] owns its pooled connections and its circuit: keep one per
//! DataStore and version of its Secrets, and drop it to close them. What each driver creates in its server is in
//! `docs/reference/compatibility.md`, section "Datastores".

pub mod connection;
pub mod error;
pub mod etcd;
pub mod mysql;
pub mod nats;
pub mod owner;
pub mod postgres;
pub mod store;
pub mod tenant;

mod asked;
mod by_hand;
mod circuit;
mod record;
mod sessions;
mod sql;
mod tls;

pub use by_hand::removal;
pub use connection::{BasicAuth, Connection, Driver, Secret, Tls};
pub use error::Error;
pub use owner::Owner;
pub use store::{Change, Changed, Health, Leftovers, Sizes, Store, TenantSize};
pub use tenant::Tenant;

use std::sync::Arc;

/// A [`Store`] for this connection. Nothing is dialled before its first call.
///
/// # Errors
/// [`Error::InvalidConnection`] when an endpoint is not `host:port`, [`Error::InvalidTls`] when a PEM block cannot be used
/// or the client key does not belong to the client certificate.
pub fn open(connection: &Connection) -> Result<Arc<dyn Store>, Error> {
    match connection.driver {
        Driver::Etcd => Ok(Arc::new(etcd::EtcdStore::open(connection)?)),
        Driver::PostgreSql => Ok(Arc::new(postgres::PostgresStore::open(connection)?)),
        Driver::MySql => Ok(Arc::new(mysql::MySqlStore::open(connection)?)),
        Driver::Nats => Ok(Arc::new(nats::NatsStore::open(connection)?)),
    }
}
