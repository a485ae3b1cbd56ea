//! Who has which place on a datastore: a schema and a user belong to one tenant.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{
    Driver, TenantControlPlane,
    contract::{self, annotations::FORMER_UID},
};

use crate::{
    rejection::Rejection,
    reservation::Reservation,
    resolved::{
        Resolved, StoreIdentity,
        identity::{SCHEMA, USER, default_user},
    },
    stored::was_set_up,
};

/// Everybody else who may have the names that a tenant asks for.
#[derive(Clone, Copy, Debug)]
pub struct Others<'a, T> {
    /// All tenants; the one that asks may be among them.
    pub tenants: &'a [T],
    /// Names that tenants left on the DataStore.
    pub reserved: &'a [Reservation],
}

/// Refuses a place that is another tenant's, and one where the tenant's data is not. `live` is its Deployment.
///
/// # Errors
/// The rejection, as a sentence.
pub fn check<T: AsRef<TenantControlPlane>>(
    resolved: &Resolved,
    live: Option<&Deployment>,
    others: &Others<'_, T>,
) -> Result<(), Rejection> {
    let (tenant, store) = (&resolved.tenant, &resolved.store);
    let named = tenant.spec.data_store.as_deref().filter(|named| !named.is_empty()).unwrap_or(&store.name);
    let present = present_store(tenant, live).unwrap_or_else(|| store.name.clone());
    if present != named {
        let message = format!(
            "the tenant's data is on the DataStore \"{present}\", and moving it to \"{named}\" is not supported by this \
             release; set it back",
        );
        return Err(Rejection::new("Unsupported", "spec.dataStore", message));
    }
    let stores = [&store.name].into_iter().chain(store.overrides.iter().map(|other| &other.store));
    for name in stores {
        if let Some(field) = taken(tenant, name, &store.identity, others.tenants) {
            let message = format!(
                "the name belongs to another TenantControlPlane on the DataStore \"{name}\"; choose a name that nobody \
                 else has"
            );
            return Err(Rejection::new("NameTaken", field, message));
        }
    }
    if let Some((field, left)) = reserved(tenant, &store.identity, others.reserved) {
        let way_back = if object_key(tenant) == left.tenant {
            format!("; if it is this one before it was restored, annotate it with {FORMER_UID}={}", left.uid)
        } else {
            String::new()
        };
        let message = format!(
            "the name is reserved on the DataStore \"{}\" until the data of the TenantControlPlane {} is erased, which \
             was deleted by force; that is done as soon as the datastore can be used; wait for it, or choose another \
             name{way_back}",
            store.name, left.tenant
        );
        return Err(Rejection::new("NameReserved", field, message));
    }
    Ok(())
}

/// The DataStore that the tenant's pods use: the status says it, and the pods' label when the status was lost.
pub fn present_store(tenant: &TenantControlPlane, live: Option<&Deployment>) -> Option<String> {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.clone());
    reported.filter(|name| !name.is_empty()).or_else(|| {
        let labels = live?.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?;
        labels.get(contract::labels::template::DATASTORE).cloned()
    })
}

/// The DataStore that a tenant holds: it may have keys there. One that is still on its way counts from its finalizer on.
pub fn used_store(tenant: &TenantControlPlane) -> Option<String> {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.clone());
    reported.or_else(|| tenant.spec.data_store.clone().filter(|_| is_held(tenant)))
}

/// Whether a tenant may have something on a DataStore: it has the finalizer that a deletion waits for.
pub fn is_held(tenant: &TenantControlPlane) -> bool {
    let is_ours = |finalizer: &String| finalizer == contract::finalizers::DATASTORE;
    tenant.metadata.finalizers.iter().flatten().any(is_ours)
}

/// Whether a tenant may have names on a DataStore that nothing tells of yet: it did not name one itself.
fn is_undecided(tenant: &TenantControlPlane) -> bool {
    used_store(tenant).is_none() && is_held(tenant)
}

/// Whether a tenant holds a DataStore, or keeps some of its resources there.
pub fn uses(tenant: &TenantControlPlane, store: &str) -> bool {
    let Some(used) = used_store(tenant) else { return false };
    let mut overrides = tenant.spec.data_store_overrides.iter().flatten();
    used == store || overrides.any(|entry| entry.data_store.as_deref() == Some(store))
}

