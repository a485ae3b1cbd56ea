//! When a tenant's rights on its datastore were last looked at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use kamaji_datastore::Tenant;

use crate::controller::pool::Opened;

/// A datastore has no watch on its users, so they are looked at again after this long.
const FRESH: Duration = Duration::from_mins(30);

/// Looks, by the UID of the tenant and the name of the DataStore.
#[derive(Default)]
pub struct Granted(Mutex<HashMap<String, Looks>>);

type Looks = HashMap<String, Look>;

struct Look {
    through: Weak<Opened>,
    tenant: Tenant,
    when: Instant,
}

impl Granted {
    /// Whether the rights of this very login were looked at through this very connection, not long ago.
    pub fn is_fresh(&self, tenant_uid: &str, store: &str, opened: &Arc<Opened>, tenant: &Tenant) -> bool {
        self.looks().get(tenant_uid).and_then(|looks| looks.get(store)).is_some_and(|look| {
            look.when.elapsed() < FRESH
                && look.tenant == *tenant
                && look.through.upgrade().is_some_and(|through| Arc::ptr_eq(&through, opened))
        })
    }

    /// Whether a datastore was ever seen to take this very login.
    pub fn takes(&self, tenant_uid: &str, store: &str, tenant: &Tenant) -> bool {
        let looks = self.looks();
        looks.get(tenant_uid).and_then(|looks| looks.get(store)).is_some_and(|look| look.tenant == *tenant)
    }

    /// Whether the rights on a datastore were ever seen complete by this process.
    pub fn was(&self, tenant_uid: &str, store: &str) -> bool {
        self.looks().get(tenant_uid).is_some_and(|looks| looks.contains_key(store))
    }

    /// Remembers a look that found the rights complete.
    pub fn mark(&self, tenant_uid: &str, store: &str, opened: &Arc<Opened>, tenant: &Tenant) {
        let look = Look { through: Arc::downgrade(opened), tenant: tenant.clone(), when: Instant::now() };
        self.looks().entry(tenant_uid.to_owned()).or_default().insert(store.to_owned(), look);
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.looks().remove(tenant_uid);
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<String, Looks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
