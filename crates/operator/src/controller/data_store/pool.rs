//! Open datastores, one connection pool per DataStore, shared by all tenants on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kamaji_datastore::{Connection, Store};
use kamaji_pki::Authority;

/// A datastore that can be used.
pub struct Opened {
    /// What it was opened with; equal values need no new connection.
    pub connection: Connection,
    /// Its driver.
    pub store: Arc<dyn Store>,
    /// The authority that signs the tenants' client certificates: etcd only.
    pub authority: Option<Authority>,
    /// Its certificate in PEM.
    pub authority_pem: Vec<u8>,
    /// Its key as the DataStore gives it.
    pub authority_key: Vec<u8>,
}

/// Open datastores by the name of their DataStore.
#[derive(Default)]
pub struct Pool(Mutex<HashMap<String, Arc<Opened>>>);

impl Pool {
    /// The datastore, when it is usable.
    pub fn get(&self, name: &str) -> Option<Arc<Opened>> {
        self.opened().get(name).cloned()
    }

    /// Makes a datastore usable.
    pub fn put(&self, name: &str, opened: Arc<Opened>) {
        self.opened().insert(name.to_owned(), opened);
    }

    /// Makes a datastore unusable.
    pub fn remove(&self, name: &str) {
        self.opened().remove(name);
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Arc<Opened>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
