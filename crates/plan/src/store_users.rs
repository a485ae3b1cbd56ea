//! Who uses a DataStore, and which names nobody else may have there: what its status shows.
//!
//! The names are for the API server, which refuses them to others before the operator sees the request
//! (`charts/kamaji/templates/admission-policy.yaml`).

use std::collections::BTreeSet;

use kamaji_api::{DataStore, Driver, TenantControlPlane, data_store::TakenName};

use crate::{claim, override_record, placement::Place, reservation::Reservation, resolved::StoreIdentity};

/// Most names that are shown: a status has to stay well below what an object may hold, whatever the length of names. The
/// operator heeds all of them.
pub const MOST_NAMES: usize = 1000;

/// The tenants on a DataStore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUsers {
    /// `namespace/name` of those that use it, or may have something there that is not told otherwise; sorted.
    pub tenants: Vec<String>,
    /// Their names, and those that tenants left there; sorted. Of more than [`MOST_NAMES`] those that somebody chose go
    /// before those made of a UID, which nobody meets by chance.
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
        let mut names = Vec::new();
        for tenant in tenants.iter().map(AsRef::as_ref).filter(is_user) {
            let place = Place::of(tenant);
            let theirs = claim::names_on(driver, tenant);
            names.extend(theirs.map(|theirs| taken(driver, place.tenant.clone(), &place.uid, theirs)));
            users.tenants.push(place.tenant);
        }
        let left = Reservation::all(data_store).into_iter();
        names.extend(left.map(|left| taken(driver, left.tenant, &left.uid, left.identity)));
        users.tenants.sort();
        users.tenants.dedup();
        names.sort();
        names.dedup();
        users.names = names.into_iter().take(MOST_NAMES).map(|(_, name)| name).collect();
        users.names.sort();
        users
    }
}

/// The names of a tenant, and whether they are made of its UID.
fn taken(
    driver: &Driver,
    tenant: String,
    uid: &str,
    StoreIdentity { schema, user }: StoreIdentity,
) -> (bool, TakenName) {
    // On NATS the user is the DataStore's own.
    let user = (*driver != Driver::Nats).then_some(user);
    let is_made = claim::is_uid(&schema, uid) && user.as_ref().is_none_or(|user| claim::is_uid(user, uid));
    (is_made, TakenName { tenant, schema, user })
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
    fn of_too_many_names_those_that_were_chosen_are_shown_and_all_tenants() {
        let unnamed = |index: usize| {
            let mut tenant = tenant(&format!("a-{index:04}"), "store");
            let spec = &mut Arc::make_mut(&mut tenant).spec;
            (spec.data_store_schema, spec.data_store_username) = (None, None);
            tenant
        };
        for driver in [Driver::Etcd, Driver::MySql] {
            let mut tenants: Vec<_> = (0..MOST_NAMES).map(unnamed).collect();
            let all = StoreUsers::of(&data_store(driver.clone()), &tenants);
            assert_eq!((all.tenants.len(), all.names.len()), (MOST_NAMES, MOST_NAMES));
            tenants.push(tenant("z", "store"));
            let mut user_alone = unnamed(MOST_NAMES);
            Arc::make_mut(&mut user_alone).spec.data_store_username = Some("chosen".to_owned());
            tenants.push(user_alone);
            let most = StoreUsers::of(&data_store(driver), &tenants);
            assert_eq!(most.tenants.len(), MOST_NAMES + 2);
            assert_eq!(most.names[..MOST_NAMES - 2], all.names[..MOST_NAMES - 2]);
            let last: Vec<_> =
                shown(&most)[MOST_NAMES - 2..].iter().map(|(tenant, _, user)| (*tenant, *user)).collect();
            assert_eq!(last, [("ns/a-1000", Some("chosen")), ("ns/z", Some("user_z"))]);
        }
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
