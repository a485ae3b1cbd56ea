//! The last good Secrets of every tenant, for the moment when someone deletes or edits one.
//!
//! An authority or a service-account key that is made anew kills a running tenant, so the operator gives back the same
//! bytes. The values are shared with the watch stores: a Secret that nobody touches is kept once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kamaji_plan::control_plane::names::TenantSecret;

type Key = (String, TenantSecret);

/// Good Secrets by the UID of their tenant.
#[derive(Default)]
pub struct Keyring(Mutex<HashMap<Key, Arc<Secret>>>);

impl Keyring {
    /// Remembers a Secret that was found good.
    pub fn keep(&self, tenant_uid: &str, which: TenantSecret, secret: &Arc<Secret>) {
        let mut kept = self.kept();
        match kept.get_mut(&(tenant_uid.to_owned(), which)) {
            Some(old) => *old = Arc::clone(secret),
            None => {
                kept.insert((tenant_uid.to_owned(), which), Arc::clone(secret));
            }
        }
    }

    /// Remembers a Secret that is being lost before any pass has looked at it.
    pub fn rescue(&self, tenant_uid: &str, which: TenantSecret, secret: &Secret) {
        self.kept().entry((tenant_uid.to_owned(), which)).or_insert_with(|| Arc::new(secret.clone()));
    }

    /// The last good one.
    pub fn last(&self, tenant_uid: &str, which: TenantSecret) -> Option<Arc<Secret>> {
        self.kept().get(&(tenant_uid.to_owned(), which)).cloned()
    }

    /// Forgets a Secret that is to be replaced on purpose.
    pub fn drop_secret(&self, tenant_uid: &str, which: TenantSecret) {
        self.kept().remove(&(tenant_uid.to_owned(), which));
    }

    /// Forgets a tenant that is gone.
    pub fn drop_tenant(&self, tenant_uid: &str) {
        self.kept().retain(|(uid, _), _| uid != tenant_uid);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Arc<Secret>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
