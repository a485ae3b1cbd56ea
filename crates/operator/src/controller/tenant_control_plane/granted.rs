//! When a tenant's rights on its datastore were last looked at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::controller::data_store::pool::Opened;

/// A datastore has no watch on its users, so they are looked at again after this long.
const FRESH: Duration = Duration::from_mins(30);

/// Looks, by the UID of the tenant.
#[derive(Default)]
pub struct Granted(Mutex<HashMap<String, (Weak<Opened>, Instant)>>);

impl Granted {
    /// Whether the rights were looked at through this very connection, not long ago.
    pub fn is_fresh(&self, tenant_uid: &str, opened: &Arc<Opened>) -> bool {
        self.looks().get(tenant_uid).is_some_and(|(through, when)| {
            when.elapsed() < FRESH && through.upgrade().is_some_and(|through| Arc::ptr_eq(&through, opened))
        })
    }

    /// Whether the rights were ever seen complete by this process.
    pub fn was(&self, tenant_uid: &str) -> bool {
        self.looks().contains_key(tenant_uid)
    }

    /// Remembers a look that found the rights complete.
    pub fn mark(&self, tenant_uid: &str, opened: &Arc<Opened>) {
        self.looks().insert(tenant_uid.to_owned(), (Arc::downgrade(opened), Instant::now()));
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.looks().remove(tenant_uid);
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<String, (Weak<Opened>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
