//! The watches of the process: one per kind, shared by every controller, and what they wake.

mod wakers;

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{DataStore, TenantControlPlane, contract};
use kamaji_apply::store;
use kamaji_plan::{override_record, placement::Place, stored::was_set_up};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;

use super::{cache::Cache, keyring::Keyring, vanished::Vanished};
use crate::{
    process::{Process, progress::Progress},
    tenant::Sessions,
};

/// Everything that controllers read.
#[derive(Clone)]
pub struct Stores {
    /// All tenants.
    pub tenants: Arc<Cache<TenantControlPlane>>,
    /// All DataStores.
    pub data_stores: Arc<Cache<DataStore>>,
    /// Secrets with the project label.
    pub secrets: Arc<Cache<Secret>>,
    /// ConfigMaps with the project label.
    pub config_maps: Arc<Cache<ConfigMap>>,
    /// Services with the project label.
    pub services: Arc<Cache<Service>>,
    /// Deployments with the project label.
    pub deployments: Arc<Cache<Deployment>>,
    /// Tenants that went without being taken down.
    pub vanished: Arc<Vanished>,
}

/// Where a watch sends whom it wakes.
#[derive(Clone)]
pub struct Wake {
    /// Tenants to observe again.
    pub tenants: UnboundedSender<ObjectRef<TenantControlPlane>>,
    /// DataStores to observe again.
    pub data_stores: UnboundedSender<ObjectRef<DataStore>>,
}

/// The running watches: polled for as long as the process runs.
pub(super) type Watching = BoxStream<'static, ()>;

/// What a watch tells.
pub(super) enum Seen<'a, K> {
    /// The object is new or changed.
    There(&'a K),
    /// The object is gone.
    Gone(&'a K),
    /// The store was filled anew: of what came, changed or went in between, nothing else is said.
    Listed,
}

impl Stores {
    /// Starts nothing by itself: the returned stream is the watches, and must be polled for as long as the process
    /// runs. Secrets that go away are kept in `keyring`, and tenants that are gone leave it, and their sessions end.
    pub fn watch(process: &Process, wake: &Wake, keyring: &Arc<Keyring>, sessions: &Arc<Sessions>) -> (Self, Watching) {
        let (client, progress) = (&process.client, &process.progress);
        let selector = format!("{}={}", contract::labels::PROJECT, contract::labels::PROJECT_VALUE);
        let (tenants, tenant_events) = open::<TenantControlPlane>(client, None);
        let (data_stores, data_store_events) = open::<DataStore>(client, None);
        let (secrets, secret_events) = open::<Secret>(client, Some(&selector));
        let (config_maps, config_map_events) = open::<ConfigMap>(client, Some(&selector));
        let (services, service_events) = open::<Service>(client, Some(&selector));
        let (deployments, deployment_events) = open::<Deployment>(client, Some(&selector));
        let vanished = Arc::default();
        let stores = Self { tenants, data_stores, secrets, config_maps, services, deployments, vanished };

        let mut tenants = wakers::Tenants::new(process, &stores, wake, keyring, sessions);
        let mut data_stores = wakers::DataStores::new(&stores, wake);
        let rescue = {
            let (keyring, tenants) = (Arc::clone(keyring), Arc::clone(&stores.tenants));
            move |secret: &Secret| wakers::rescue(&keyring, &tenants, secret)
        };
        let streams = [
            pump("TenantControlPlanes", progress, tenant_events, move |seen| tenants.saw(&seen)),
            pump("DataStores", progress, data_store_events, move |seen| data_stores.saw(&seen)),
            pump("Secrets", progress, secret_events, wakers::owned(&stores, wake, &stores.secrets, rescue)),
            pump("ConfigMaps", progress, config_map_events, wakers::owned(&stores, wake, &stores.config_maps, |_| {})),
            pump("Services", progress, service_events, wakers::owned(&stores, wake, &stores.services, |_| {})),
            pump("Deployments", progress, deployment_events, wakers::owned(&stores, wake, &stores.deployments, |_| {})),
        ];
        (stores, futures::stream::select_all(streams).boxed())
    }

    /// Waits until every store holds its initial list.
    pub async fn ready(&self) {
        // A writer is dropped only when the process ends.
        let _ = self.tenants.store.wait_until_ready().await;
        let _ = self.data_stores.store.wait_until_ready().await;
        let _ = self.secrets.store.wait_until_ready().await;
        let _ = self.config_maps.store.wait_until_ready().await;
        let _ = self.services.store.wait_until_ready().await;
        let _ = self.deployments.store.wait_until_ready().await;
    }

    /// Tenants that must look at a DataStore which changed: who uses or names it, who is recorded there, and who has yet
    /// to be given one.
    pub fn concerned(&self, data_store: &str) -> Vec<ObjectRef<TenantControlPlane>> {
        let all = self.tenants.store.state();
        let recorded = self.data_stores.get(None, data_store).map(|live| recorded(&live)).unwrap_or_default();
        let is_recorded =
            |tenant: &TenantControlPlane| tenant.metadata.uid.as_ref().is_some_and(|uid| recorded.contains(uid));
        let concerned = all.iter().filter(|tenant| concerns(tenant, data_store) || is_recorded(tenant));
        concerned.map(|tenant| ObjectRef::from_obj(tenant.as_ref())).collect()
    }

    /// Tenants that may have waited for room on a DataStore: who has its place there keeps it, and needs no other's.
    pub fn waiting(&self, data_store: &str) -> Vec<ObjectRef<TenantControlPlane>> {
        let all = self.tenants.store.state();
        let waiting = all.iter().filter(|tenant| !was_set_up(tenant) && concerns(tenant, data_store));
        waiting.map(|tenant| ObjectRef::from_obj(tenant.as_ref())).collect()
    }
}

/// UIDs of the tenants that have a place on a DataStore, or keep resources there that they once named it for.
fn recorded(data_store: &DataStore) -> BTreeSet<String> {
    let places = Place::all(data_store).into_iter().map(|place| place.uid);
    places.chain(override_record::uids(data_store).map(str::to_owned)).collect()
}

fn concerns(tenant: &TenantControlPlane, data_store: &str) -> bool {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.as_deref());
    let is_undecided = [tenant.spec.data_store.as_deref(), reported].into_iter().flatten().all(str::is_empty);
    is_undecided || data_store_names(tenant).contains(data_store)
}