/// The field with a name that is another tenant's. Who has it keeps it; of two that ask for one, the older gets it. The
/// UID of a tenant is its name whether it asks for it or not.
pub fn taken<T: AsRef<TenantControlPlane>>(
    tenant: &TenantControlPlane,
    store: &str,
    identity: &StoreIdentity,
    others: &[T],
) -> Option<&'static str> {
    let rank = |tenant: &TenantControlPlane| {
        let created = tenant.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!was_set_up(tenant), !is_held(tenant), created, tenant.metadata.uid.clone())
    };
    let others = || others.iter().map(AsRef::as_ref).filter(|other| other.metadata.uid != tenant.metadata.uid);
    let near = |other: &&TenantControlPlane| uses(other, store) || is_undecided(other);
    let before = others().filter(near).filter(|other| rank(other) < rank(tenant));
    before.filter_map(names).find_map(|theirs| same(tenant, identity, &theirs)).or_else(|| {
        let is_a_uid =
            |name: &str| others().filter_map(|other| other.metadata.uid.as_deref()).any(|uid| is_uid(name, uid));
        asked(tenant, identity).find(|(_, name)| is_a_uid(name)).map(|(field, _)| field)
    })
}

/// The field with a name that a certain other tenant has.
pub fn taken_by(
    tenant: &TenantControlPlane,
    identity: &StoreIdentity,
    other: &TenantControlPlane,
) -> Option<&'static str> {
    let theirs = names(other).filter(|_| other.metadata.uid != tenant.metadata.uid)?;
    same(tenant, identity, &theirs)
}

/// Whether a tenant asks for something that another one, with this UID and these names as [`told`], kept from it.
pub fn asks_for(tenant: &TenantControlPlane, uid: &str, theirs: Option<&StoreIdentity>) -> bool {
    if tenant.metadata.uid.as_deref() == Some(uid) {
        return false;
    }
    names(tenant).is_some_and(|identity| {
        asked(tenant, &identity).any(|(_, name)| is_uid(name, uid))
            || theirs.is_some_and(|theirs| same(tenant, &identity, theirs).is_some())
    })
}

/// The field with a name that a tenant left on the datastore, and that tenant. What it left itself, also before it was
/// restored, is no obstacle.
pub fn reserved<'a>(
    tenant: &TenantControlPlane,
    identity: &StoreIdentity,
    reserved: &'a [Reservation],
) -> Option<(&'static str, &'a Reservation)> {
    let uid = tenant.metadata.uid.as_deref().unwrap_or_default();
    let mut foreign = reserved.iter().filter(|left| left.uid != uid && !is_successor(tenant, left));
    foreign.find_map(|left| Some((same(tenant, identity, &left.identity)?, left)))
}

/// `namespace/name` of the tenant that left these names and was restored since: what is under them is its own, and it
/// stays, as long as that tenant is not on its way out as well.
pub fn successor<T: AsRef<TenantControlPlane>>(left: &Reservation, tenants: &[T]) -> Option<String> {
    let mut present = tenants.iter().map(AsRef::as_ref).filter(|tenant| tenant.metadata.deletion_timestamp.is_none());
    present.find(|tenant| is_successor(tenant, left)).map(object_key)
}

/// Whether a tenant says that it is the one that left these names, or that both are the same one of before. That it has
/// the same `namespace/name` shows that it is where that one was; the UID alone may have been read somewhere.
fn is_successor(tenant: &TenantControlPlane, left: &Reservation) -> bool {
    let Some(former) = tenant.metadata.annotations.as_ref().and_then(|all| all.get(FORMER_UID)) else { return false };
    (*former == left.uid || left.former.as_ref() == Some(former)) && object_key(tenant) == left.tenant
}

/// `namespace/name` of a tenant, as a reservation has it.
fn object_key(tenant: &TenantControlPlane) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&tenant.metadata.namespace), part(&tenant.metadata.name))
}

/// `namespace/name` of a tenant that has these names on the DataStore, other than the one that left them: nothing of
/// them may be erased then.
pub fn holder<T: AsRef<TenantControlPlane>>(store: &str, left: &Reservation, tenants: &[T]) -> Option<String> {
    let tenants = tenants.iter().map(AsRef::as_ref).filter(|tenant| tenant.metadata.uid.as_ref() != Some(&left.uid));
    let mut holders = tenants.filter(|tenant| {
        let has = |theirs: StoreIdentity| theirs.schema == left.identity.schema || theirs.user == left.identity.user;
        uses(tenant, store) && names(tenant).is_some_and(has)
    });
    holders.next().map(object_key)
}

