//! Open datastores, one connection pool per DataStore, shared by all tenants on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kamaji_datastore::{Connection, Error, Leftovers, Owner, Store, Tenant};
use kamaji_pki::Authority;
use kamaji_plan::resolve::StoreIdentity;

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

impl Opened {
    /// The store for calls on behalf of a tenant. Only one that `was_set_up` may find its own in what bears no record: for
    /// others it may be an application's.
    pub fn on_behalf_of(&self, owner: &Owner, was_set_up: bool) -> Arc<dyn Store> {
        let store = self.store.on_behalf_of(owner);
        if was_set_up { store.taking_over() } else { store }
    }

    /// Takes back what a tenant has under its names.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn erase(&self, owner: &Owner, names: &StoreIdentity, was_set_up: bool) -> Result<Erased, Error> {
        let place = place(names);
        let store = self.on_behalf_of(owner, was_set_up);
        let erased = async {
            store.revoke(&place).await?;
            store.erase(&place).await?;
            store.recount(&place).await
        };
        match erased.await {
            // Names that are refused to a tenant which never had its place there: nothing under them is the tenant's.
            Err(Error::InvalidName { .. }) if !was_set_up => Ok(Erased::Own(Leftovers::default())),
            Err(Error::Conflict { detail }) if !was_set_up => Ok(Erased::Foreign(detail)),
            other => other.map(Erased::Own),
        }
    }
}

/// The tenant of these names, for calls that need no password.
pub fn place(names: &StoreIdentity) -> Tenant {
    Tenant { schema: names.schema.clone(), user: names.user.clone(), password: None }
}

/// What became of the names of a tenant that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// They are the tenant's, with what is left under them.
    Own(Leftovers),
    /// What is under them was left alone: it is not recorded as the tenant's, as this sentence says.
    Foreign(String),
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
