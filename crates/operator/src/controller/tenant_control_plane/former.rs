//! Whom a datastore is called for, and the UID that this tenant had before it was restored from a backup.

use std::sync::Arc;

use kamaji_api::{TenantControlPlane, contract::annotations::FORMER_UID};
use kamaji_datastore::Owner;
use kube::ResourceExt;

use super::Shared;
use crate::controller::stores::object_key;

/// The tenant as its datastores know it.
pub fn owner(shared: &Shared, tenant: &TenantControlPlane) -> Owner {
    Owner {
        uid: tenant.uid().unwrap_or_default(),
        name: Some(object_key(tenant)),
        former: uid(tenant, || shared.stores.tenants.store.state()).map(str::to_owned),
    }
}

/// The UID that the tenant says it had, unless it is that of one of `tenants`, who has not lost what is recorded for it.
fn uid(tenant: &TenantControlPlane, tenants: impl FnOnce() -> Vec<Arc<TenantControlPlane>>) -> Option<&str> {
    let former = tenant.annotations().get(FORMER_UID).map(String::as_str).filter(|former| !former.is_empty())?;
    if tenant.metadata.uid.as_deref() == Some(former) {
        return None;
    }
    let Some(holder) = tenants().into_iter().find(|other| other.metadata.uid.as_deref() == Some(former)) else {
        return Some(former);
    };
    let holder = object_key(holder.as_ref());
    tracing::warn!(former, holder, "the annotation {FORMER_UID} has no effect: another tenant has this UID");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(own: &str, former: Option<&str>) -> Arc<TenantControlPlane> {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.uid = Some(own.to_owned());
        tenant.metadata.annotations = former.map(|former| [(FORMER_UID.to_owned(), former.to_owned())].into());
        Arc::new(tenant)
    }

    #[test]
    fn a_former_uid_is_one_that_no_tenant_has() {
        let restored = tenant("new", Some("old"));
        let beside = |other: &str| uid(&restored, || vec![Arc::clone(&restored), tenant(other, None)]);
        assert_eq!(beside("third"), Some("old"));
        assert_eq!(beside("old"), None, "it is alive");
        for none in [None, Some(""), Some("new")] {
            let tenant = tenant("new", none);
            assert_eq!(uid(&tenant, || vec![Arc::clone(&tenant)]), None, "{none:?}");
        }
    }
}
