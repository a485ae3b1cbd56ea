//! That a tenant keeps some of its resources on a DataStore beside its own.
//!
//! It is written on that DataStore before the tenant gets anything there, one annotation for each tenant, and removed
//! when all of it is erased: a specification that no longer names the DataStore says nothing of what is left there.

use kamaji_api::{DataStore, TenantControlPlane, contract::annotations::OVERRIDES_PREFIX};

use crate::placement::Place;

/// Key of the annotation.
pub fn key(tenant: &TenantControlPlane) -> String {
    format!("{OVERRIDES_PREFIX}{}", Place::of(tenant).uid)
}

/// Value of the annotation: the tenant's `namespace/name`, for people.
pub fn value(tenant: &TenantControlPlane) -> String {
    Place::of(tenant).value()
}

/// Whether it is written on a DataStore.
pub fn is_on(tenant: &TenantControlPlane, data_store: &DataStore) -> bool {
    data_store.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(&key(tenant)))
}

/// UIDs of the tenants that keep resources on a DataStore.
pub fn uids(data_store: &DataStore) -> impl Iterator<Item = &str> {
    data_store.metadata.annotations.iter().flatten().filter_map(|(key, _)| key.strip_prefix(OVERRIDES_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_again() {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.name = Some("one".to_owned());
        tenant.metadata.namespace = Some("ns".to_owned());
        tenant.metadata.uid = Some("1-2".to_owned());
        let mut data_store = DataStore::default();
        assert!(!is_on(&tenant, &data_store));
        data_store.metadata.annotations = Some([(key(&tenant), value(&tenant))].into());
        assert!(is_on(&tenant, &data_store));
        assert_eq!(uids(&data_store).collect::<Vec<_>>(), ["1-2"]);
        assert_eq!(value(&tenant), "ns/one");
    }
}
