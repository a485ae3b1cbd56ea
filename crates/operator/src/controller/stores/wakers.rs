//! Who is woken by what a watch tells.
//!
//! A wake-up costs a pass, so what this process wrote itself, and what changes nothing for the one to be woken, wakes
//! nobody.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{DataStore, TenantControlPlane, contract};
use kamaji_plan::{
    claim::{self, is_held, used_store},
    control_plane::names::TenantSecret,
    placement::Place,
    reservation::Reservation,
    resolve::StoreIdentity,
};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use super::{Cache, Seen, Stores, Wake, data_store_names, object_key};
use crate::{
    controller::{keyring::Keyring, names},
    process::Process,
    tenant::Sessions,
};

/// What the watch of tenants does.
pub struct Tenants {
    process: Process,
    stores: Stores,
    wake: Wake,
    keyring: Arc<Keyring>,
    sessions: Arc<Sessions>,
    known: HashMap<String, Known>,
}

/// What DataStores and other tenants must learn of a tenant, and what is needed when it is gone.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    uid: String,
    uses: BTreeSet<String>,
    /// It may have something on a datastore.
    held: bool,
    counted: Option<String>,
    names: Option<StoreIdentity>,
}

impl Known {
    fn of(tenant: &TenantControlPlane) -> Self {
        Self {
            uid: tenant.uid().unwrap_or_default(),
            uses: data_store_names(tenant),
            held: is_held(tenant),
            counted: used_store(tenant),
            names: claim::told(tenant),
        }
    }

    /// Whether somebody else may now have a name, on one of the DataStores at least, that was this tenant's before.
    fn frees(&self, now: &Self) -> bool {
        let was_undecided = self.held && self.counted.is_none();
        let left = self.counted.is_some() && self.counted != now.counted;
        self.uid != now.uid
            || self.names != now.names
            || left
            || (was_undecided && now.counted.is_some())
            || !self.uses.is_subset(&now.uses)
    }
}

impl Tenants {
    pub fn new(
        process: &Process,
        stores: &Stores,
        wake: &Wake,
        keyring: &Arc<Keyring>,
        sessions: &Arc<Sessions>,
    ) -> Self {
        let (process, stores, wake) = (process.clone(), stores.clone(), wake.clone());
        let (keyring, sessions) = (Arc::clone(keyring), Arc::clone(sessions));
        Self { process, stores, wake, keyring, sessions, known: HashMap::new() }
    }

    pub fn saw(&mut self, seen: &Seen<'_, TenantControlPlane>) {
        match seen {
            Seen::There(tenant) => {
                self.learn(tenant);
                if !self.stores.tenants.recent.echoes(tenant) {
                    self.wake(tenant);
                }
            }
            Seen::Gone(tenant) => {
                self.stores.tenants.recent.deleted(tenant);
                self.forget(&object_key(*tenant));
                // A standby leaves it to the leader.
                if self.process.leadership.is_held() && self.stores.vanished.saw(tenant) {
                    let _ = self.wake.tenants.send(ObjectRef::from_obj(*tenant));
                }
            }
            Seen::Listed => {
                let there = self.stores.tenants.store.state();
                let keys: BTreeSet<String> = there.iter().map(|tenant| object_key(tenant.as_ref())).collect();
                let gone: Vec<String> = self.known.keys().filter(|key| !keys.contains(*key)).cloned().collect();
                for key in &*gone {
                    self.forget(key);
                }
                for tenant in &there {
                    self.learn(tenant);
                    self.wake(tenant);
                }
            }
        }
    }

    fn wake(&self, tenant: &TenantControlPlane) {
        let _ = self.wake.tenants.send(ObjectRef::from_obj(tenant));
    }

    fn learn(&mut self, tenant: &TenantControlPlane) {
        let known = Known::of(tenant);
        let before = self.known.insert(object_key(tenant), known.clone());
        if before.as_ref() == Some(&known) {
            return;
        }
        if let Some(before) = &before {
            if before.uid != known.uid {
                self.sessions.stop(&before.uid);
            }
            if before.frees(&known) {
                self.wake_heirs(before);
            }
        }
        let former = before.map(|before| before.uses).unwrap_or_default();
        self.recount(former.union(&known.uses));
    }

