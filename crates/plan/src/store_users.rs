//! Who uses a DataStore, and which names nobody else may have there: what its status shows.
//!
//! The names are for the API server, which refuses them to others before the operator sees the request
//! (`charts/kamaji/templates/admission-policy.yaml`).

use std::collections::BTreeSet;

use kamaji_api::{DataStore, Driver, TenantControlPlane, data_store::TakenName};

use crate::{claim, override_record, placement::Place, reservation::Reservation, resolve::StoreIdentity};

/// The tenants on a DataStore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsers {
    /// `namespace/name` of those that use it, or may have something there that is not told otherwise; sorted.
    pub tenants: Vec<String>,
    /// Their names, and those that tenants left there; sorted.
    pub names: Vec<TakenName>,
}

impl StoreUsers {
    /// Looks through all tenants.
    pub fn of<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> Self {
        let store = data_store.metadata.name.as_deref().unwrap_or_default();
        let driver = &data_store.spec.driver;
        let kept: BTreeSet<&str> = override_record::uids(data_store).collect();
        let placed: BTreeSet<String> = Place::all(data_store).into_iter().map(|place| place.uid).collect();
        let is_user = |tenant: &&TenantControlPlane| {
            let uid = tenant.metadata.uid.as_deref().unwrap_or_default();
            claim::uses(tenant, store) || kept.contains(uid) || (placed.contains(uid) && claim::is_held(tenant))
        };
        let mut users = Self::default();
        for tenant in tenants.iter().map(AsRef::as_ref).filter(is_user) {
            let place = Place::of(tenant);
            users.names.extend(claim::names_on(driver, tenant).map(|names| taken(driver, place.tenant.clone(), names)));
            users.tenants.push(place.tenant);
        }
        let left = Reservation::all(data_store).into_iter();
        users.names.extend(left.map(|left| taken(driver, left.tenant, left.identity)));
        users.tenants.sort();
        users.tenants.dedup();
        users.names.sort();
        users.names.dedup();
        users
    }
}

fn taken(driver: &Driver, tenant: String, StoreIdentity { schema, user }: StoreIdentity) -> TakenName {
    // On NATS the user is the DataStore's own.
    TakenName { tenant, schema, user: (*driver != Driver::Nats).then_some(user) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kamaji_api::contract;

    use super::*;

    fn data_store(driver: Driver) -> DataStore {
        let mut data_store = DataStore::default();
        data_store.metadata.name = Some("store".to_owned());
        data_store.spec.driver = driver;
        data_store
    }

    /// A tenant on `store` with its own names.
    fn tenant(name: &str, store: &str) -> Arc<TenantControlPlane> {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.name = Some(name.to_owned());
        tenant.metadata.namespace = Some("ns".to_owned());
        tenant.metadata.uid = Some(format!("uid-{name}"));
        tenant.metadata.finalizers = Some(vec![contract::finalizers::DATASTORE.to_owned()]);
        tenant.spec.data_store = Some(store.to_owned());
        tenant.spec.data_store_schema = Some(format!("schema_{name}"));
        tenant.spec.data_store_username = Some(format!("user_{name}"));
        Arc::new(tenant)
    }

    fn shown(users: &StoreUsers) -> Vec<(&str, &str, Option<&str>)> {
        let names = users.names.iter();
        names.map(|name| (name.tenant.as_str(), name.schema.as_str(), name.user.as_deref())).collect()
    }

    #[test]
    fn tenants_that_hold_a_datastore_are_its_users_with_their_names() {
        let mut waits = tenant("waits", "store");
        Arc::make_mut(&mut waits).metadata.finalizers = None;
        let users = StoreUsers::of(
            &data_store(Driver::Etcd),
            &[tenant("b", "store"), tenant("a", "store"), tenant("c", "elsewhere"), waits],
        );
        assert_eq!(users.tenants, ["ns/a", "ns/b"]);
        assert_eq!(shown(&users), [("ns/a", "schema_a", Some("user_a")), ("ns/b", "schema_b", Some("user_b"))]);
    }

    #[test]
    fn names_that_are_reported_count_and_not_what_is_asked_for_afterwards() {
        let mut one = tenant("one", "store");
        let setup = &mut Arc::make_mut(&mut one).status.get_or_insert_default().storage.setup;
        setup.schema = Some("had".to_owned());
        setup.user = Some("had_user".to_owned());
        let users = StoreUsers::of(&data_store(Driver::PostgreSql), &[one]);
        assert_eq!(shown(&users), [("ns/one", "had", Some("had_user"))]);
    }

    #[test]
    fn a_tenant_that_asks_for_no_name_has_its_uid_as_the_driver_writes_it() {
        let mut one = tenant("one", "store");
        let spec = &mut Arc::make_mut(&mut one).spec;
        spec.data_store_schema = Some(String::new());
        spec.data_store_username = None;
        let shown_on = |driver| StoreUsers::of(&data_store(driver), &[Arc::clone(&one)]).names.remove(0);
        assert_eq!(shown_on(Driver::Etcd).user.as_deref(), Some("uid-one"));
        assert_eq!(shown_on(Driver::MySql).user.as_deref(), Some("uidone"));
        assert_eq!(shown_on(Driver::Nats).user, None, "it is the DataStore's login");
        assert_eq!(shown_on(Driver::Nats).schema, "uid-one");
    }

    #[test]
    fn tenants_that_keep_resources_or_have_a_place_are_users_too() {
        let mut both = tenant("both", "elsewhere");
        let entry = serde_json::json!([{"resource": "/events", "dataStore": "store"}]);
        Arc::make_mut(&mut both).spec.data_store_overrides = Some(serde_json::from_value(entry).unwrap());
        let (kept, placed) = (tenant("kept", "elsewhere"), tenant("placed", ""));
        let mut data_store = data_store(Driver::Etcd);
        let place = Place::of(&placed);
        data_store.metadata.annotations =
            Some([(override_record::key(&kept), override_record::value(&kept)), (place.key(), place.value())].into());
        let users = StoreUsers::of(&data_store, &[both, kept, placed]);
        assert_eq!(users.tenants, ["ns/both", "ns/kept", "ns/placed"]);
        assert_eq!(users.names.len(), 3);
    }

    #[test]
    fn names_that_were_left_stay_taken_and_are_shown_once() {
        let one = tenant("one", "store");
        let names = StoreIdentity { schema: "schema_one".to_owned(), user: "user_one".to_owned() };
        let left = Reservation::of(&one, names);
        let mut data_store = data_store(Driver::Etcd);
        data_store.metadata.annotations = Some([(left.key(), left.value())].into());
        let with = StoreUsers::of(&data_store, &[one]);
        let without = StoreUsers::of::<Arc<TenantControlPlane>>(&data_store, &[]);
        assert_eq!(shown(&with), [("ns/one", "schema_one", Some("user_one"))]);
        assert_eq!(with.names, without.names);
        assert!(without.tenants.is_empty());
    }
}
