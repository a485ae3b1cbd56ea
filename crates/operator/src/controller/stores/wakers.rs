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
    claim::{self, used_store},
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

/// What DataStores must learn of a tenant, and what is needed when it is gone.
#[derive(PartialEq, Eq)]
struct Known {
    uid: String,
    uses: BTreeSet<String>,
    counted: Option<String>,
    names: Option<StoreIdentity>,
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
        // A standby takes up nothing, however long its queue: that is no reason to call it stuck.
        if self.process.leadership.is_held() {
            self.process.progress.queued(names::TENANT_CONTROL_PLANE, object_key(tenant));
        }
        let _ = self.wake.tenants.send(ObjectRef::from_obj(tenant));
    }

    fn learn(&mut self, tenant: &TenantControlPlane) {
        let known = Known {
            uid: tenant.uid().unwrap_or_default(),
            uses: data_store_names(tenant),
            counted: used_store(tenant),
            names: claim::told(tenant),
        };
        let before = self.known.get(&object_key(tenant));
        if before == Some(&known) {
            return;
        }
        if let Some(before) = before.filter(|before| before.uid != known.uid) {
            self.sessions.stop(&before.uid);
        }
        let former = before.map(|before| before.uses.clone()).unwrap_or_default();
        self.recount(former.union(&known.uses));
        self.known.insert(object_key(tenant), known);
    }

    fn forget(&mut self, key: &str) {
        self.process.progress.forgotten(names::TENANT_CONTROL_PLANE, key);
        if let Some(known) = self.known.remove(key) {
            self.keyring.drop_tenant(&known.uid);
            self.sessions.stop(&known.uid);
            self.recount(&known.uses);
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
        let now = KnownStore { verdict: verdict(data_store), tenants: occupants(data_store) };
        let before = self.known.get(&data_store.name_any());
        let news = before.is_none_or(|before| before.verdict != now.verdict || now.tenants < before.tenants);
        self.known.insert(data_store.name_any(), now);
        if news {
            self.tell(&data_store.name_any());
        }
    }

    fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.tell(name);
    }

    fn tell(&self, name: &str) {
        for tenant in self.stores.concerned(name) {
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