    fn forget(&mut self, key: &str) {
        self.process.progress.forgotten(names::TENANT_CONTROL_PLANE, key);
        if let Some(known) = self.known.remove(key) {
            self.keyring.drop_tenant(&known.uid);
            self.sessions.stop(&known.uid);
            self.wake_heirs(&known);
            self.recount(&known.uses);
        }
    }

    /// Whoever was refused a name because it was this tenant's. What its DataStore says of its users is no help: others
    /// come and go with it, and a UID is nobody else's name on any DataStore.
    fn wake_heirs(&self, former: &Known) {
        for tenant in self.stores.tenants.store.state() {
            if claim::asks_for(&tenant, &former.uid, former.names.as_ref()) {
                self.wake(&tenant);
            }
        }
    }

    /// DataStores report who uses them.
    fn recount<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            let _ = self.wake.data_stores.send(ObjectRef::new(name));
        }
    }
}

/// What the watch of DataStores does.
pub struct DataStores {
    stores: Stores,
    wake: Wake,
    known: HashMap<String, KnownStore>,
}

/// What tenants must learn of a DataStore.
#[derive(PartialEq, Eq)]
struct Verdict {
    generation: Option<i64>,
    ready: bool,
    reserved: usize,
    labels: BTreeMap<String, String>,
    limit: Option<String>,
}

/// What is known of a DataStore, and how many tenants it has: only fewer are news to the others.
struct KnownStore {
    verdict: Verdict,
    tenants: usize,
}

impl DataStores {
    pub fn new(stores: &Stores, wake: &Wake) -> Self {
        Self { stores: stores.clone(), wake: wake.clone(), known: HashMap::new() }
    }

    pub fn saw(&mut self, seen: &Seen<'_, DataStore>) {
        match seen {
            Seen::There(data_store) => {
                if !self.stores.data_stores.recent.echoes(data_store) {
                    let _ = self.wake.data_stores.send(ObjectRef::from_obj(*data_store));
                }
                self.learn(data_store);
            }
            Seen::Gone(data_store) => {
                self.stores.data_stores.recent.deleted(data_store);
                let _ = self.wake.data_stores.send(ObjectRef::from_obj(*data_store));
                self.forget(&data_store.name_any());
            }
            Seen::Listed => {
                let there = self.stores.data_stores.store.state();
                let names: BTreeSet<String> = there.iter().map(|data_store| data_store.name_any()).collect();
                let gone: Vec<String> = self.known.keys().filter(|name| !names.contains(*name)).cloned().collect();
                for name in &*gone {
                    self.forget(name);
                }
                for data_store in &there {
                    let _ = self.wake.data_stores.send(ObjectRef::from_obj(data_store.as_ref()));
                    self.learn(data_store);
                }
            }
        }
    }

    fn learn(&mut self, data_store: &DataStore) {
        let name = data_store.name_any();
        let now = KnownStore { verdict: verdict(data_store), tenants: occupants(data_store) };
        let told = match self.known.get(&name).filter(|before| before.verdict == now.verdict) {
            None => self.stores.concerned(&name),
            Some(before) if now.tenants < before.tenants => self.stores.waiting(&name),
            Some(_) => Vec::new(),
        };
        self.known.insert(name, now);
        self.tell(told);
    }

    fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.tell(self.stores.concerned(name));
    }

    fn tell(&self, tenants: Vec<ObjectRef<TenantControlPlane>>) {
        for tenant in tenants {
            let _ = self.wake.tenants.send(tenant);
        }
    }
}

fn verdict(data_store: &DataStore) -> Verdict {
    Verdict {
        generation: data_store.metadata.generation,
        ready: data_store.status.as_ref().is_some_and(|status| status.ready),
        reserved: Reservation::all(data_store).len(),
        labels: data_store.labels().clone(),
        limit: data_store.annotations().get(contract::annotations::TENANT_LIMIT).cloned(),
    }
}

fn occupants(data_store: &DataStore) -> usize {
    let reported = data_store.status.as_ref().and_then(|status| status.used_by.as_ref()).map_or(0, Vec::len);
    Place::all(data_store).len() + reported
}