/// DataStores that a tenant uses or asks for.
pub fn data_store_names(tenant: &TenantControlPlane) -> BTreeSet<String> {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.clone());
    let overrides = tenant.spec.data_store_overrides.iter().flatten().filter_map(|entry| entry.data_store.clone());
    tenant
        .spec
        .data_store
        .clone()
        .into_iter()
        .chain(reported)
        .chain(overrides)
        .filter(|name| !name.is_empty())
        .collect()
}

/// `namespace/name`, as progress and logs have it.
pub fn object_key<K: Resource>(object: &K) -> String {
    key(object.meta().namespace.as_deref(), &object.name_any())
}

/// As [`object_key`], of an object that is known by its name.
pub fn key(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// What the watch of one kind tells.
pub(super) type Events<K> = BoxStream<'static, Result<Event<K>, store::Error>>;

fn open<K>(client: &Client, selector: Option<&str>) -> (Arc<Cache<K>>, Events<K>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let (store, events) = store::watch(api, selector, contract::FIELD_MANAGER);
    (Cache::new(store), events)
}

/// Tells `on_change` what a watch tells, and `progress` how the watch is.
pub(super) fn pump<K>(
    what: &'static str,
    progress: &Progress,
    events: Events<K>,
    mut on_change: impl FnMut(Seen<'_, K>) + Send + 'static,
) -> Watching
where
    K: Send + 'static,
{
    let watch = progress.watch(what);
    let mut told = false;
    events
        .map(move |event| match event {
            // The store is as it was until the list is complete.
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(event) => {
                watch.ready();
                told = false;
                match event {
                    Event::Apply(object) => on_change(Seen::There(&object)),
                    Event::Delete(object) => on_change(Seen::Gone(&object)),
                    Event::Init | Event::InitApply(_) | Event::InitDone => on_change(Seen::Listed),
                }
            }
            Err(error @ store::Error::Malformed { .. }) => tracing::warn!(%error, "an object is left out"),
            Err(error) => {
                watch.broken(&error);
                // Once: it is tried every few seconds for as long as the API server is away.
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "a watch was interrupted");
                }
            }
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant_control_plane::DataStoreOverride;

    use super::*;

    #[test]
    fn an_object_has_the_same_key_whether_it_is_at_hand_or_only_named() {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.name = Some("t".to_owned());
        assert_eq!(key(None, "t"), object_key(&tenant));
        tenant.metadata.namespace = Some("ns".to_owned());
        assert_eq!(key(Some("ns"), "t"), object_key(&tenant));
    }

    #[test]
    fn who_is_recorded_on_a_datastore_is_found_without_naming_it() {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.uid = Some("kept".to_owned());
        let mut placed = TenantControlPlane::default();
        placed.metadata.uid = Some("placed".to_owned());
        let place = Place::of(&placed);
        let mut data_store: DataStore = serde_json::from_value(serde_json::json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "it"},
            "spec": {"driver": "etcd", "endpoints": ["a:1"]},
        }))
        .unwrap();
        assert!(recorded(&data_store).is_empty());
        let records = [(override_record::key(&tenant), override_record::value(&tenant)), (place.key(), place.value())];
        data_store.metadata.annotations = Some(records.into());
        assert_eq!(recorded(&data_store), ["kept", "placed"].map(str::to_owned).into());
    }

    #[test]
    fn a_datastore_concerns_who_uses_or_names_it_and_who_has_yet_to_be_given_one() {
        let concerned = |named: Option<&str>, reported: Option<&str>, other: Option<&str>| {
            let mut tenant = TenantControlPlane::default();
            tenant.spec.data_store = named.map(str::to_owned);
            let entry =
                |name: &str| DataStoreOverride { data_store: Some(name.to_owned()), ..DataStoreOverride::default() };
            tenant.spec.data_store_overrides = other.map(|name| vec![entry(name)]);
            tenant.status.get_or_insert_default().storage.data_store_name = reported.map(str::to_owned);
            concerns(&tenant, "it")
        };
        for (named, reported) in [(None, None), (Some(""), None), (None, Some("")), (Some(""), Some(""))] {
            assert!(concerned(named, reported, None), "{named:?} {reported:?}");
        }
        for (named, reported) in [(Some("it"), None), (None, Some("it")), (Some("other"), Some("it"))] {
            assert!(concerned(named, reported, None), "{named:?} {reported:?}");
        }
        for (named, reported) in [(Some("other"), None), (None, Some("other")), (Some(""), Some("other"))] {
            assert!(!concerned(named, reported, None), "{named:?} {reported:?}");
            assert!(concerned(named, reported, Some("it")), "{named:?} {reported:?}");
        }
    }
}
