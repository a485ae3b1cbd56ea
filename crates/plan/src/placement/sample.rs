//! Tenants and DataStores for the tests of this folder.

use std::sync::Arc;

use kamaji_api::{DataStore, DataStoreStatus, Driver, TenantControlPlane};
use serde_json::Value;

use super::Place;
use crate::{reservation::Reservation, resolved::StoreIdentity};

/// A tenant that says nothing about its DataStore.
pub(super) fn tenant(name: &str) -> Arc<TenantControlPlane> {
    let mut tenant = TenantControlPlane::default();
    tenant.metadata.name = Some(name.to_owned());
    tenant.metadata.namespace = Some("ns".to_owned());
    tenant.metadata.uid = Some(format!("uid-{name}"));
    Arc::new(tenant)
}

/// A tenant that names a DataStore and was not let in yet.
pub(super) fn named(name: &str, data_store: &str) -> Arc<TenantControlPlane> {
    let mut tenant = tenant(name);
    Arc::make_mut(&mut tenant).spec.data_store = Some(data_store.to_owned());
    tenant
}

/// A tenant that reports a DataStore.
pub(super) fn using(name: &str, data_store: &str) -> Arc<TenantControlPlane> {
    let mut tenant = tenant(name);
    Arc::make_mut(&mut tenant).status.get_or_insert_default().storage.data_store_name = Some(data_store.to_owned());
    tenant
}

/// A tenant with a selector.
pub(super) fn selecting(name: &str, selector: Value) -> Arc<TenantControlPlane> {
    let mut tenant = tenant(name);
    Arc::make_mut(&mut tenant).spec.data_store_selector = Some(serde_json::from_value(selector).unwrap());
    tenant
}

/// A DataStore that can be used, an etcd.
pub(super) fn store(name: &str, annotations: &[(&str, &str)]) -> DataStore {
    let mut data_store = DataStore::default();
    data_store.metadata.name = Some(name.to_owned());
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    data_store.metadata.annotations = Some(annotations.collect());
    data_store.status = Some(DataStoreStatus { ready: true, ..DataStoreStatus::default() });
    data_store
}

/// One with the driver NATS.
pub(super) fn nats(name: &str, annotations: &[(&str, &str)]) -> DataStore {
    let mut data_store = store(name, annotations);
    data_store.spec.driver = Driver::Nats;
    data_store
}

/// Writes a place on a DataStore.
pub(super) fn place(data_store: &mut DataStore, tenant: &TenantControlPlane) {
    let place = Place::of(tenant);
    annotate(data_store, place.key(), place.value());
}

/// Writes that a tenant left its names on a DataStore.
pub(super) fn reserve(data_store: &mut DataStore, tenant: &TenantControlPlane) {
    let names = StoreIdentity { schema: "s".to_owned(), user: "u".to_owned() };
    let left = Reservation::of(tenant, names);
    annotate(data_store, left.key(), left.value());
}

/// Sets an annotation.
pub(super) fn annotate(data_store: &mut DataStore, key: String, value: String) {
    data_store.metadata.annotations.get_or_insert_default().insert(key, value);
}

/// Sets a label.
pub(super) fn label(data_store: &mut DataStore, key: &str, value: &str) {
    data_store.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}
