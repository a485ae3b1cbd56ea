//! The watches of this controller, and what they wake.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::{DataStore, EtcdCluster, contract};
use kamaji_apply::store;
use kamaji_plan::etcd_cluster::names;
use kube::{Api, Client, Resource, ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::controller::names::ETCD_CLUSTER;
use crate::{
    controller::{
        cache::Cache,
        stores::{Events, Seen, pump},
    },
    process::Process,
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
        let (client, progress, here) = (&process.client, &process.progress, Some(namespace));
        let (clusters, cluster_events) = open::<EtcdCluster>(client, None);
        let (data_stores, data_store_events) = open::<DataStore>(client, None);
        let (secrets, secret_events) = open::<Secret>(client, here);
        let (config_maps, config_map_events) = open::<ConfigMap>(client, here);
        let (services, service_events) = open::<Service>(client, here);
        let (disruption_budgets, budget_events) = open::<PodDisruptionBudget>(client, here);
        let (stateful_sets, set_events) = open::<StatefulSet>(client, here);
        let (pods, pod_events) = open::<Pod>(client, here);
        let (claims, claim_events) = open::<PersistentVolumeClaim>(client, here);

        let (wake, queue) = mpsc::unbounded_channel();
        let waker = Waker { clusters: Arc::clone(&clusters), wake };
        let mut all = Clusters { process: process.clone(), waker: waker.clone(), known: BTreeSet::new() };
        let of_name = |data_store: &DataStore| Some(data_store.name_any());
        let watches = futures::stream::select_all([
            pump("EtcdClusters", progress, cluster_events, move |seen| all.saw(&seen)),
            pump("DataStores", progress, data_store_events, waker.told_by(&data_stores, of_name)),
            pump("etcd Secrets", progress, secret_events, waker.told_by(&secrets, labelled)),
            pump("etcd ConfigMaps", progress, config_map_events, waker.told_by(&config_maps, labelled)),
            pump("etcd Services", progress, service_events, waker.told_by(&services, labelled)),
            pump("etcd PodDisruptionBudgets", progress, budget_events, waker.told_by(&disruption_budgets, labelled)),
            pump("etcd StatefulSets", progress, set_events, waker.told_by(&stateful_sets, labelled)),
            pump("etcd Pods", progress, pod_events, waker.told_by(&pods, labelled)),
            pump("etcd PersistentVolumeClaims", progress, claim_events, waker.told_by(&claims, labelled)),
        ]);
        let watches = watches.filter_map(|()| std::future::ready(None));
        let queue = futures::stream::select(watches, UnboundedReceiverStream::new(queue));
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
        (stores, queue.boxed())
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

/// Who is woken by what a watch tells. What this process wrote itself wakes nobody: whoever wrote has read the answer.
#[derive(Clone)]
struct Waker {
    clusters: Arc<Cache<EtcdCluster>>,
    wake: UnboundedSender<ObjectRef<EtcdCluster>>,
}

impl Waker {
    fn wake(&self, name: &str) {
        let _ = self.wake.send(ObjectRef::new(name));
    }

    /// Wakes the EtcdCluster whose name `of` tells. After a new list it can be any of them: what changed or went in
    /// between is told by no event.
    fn told_by<K>(
        &self,
        cache: &Arc<Cache<K>>,
        of: impl Fn(&K) -> Option<String> + Send + 'static,
    ) -> impl FnMut(Seen<'_, K>) + Send + 'static
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let (waker, cache) = (self.clone(), Arc::clone(cache));
        move |seen| {
            let object = match seen {
                Seen::There(object) if cache.recent.echoes(object) => return,
                Seen::There(object) => object,
                Seen::Gone(object) => {
                    cache.recent.deleted(object);
                    object
                }
                Seen::Listed => {
                    for cluster in waker.clusters.store.state() {
                        waker.wake(&cluster.name_any());
                    }
                    return;
                }
            };
            if let Some(name) = of(object) {
                waker.wake(&name);
            }
        }
    }
}

/// What the watch of EtcdClusters does.
struct Clusters {
    process: Process,
    waker: Waker,
    known: BTreeSet<String>,
}

impl Clusters {
    fn saw(&mut self, seen: &Seen<'_, EtcdCluster>) {
        let cache = Arc::clone(&self.waker.clusters);
        match seen {
            Seen::There(cluster) => {
                self.known.insert(cluster.name_any());
                if !cache.recent.echoes(cluster) {
                    self.waker.wake(&cluster.name_any());
                }
            }
            Seen::Gone(cluster) => {
                cache.recent.deleted(cluster);
                self.known.remove(&cluster.name_any());
                self.process.progress.forgotten(ETCD_CLUSTER, cluster.name_any());
            }
            Seen::Listed => {
                let there = cache.store.state().iter().map(|cluster| cluster.name_any()).collect();
                for gone in self.known.difference(&there) {
                    self.process.progress.forgotten(ETCD_CLUSTER, gone.as_str());
                }
                for name in &there {
                    self.waker.wake(name);
                }
                self.known = there;
            }
        }
    }
}

fn labelled<K: Resource>(object: &K) -> Option<String> {
    object.meta().labels.as_ref()?.get(names::LABEL).cloned()
}

/// Watches one kind: in a namespace what carries our label, or all of a cluster-scoped one.
fn open<K>(client: &Client, namespace: Option<&str>) -> (Arc<Cache<K>>, Events<K>)
where
    K: Watchable + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let api: Api<DeserializeGuard<K>> = K::api(client.clone(), namespace);
    let (store, events) = store::watch(api, namespace.map(|_| names::LABEL), contract::FIELD_MANAGER);
    (Cache::new(store), events)
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

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector::store::Writer, watcher::Event};

    use super::*;

    fn pod(version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some("etcd-one-0".to_owned());
        pod.metadata.resource_version = Some(version.to_owned());
        pod.metadata.labels = Some([(names::LABEL.to_owned(), "one".to_owned())].into());
        pod
    }

    #[test]
    fn an_own_write_wakes_nobody_and_a_new_list_wakes_all() {
        let mut writer = Writer::<EtcdCluster>::default();
        for name in ["one", "two"] {
            let mut cluster = EtcdCluster::default();
            cluster.metadata.name = Some(name.to_owned());
            writer.apply_watcher_event(&Event::Apply(cluster));
        }
        let (wake, mut queue) = mpsc::unbounded_channel();
        let waker = Waker { clusters: Cache::new(writer.as_reader()), wake };
        let pods = Cache::new(Writer::<Pod>::default().as_reader());
        let mut told = waker.told_by(&pods, labelled);
        let mut woken = || {
            let mut names = BTreeSet::new();
            while let Ok(cluster) = queue.try_recv() {
                names.insert(cluster.name);
            }
            names.into_iter().collect::<Vec<_>>()
        };
        pods.recent.wrote(&pod("5"));
        told(Seen::There(&pod("5")));
        assert_eq!(woken(), Vec::<String>::new());
        told(Seen::There(&pod("6")));
        assert_eq!(woken(), ["one"]);
        told(Seen::Gone(&pod("7")));
        assert_eq!(woken(), ["one"]);
        told(Seen::Listed);
        assert_eq!(woken(), ["one", "two"]);
    }
}
