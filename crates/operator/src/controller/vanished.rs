//! Tenants that were deleted past their finalizer.
//!
//! kube-apiserver looks at an object's finalizers when a request to delete it begins, and deletes it a moment later even
//! if one was added in between (`registry/generic/registry`, `Store.Delete`). So a tenant that is deleted just after it
//! was created can be gone with the finalizer that it was given, and with it the reason to take anything back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kamaji_api::TenantControlPlane;
use kamaji_plan::{claim::is_held, stored::was_set_up};
use kube::runtime::reflector::ObjectRef;

/// Those that were seen to go like this and are not dealt with yet.
#[derive(Default)]
pub struct Vanished(Mutex<HashMap<ObjectRef<TenantControlPlane>, Arc<TenantControlPlane>>>);

impl Vanished {
    /// Takes note of a tenant's last state; tells whether it went past its finalizer.
    ///
    /// One that was set up is left out: it had its finalizer for long, and whoever made it disappear, for example by
    /// restoring an old backup of the management cluster, is best served if its data stays.
    pub fn saw(&self, last: &TenantControlPlane) -> bool {
        let past = is_held(last) && last.metadata.deletion_timestamp.is_none() && !was_set_up(last);
        if past {
            self.all().insert(ObjectRef::from_obj(last), Arc::new(last.clone()));
        }
        past
    }

    /// The one of this name, for whoever deals with it now.
    pub fn take(&self, name: &ObjectRef<TenantControlPlane>) -> Option<Arc<TenantControlPlane>> {
        self.all().remove(name)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ObjectRef<TenantControlPlane>, Arc<TenantControlPlane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn saw(last: &Value) -> bool {
        Vanished::default().saw(&serde_json::from_value(last.clone()).unwrap())
    }

    #[test]
    fn only_a_new_tenant_that_nobody_released_went_past_its_finalizer() {
        let last = json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "u", "finalizers": ["finalizer.kamaji.clastix.io"]},
            "spec": {"controlPlane": {"service": {"serviceType": "ClusterIP"}}, "kubernetes": {"version": "v1.36.3", "kubelet": {}}},
        });
        assert!(saw(&last));
        let mut released = last.clone();
        released["metadata"]["finalizers"] = json!([]);
        assert!(!saw(&released));
        let mut asked = last.clone();
        asked["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(!saw(&asked));
        let mut set_up = last;
        set_up["status"] = json!({"storage": {"setup": {"schema": "s", "user": "u"}}});
        assert!(!saw(&set_up));
    }
}