/// The field in which a tenant asks for a name of theirs.
fn same(tenant: &TenantControlPlane, identity: &StoreIdentity, theirs: &StoreIdentity) -> Option<&'static str> {
    let is_theirs =
        |(field, name): &(&str, &str)| *name == if *field == SCHEMA { &theirs.schema } else { &theirs.user };
    asked(tenant, identity).find(is_theirs).map(|(field, _)| field)
}

/// The names that a tenant asks for, with their fields. Its own UID is nobody else's, so it is not asked for.
fn asked<'a>(
    tenant: &'a TenantControlPlane,
    identity: &'a StoreIdentity,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let uid = tenant.metadata.uid.as_deref().unwrap_or_default();
    let names = [(SCHEMA, identity.schema.as_str()), (USER, identity.user.as_str())];
    names.into_iter().filter(move |(_, name)| !is_uid(name, uid))
}

/// Whether a name is made of this UID: with dashes, or without, as on MySQL.
pub(crate) fn is_uid(name: &str, uid: &str) -> bool {
    name == uid || name.chars().eq(uid.chars().filter(|character| *character != '-'))
}

/// What DataStores are to be told when it changes: the names of a tenant. A user that is made of its UID is the UID here,
/// whatever the driver, so that reporting it is no change.
pub fn told(tenant: &TenantControlPlane) -> Option<StoreIdentity> {
    let uid = tenant.metadata.uid.as_deref()?;
    let mut told = names(tenant)?;
    if is_uid(&told.user, uid) {
        uid.clone_into(&mut told.user);
    }
    Some(told)
}

/// The names that a tenant has, or asks for; without either its UID stands for both.
fn names(tenant: &TenantControlPlane) -> Option<StoreIdentity> {
    names_on(&Driver::Etcd, tenant)
}