/// Wakes the tenant that owns an object; `lost` is told of each object that goes away.
pub fn owned<K>(
    stores: &Stores,
    wake: &Wake,
    cache: &Arc<Cache<K>>,
    lost: impl Fn(&K) + Send + 'static,
) -> impl FnMut(Seen<'_, K>) + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (tenants, wake, cache) = (Arc::clone(&stores.tenants), wake.tenants.clone(), Arc::clone(cache));
    move |seen| {
        let object = match seen {
            Seen::There(object) if cache.recent.echoes(object) => return,
            Seen::There(object) => object,
            Seen::Gone(object) => {
                cache.recent.deleted(object);
                lost(object);
                object
            }
            Seen::Listed => {
                for tenant in tenants.store.state() {
                    let _ = wake.send(ObjectRef::from_obj(tenant.as_ref()));
                }
                return;
            }
        };
        let namespace = object.namespace().unwrap_or_default();
        for tenant in tenants_of(object) {
            let _ = wake.send(ObjectRef::new(tenant).within(&namespace));
        }
    }
}

/// The tenant that owns an object, or that a label names: whichever somebody took off by hand, the other is there.
fn tenants_of<K: Resource>(object: &K) -> BTreeSet<&str> {
    let owners = object.owner_references().iter().filter(|owner| owner.kind == "TenantControlPlane");
    let named = object.labels().get(contract::labels::NAME);
    owners.map(|owner| owner.name.as_str()).chain(named.map(String::as_str)).collect()
}

/// Keeps a tenant's Secret that goes away before a pass has looked at it: the event is the last copy.
pub fn rescue(keyring: &Keyring, tenants: &Cache<TenantControlPlane>, secret: &Secret) {
    let name = secret.name_any();
    for owner in secret.owner_references() {
        // When the tenant itself goes, its Secrets are to go too.
        let lives = tenants.get(secret.namespace().as_deref(), &owner.name).is_some_and(|tenant| {
            tenant.uid().as_ref() == Some(&owner.uid) && tenant.metadata.deletion_timestamp.is_none()
        });
        let which = TenantSecret::ALL.into_iter().find(|which| which.name(&owner.name) == name);
        if let Some(which) = which.filter(|_| lives && owner.api_version == contract::API_VERSION) {
            keyring.rescue(&owner.uid, which, secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant_control_plane::DataStoreOverride;

    use super::*;

    /// A tenant that has its place on the DataStore `one`, and keeps resources on `two`.
    fn tenant() -> TenantControlPlane {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.uid = Some("uid".to_owned());
        tenant.metadata.finalizers = Some(vec![contract::finalizers::DATASTORE.to_owned()]);
        tenant.spec.data_store_schema = Some("schema".to_owned());
        let entry = DataStoreOverride { data_store: Some("two".to_owned()), ..DataStoreOverride::default() };
        tenant.spec.data_store_overrides = Some(vec![entry]);
        tenant.status.get_or_insert_default().storage.data_store_name = Some("one".to_owned());
        tenant
    }

    fn frees(before: &TenantControlPlane, change: impl FnOnce(&mut TenantControlPlane)) -> bool {
        let mut now = before.clone();
        change(&mut now);
        Known::of(before).frees(&Known::of(&now))
    }

    #[test]
    fn names_are_free_for_others_when_they_change_or_their_place_does() {
        let placed = tenant();
        assert!(frees(&placed, |now| now.metadata.uid = Some("other".to_owned())));
        assert!(frees(&placed, |now| now.spec.data_store_schema = Some("other".to_owned())));
        assert!(frees(&placed, |now| now.spec.data_store_overrides = None));
        let elsewhere = Some("three".to_owned());
        assert!(frees(&placed, |now| now.status.get_or_insert_default().storage.data_store_name = elsewhere));
        let mut undecided = tenant();
        undecided.status = None;
        assert!(frees(&undecided, |now| now.status = tenant().status), "until then they were taken everywhere");
    }

    #[test]
    fn a_tenant_on_its_way_frees_nothing() {
        let mut new = tenant();
        new.status = None;
        new.metadata.finalizers = None;
        new.spec.data_store = Some("one".to_owned());
        assert!(!frees(&new, |_| {}));
        assert!(!frees(&new, |now| now.metadata.finalizers = tenant().metadata.finalizers));
        new.metadata.finalizers = tenant().metadata.finalizers;
        assert!(!frees(&new, |now| now.status = tenant().status));
        assert!(!frees(&tenant(), |now| now.spec.data_store = Some("one".to_owned())));
    }
}
