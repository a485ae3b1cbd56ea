//! The watches of this controller, and what they wake.

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::{DataStore, EtcdCluster, contract};
use kamaji_apply::store;
use kamaji_plan::etcd_cluster::names;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde::de::DeserializeOwned;

use super::CONTROLLER;
use crate::{
    controller::cache::Cache,
    process::{Process, progress::Progress},
};

/// Everything that this controller reads.
pub struct Stores {
    /// All EtcdClusters.
    pub clusters: Arc<Cache<EtcdCluster>>,
    /// All DataStores: one of somebody else may have the name.
    pub data_stores: Arc<Cache<DataStore>>,
    /// Secrets of EtcdClusters.
    pub secrets: Arc<Cache<Secret>>,
    /// Their ConfigMaps.
    pub config_maps: Arc<Cache<ConfigMap>>,
    /// Their Services.
    pub services: Arc<Cache<Service>>,
    /// Their PodDisruptionBudgets.
    pub disruption_budgets: Arc<Cache<PodDisruptionBudget>>,
    /// Their StatefulSets.
    pub stateful_sets: Arc<Cache<StatefulSet>>,
    /// Their pods.
    pub pods: Arc<Cache<Pod>>,
    /// Their claims.
    pub claims: Arc<Cache<PersistentVolumeClaim>>,
}

/// EtcdClusters to observe again.
pub type Wakes = BoxStream<'static, ObjectRef<EtcdCluster>>;

impl Stores {
    /// Opens the watches. The stores are as new as the last poll of the stream.
    pub fn watch(process: &Process, namespace: &str) -> (Self, Wakes) {
        let (client, progress) = (&process.client, &process.progress);
        let (clusters, cluster_wakes) = {
            let queued = process.clone();
            open(client, progress, "EtcdClusters", None, move |cluster: &EtcdCluster, deleted| {
                let name = cluster.name_any();
                if deleted {
                    queued.progress.forgotten(CONTROLLER, &*name);
                } else if queued.leadership.is_held() {
                    // A standby takes up nothing, so that nothing waits for it.
                    queued.progress.queued(CONTROLLER, &*name);
                }
                Some(name)
            })
        };
        let (data_stores, data_store_wakes) =
            open(client, progress, "DataStores", None, |store: &DataStore, _| Some(store.name_any()));
        let here = Some(namespace);
        let (secrets, secret_wakes) = open::<Secret>(client, progress, "etcd Secrets", here, labelled);
        let (config_maps, config_map_wakes) = open::<ConfigMap>(client, progress, "etcd ConfigMaps", here, labelled);
        let (services, service_wakes) = open::<Service>(client, progress, "etcd Services", here, labelled);
        let (disruption_budgets, budget_wakes) =
            open::<PodDisruptionBudget>(client, progress, "etcd PodDisruptionBudgets", here, labelled);
        let (stateful_sets, set_wakes) = open::<StatefulSet>(client, progress, "etcd StatefulSets", here, labelled);
        let (pods, pod_wakes) = open::<Pod>(client, progress, "etcd Pods", here, labelled);
        let (claims, claim_wakes) =
            open::<PersistentVolumeClaim>(client, progress, "etcd PersistentVolumeClaims", here, labelled);
        let wakes = futures::stream::select_all([
            cluster_wakes,
            data_store_wakes,
            secret_wakes,
            config_map_wakes,
            service_wakes,
            budget_wakes,
            set_wakes,
            pod_wakes,
            claim_wakes,
        ]);
        let stores = Self {
            clusters,
            data_stores,
            secrets,
            config_maps,
            services,
            disruption_budgets,
            stateful_sets,
            pods,
            claims,
        };
        (stores, wakes.boxed())
    }

    /// Waits until every store holds its initial list.
    pub async fn ready(&self) {
        // A writer is dropped only when the process ends.
        let _ = self.clusters.store.wait_until_ready().await;
        let _ = self.data_stores.store.wait_until_ready().await;
        let _ = self.secrets.store.wait_until_ready().await;
        let _ = self.config_maps.store.wait_until_ready().await;
        let _ = self.services.store.wait_until_ready().await;
        let _ = self.disruption_budgets.store.wait_until_ready().await;
        let _ = self.stateful_sets.store.wait_until_ready().await;
        let _ = self.pods.store.wait_until_ready().await;
        let _ = self.claims.store.wait_until_ready().await;
    }
}

fn labelled<K: Resource>(object: &K, _deleted: bool) -> Option<String> {
    object.meta().labels.as_ref()?.get(names::LABEL).cloned()
}

/// Watches one kind: in a namespace what carries our label, or all of a cluster-scoped one.
fn open<K>(
    client: &Client,
    progress: &Progress,
    what: &'static str,
    namespace: Option<&str>,
    wakes: impl Fn(&K, bool) -> Option<String> + Send + 'static,
) -> (Arc<Cache<K>>, Wakes)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K: Watchable,
{
    let api: Api<DeserializeGuard<K>> = K::api(client.clone(), namespace);
    let (store, events) = store::watch(api, namespace.map(|_| names::LABEL), contract::FIELD_MANAGER);
    let cache = Cache::new(store);
    let written = Arc::clone(&cache);
    let watch = progress.watch(what);
    let events = events.filter_map(move |event| {
        let woken = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => wakes(&object, false),
            Ok(Event::Delete(object)) => {
                written.recent.deleted(&object);
                wakes(&object, true)
            }
            Ok(Event::Init) => None,
            Ok(Event::InitDone) => {
                watch.ready();
                None
            }
            Err(error @ store::Error::Malformed { .. }) => {
                tracing::warn!(%error, "an object is left out");
                None
            }
            Err(error) => {
                watch.broken(&error);
                tracing::warn!(%error, "a watch was interrupted");
                None
            }
        };
        std::future::ready(woken.map(|name| ObjectRef::new(&name)))
    });
    (cache, events.boxed())
}

/// Where the objects of a kind are.
trait Watchable: Resource<DynamicType = ()> + Sized {
    fn api(client: Client, namespace: Option<&str>) -> Api<DeserializeGuard<Self>>;
}

macro_rules! namespaced {
    ($($kind:ty),+) => { $(
        impl Watchable for $kind {
            fn api(client: Client, namespace: Option<&str>) -> Api<DeserializeGuard<Self>> {
                match namespace {
                    Some(namespace) => Api::namespaced(client, namespace),
                    None => Api::all(client),
                }
            }
        }
    )+ };
}

macro_rules! cluster_scoped {
    ($($kind:ty),+) => { $(
        impl Watchable for $kind {
            fn api(client: Client, _namespace: Option<&str>) -> Api<DeserializeGuard<Self>> {
                Api::all(client)
            }
        }
    )+ };
}

namespaced!(Secret, ConfigMap, Service, PodDisruptionBudget, StatefulSet, Pod, PersistentVolumeClaim);
cluster_scoped!(EtcdCluster, DataStore);