/// The names that a tenant has, or asks for, on a DataStore with this driver.
pub(crate) fn names_on(driver: &Driver, tenant: &TenantControlPlane) -> Option<StoreIdentity> {
    let setup = tenant.status.as_ref().map(|status| &status.storage.setup);
    let uid = tenant.metadata.uid.as_ref()?;
    let pick =
        |reported: Option<&String>, asked: Option<&String>| reported.or(asked).filter(|name| !name.is_empty()).cloned();
    let schema = pick(setup.and_then(|setup| setup.schema.as_ref()), tenant.spec.data_store_schema.as_ref());
    let user = pick(setup.and_then(|setup| setup.user.as_ref()), tenant.spec.data_store_username.as_ref());
    Some(StoreIdentity {
        schema: schema.unwrap_or_else(|| uid.clone()),
        user: user.unwrap_or_else(|| default_user(driver, uid)),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A tenant on the DataStore `default` that asks for this schema; `age` is the second of its creation.
    fn tenant(name: &str, schema: &str, age: u8) -> Arc<TenantControlPlane> {
        let object = serde_json::json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": {
                "name": name,
                "namespace": "ns",
                "uid": format!("uid-{name}"),
                "creationTimestamp": format!("2026-01-01T00:00:0{age}Z"),
                "finalizers": [contract::finalizers::DATASTORE],
            },
            "spec": {
                "dataStore": "default",
                "dataStoreSchema": schema,
                "dataStoreUsername": format!("user-{name}"),
                "controlPlane": {"service": {"serviceType": "ClusterIP"}},
                "kubernetes": {"version": "v1.36.3", "kubelet": {}},
            },
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn identity(schema: &str, user: &str) -> StoreIdentity {
        StoreIdentity { schema: schema.to_owned(), user: user.to_owned() }
    }

    #[test]
    fn the_older_of_two_has_the_name() {
        let all = [tenant("old", "s", 1), tenant("young", "s", 2)];
        let asked = |tenant: &TenantControlPlane| taken(tenant, "default", &names(tenant).unwrap(), &all);
        assert_eq!(asked(&all[0]), None);
        assert_eq!(asked(&all[1]), Some("spec.dataStoreSchema"));
        assert_eq!(taken(&all[1], "elsewhere", &names(&all[1]).unwrap(), &all), None);
        assert_eq!(taken(&all[1], "default", &identity("mine", "user-old"), &all), Some("spec.dataStoreUsername"));
    }

    #[test]
    fn a_name_that_a_tenant_has_is_not_given_to_an_older_one_that_asks_later() {
        let mut young = TenantControlPlane::clone(&tenant("young", "s", 2));
        young.status.get_or_insert_default().storage.setup.schema = Some("s".to_owned());
        let all = [tenant("old", "s", 1), Arc::new(young)];
        let asked = |tenant: &TenantControlPlane| taken(tenant, "default", &names(tenant).unwrap(), &all);
        assert_eq!(asked(&all[0]), Some("spec.dataStoreSchema"));
        assert_eq!(asked(&all[1]), None);
    }

    #[test]
    fn of_two_made_in_the_same_second_the_one_that_holds_the_name_keeps_it() {
        let waits = |name: &str| {
            let mut tenant = TenantControlPlane::clone(&tenant(name, "s", 1));
            tenant.metadata.finalizers = None;
            Arc::new(tenant)
        };
        // The UID of the one that came later is the smaller one.
        let all = [waits("a"), tenant("b", "s", 1)];
        let asked = |tenant: &TenantControlPlane| taken(tenant, "default", &names(tenant).unwrap(), &all);
        assert_eq!(asked(&all[0]), Some("spec.dataStoreSchema"));
        assert_eq!(asked(&all[1]), None);
    }

    #[test]
    fn a_tenant_whose_datastore_is_not_told_yet_has_its_names_on_all() {
        let mut old = TenantControlPlane::clone(&tenant("old", "s", 1));
        old.spec.data_store = None;
        let all = [Arc::new(old), tenant("young", "s", 2)];
        assert_eq!(taken(&all[1], "default", &identity("s", "mine"), &all), Some("spec.dataStoreSchema"));
    }

    #[test]
    fn nobody_gets_the_uid_of_another_tenant() {
        let all = [tenant("old", "uid-young", 1), tenant("young", "t", 2)];
        let asked = |identity: &StoreIdentity| taken(&all[0], "default", identity, &all);
        assert_eq!(asked(&identity("uid-young", "mine")), Some("spec.dataStoreSchema"));
        assert_eq!(asked(&identity("mine", "uidyoung")), Some("spec.dataStoreUsername"), "as MySQL has it");
        assert_eq!(asked(&identity("uid-old", "uidold")), None);
    }

    #[test]
    fn who_asks_for_a_name_or_for_the_uid_of_another_waits_for_it() {
        let gone = tenant("gone", "s", 1);
        let waits = |schema: &str, user: Option<&str>| {
            let mut tenant = TenantControlPlane::clone(&tenant("waits", schema, 2));
            tenant.spec.data_store_username = user.map(str::to_owned);
            asks_for(&tenant, "uid-gone", told(&gone).as_ref())
        };
        for (schema, user) in [("s", None), ("t", Some("user-gone")), ("uid-gone", None), ("t", Some("uidgone"))] {
            assert!(waits(schema, user), "{schema} {user:?}");
        }
        assert!(!waits("t", Some("user-waits")) && !waits("", None));
        assert!(!asks_for(&gone, "uid-gone", told(&gone).as_ref()), "not for its own");
    }

    #[test]
    fn a_tenant_that_keeps_resources_on_a_second_datastore_is_its_user_too() {
        let mut both = TenantControlPlane::clone(&tenant("both", "s", 1));
        let entry = serde_json::json!([{"resource": "/events", "dataStore": "second"}]);
        both.spec.data_store_overrides = Some(serde_json::from_value(entry).unwrap());
        let all = [Arc::new(both), tenant("other", "t", 2)];
        assert_eq!(taken(&all[1], "second", &identity("s", "mine"), &all), Some("spec.dataStoreSchema"));
    }

    #[test]
    fn a_reserved_name_is_refused_to_all_but_the_one_who_left_it() {
        let (left, new) = (tenant("left", "s", 1), tenant("new", "s", 2));
        let reservations = [Reservation::of(&left, identity("s", "user-left"))];
        let (field, former) = reserved(&new, &identity("s", "other"), &reservations).unwrap();
        assert_eq!((field, former.tenant.as_str()), ("spec.dataStoreSchema", "ns/left"));
        let (field, _) = reserved(&new, &identity("other", "user-left"), &reservations).unwrap();
        assert_eq!(field, "spec.dataStoreUsername");
        assert_eq!(reserved(&new, &identity("other", "other"), &reservations), None);
        assert_eq!(reserved(&left, &identity("s", "user-left"), &reservations), None);
    }

    /// A tenant like this one after a restore, which says that it had this UID.
    fn restored(tenant: &TenantControlPlane, former: &str) -> TenantControlPlane {
        let mut tenant = tenant.clone();
        tenant.metadata.uid = Some("uid-new".to_owned());
        tenant.metadata.finalizers = None;
        tenant.metadata.annotations = Some([(FORMER_UID.to_owned(), former.to_owned())].into());
        tenant
    }

    #[test]
    fn a_restored_tenant_is_not_refused_what_it_left_and_nobody_else_gets_it_by_the_annotation() {
        let left = tenant("left", "s", 1);
        let reservations = [Reservation::of(&left, identity("s", "user-left"))];
        let refused = |tenant: &TenantControlPlane| reserved(tenant, &identity("s", "user-left"), &reservations);
        assert_eq!(refused(&restored(&left, "uid-left")), None);
        assert!(refused(&restored(&left, "uid-other")).is_some(), "it was another one");
        assert!(refused(&restored(&tenant("thief", "s", 2), "uid-left")).is_some(), "it has another name");
        let mut elsewhere = restored(&left, "uid-left");
        elsewhere.metadata.namespace = Some("elsewhere".to_owned());
        assert!(refused(&elsewhere).is_some());
    }

    #[test]
    fn the_restored_tenant_succeeds_the_one_that_left_names_before_it_has_anything() {
        let left = tenant("left", "s", 1);
        let reservation = Reservation::of(&left, identity("s", "user-left"));
        let beside = tenant("beside", "t", 2);
        let found = |tenant: TenantControlPlane| successor(&reservation, &[Arc::clone(&beside), Arc::new(tenant)]);
        assert_eq!(found(restored(&left, "uid-left")).as_deref(), Some("ns/left"));
        assert_eq!(found(restored(&left, "")), None);
        let twice = Reservation { former: Some("uid-first".to_owned()), ..reservation.clone() };
        let again = restored(&left, "uid-first");
        assert_eq!(successor(&twice, &[Arc::new(again)]).as_deref(), Some("ns/left"), "it was restored before as well");
        assert_eq!(found(restored(&tenant("thief", "s", 2), "uid-left")), None);
        let mut going = restored(&left, "uid-left");
        going.metadata.deletion_timestamp = left.metadata.creation_timestamp.clone();
        assert_eq!(found(going), None, "it goes as well");
    }

    #[test]
    fn names_that_a_living_tenant_has_are_nobodys_leftovers() {
        let (left, new) = (tenant("left", "s", 1), tenant("new", "s", 2));
        let reservation = Reservation::of(&left, identity("s", "user-left"));
        assert_eq!(holder("default", &reservation, &[Arc::clone(&left), new]).as_deref(), Some("ns/new"));
        assert_eq!(holder("default", &reservation, &[Arc::clone(&left), tenant("apart", "t", 2)]), None);
        let mut asks = TenantControlPlane::clone(&tenant("asks", "s", 2));
        asks.metadata.finalizers = None;
        assert_eq!(holder("default", &reservation, &[Arc::new(asks)]), None, "it was refused and has nothing");
    }

    #[test]
    fn a_reported_default_is_no_news_and_another_name_is() {
        let mut tenant = TenantControlPlane::clone(&tenant("one", "s", 1));
        tenant.metadata.uid = Some("1-2".to_owned());
        tenant.spec.data_store_username = None;
        let before = told(&tenant);
        let setup = &mut tenant.status.get_or_insert_default().storage.setup;
        setup.schema = Some("s".to_owned());
        setup.user = Some("12".to_owned());
        assert_eq!(told(&tenant), before, "as MySQL has it");
        tenant.status.get_or_insert_default().storage.setup.user = Some("other".to_owned());
        assert_ne!(told(&tenant), before);
    }
}
