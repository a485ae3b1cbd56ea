//! The watches of the process: one per kind, shared by every controller, and what they wake.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{DataStore, TenantControlPlane, contract};
use kamaji_apply::store;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;

use super::recent::Recent;
use crate::process::progress::Progress;

/// One kind: what its watch has seen, and what this process wrote since.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// What the watch has seen.
    pub store: Store<K>,
    /// What this process wrote.
    pub recent: Recent<K>,
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Cache<K> {
    fn new(store: Store<K>) -> Arc<Self> {
        Arc::new(Self { store, recent: Recent::default() })
    }

    /// The newest known state of an object.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        let key = match namespace {
            Some(namespace) => key.within(namespace),
            None => key,
        };
        self.recent.newest(&self.store, &key)
    }
}

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
}

/// Where a watch sends whom it wakes.
#[derive(Clone)]
pub struct Wake {
    /// Tenants to observe again.
    pub tenants: UnboundedSender<ObjectRef<TenantControlPlane>>,
    /// DataStores to observe again.
    pub data_stores: UnboundedSender<ObjectRef<DataStore>>,
}

type Watching = BoxStream<'static, ()>;

impl Stores {
    /// Starts nothing by itself: the returned stream is the watches, and must be polled for as long as the process
    /// runs.
    pub fn watch(client: &Client, progress: &Progress, wake: &Wake, gone: impl Fn(&str) + Clone + Send + 'static) -> (Self, Watching) {
        let selector = format!("{}={}", contract::labels::PROJECT, contract::labels::PROJECT_VALUE);
        let (tenants, tenant_events) = open::<TenantControlPlane>(client, None);
        let (data_stores, data_store_events) = open::<DataStore>(client, None);
        let (secrets, secret_events) = open::<Secret>(client, Some(&selector));
        let (config_maps, config_map_events) = open::<ConfigMap>(client, Some(&selector));
        let (services, service_events) = open::<Service>(client, Some(&selector));
        let (deployments, deployment_events) = open::<Deployment>(client, Some(&selector));
        let stores = Self { tenants, data_stores, secrets, config_maps, services, deployments };

        let own = {
            let wake = wake.clone();
            let progress = progress.clone();
            let stores = stores.clone();
            move |tenant: &TenantControlPlane, deleted: bool| {
                for name in data_store_names(tenant) {
                    let _ = wake.data_stores.send(ObjectRef::new(&name));
                }
                let key = ObjectRef::from_obj(tenant);
                if deleted {
                    progress.forgotten(super::tenant_control_plane::CONTROLLER, object_key(tenant));
                    stores.tenants.recent.deleted(tenant);
                    gone(&tenant.uid().unwrap_or_default());
                } else {
                    progress.queued(super::tenant_control_plane::CONTROLLER, object_key(tenant));
                    let _ = wake.tenants.send(key);
                }
            }
        };
        let used = {
            let wake = wake.clone();
            let stores = stores.clone();
            move |data_store: &DataStore, _deleted: bool| {
                let name = data_store.name_any();
                let _ = wake.data_stores.send(ObjectRef::from_obj(data_store));
                for tenant in stores.tenants.store.state() {
                    let named = tenant.spec.data_store.is_none() || data_store_names(&tenant).contains(&name);
                    if named {
                        let _ = wake.tenants.send(ObjectRef::from_obj(tenant.as_ref()));
                    }
                }
            }
        };
        let streams = [
            pump("TenantControlPlanes", progress, tenant_events, own),
            pump("DataStores", progress, data_store_events, used),
            pump("Secrets", progress, secret_events, owned(wake, &stores.secrets)),
            pump("ConfigMaps", progress, config_map_events, owned(wake, &stores.config_maps)),
            pump("Services", progress, service_events, owned(wake, &stores.services)),
            pump("Deployments", progress, deployment_events, owned(wake, &stores.deployments)),
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
}

/// DataStores that a tenant uses or asks for.
pub fn data_store_names(tenant: &TenantControlPlane) -> BTreeSet<String> {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.clone());
    let overrides = tenant.spec.data_store_overrides.iter().flatten().filter_map(|entry| entry.data_store.clone());
    tenant.spec.data_store.clone().into_iter().chain(reported).chain(overrides).filter(|name| !name.is_empty()).collect()
}

/// `namespace/name`, as progress and logs have it.
pub fn object_key<K: Resource>(object: &K) -> String {
    match &object.meta().namespace {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

type Events<K> = BoxStream<'static, Result<Event<K>, store::Error>>;

fn open<K>(client: &Client, selector: Option<&str>) -> (Arc<Cache<K>>, Events<K>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let (store, events) = store::watch(api, selector, contract::FIELD_MANAGER);
    (Cache::new(store), events)
}

/// Wakes the tenant that owns an object.
fn owned<K>(wake: &Wake, cache: &Arc<Cache<K>>) -> impl Fn(&K, bool) + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let wake = wake.clone();
    let cache = Arc::clone(cache);
    move |object, deleted| {
        if deleted {
            cache.recent.deleted(object);
        }
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        for owner in object.meta().owner_references.iter().flatten() {
            if owner.kind == "TenantControlPlane" {
                let _ = wake.tenants.send(ObjectRef::new(&owner.name).within(&namespace));
            }
        }
    }
}

fn pump<K>(
    what: &'static str,
    progress: &Progress,
    events: Events<K>,
    on_change: impl Fn(&K, bool) + Send + 'static,
) -> Watching
where
    K: Send + 'static,
{
    let watch = progress.watch(what);
    events
        .map(move |event| match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => on_change(&object, false),
            Ok(Event::Delete(object)) => on_change(&object, true),
            Ok(Event::Init) => {}
            Ok(Event::InitDone) => watch.ready(),
            Err(error @ store::Error::Malformed { .. }) => tracing::warn!(%error, "an object is left out"),
            Err(error) => {
                watch.broken(&error);
                tracing::warn!(%error, "a watch was interrupted");
            }
        })
        .boxed()
}
