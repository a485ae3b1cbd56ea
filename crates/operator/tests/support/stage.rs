//! A cluster with an operator, and tenants on it, for tests that do something to them.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, Instant},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Secret,
        events::v1::Event,
    },
};
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_testkit::{cluster::Cluster, etcd::Etcd, wait::wait_for};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Operator, SOON, create, data_store, phase, settle::settle, tenant};

/// A cluster with one operator and one DataStore, `default`.
pub struct Stage {
    pub operator: Operator,
    pub cluster: Cluster,
    pub etcd: Etcd,
}

impl Stage {
    /// For a test that restarts or stops what others need.
    pub async fn start() -> Self {
        let cluster = Cluster::start(&kamaji_api::crd::all().unwrap()).await.unwrap();
        let etcd = data_store(&cluster.api_server().client().unwrap(), "default").await;
        let operator = Operator::start(cluster.api_server(), &[]);
        Self { operator, cluster, etcd }
    }

    /// For tests that leave the operator alone.
    pub async fn shared() -> &'static Self {
        static STAGE: OnceCell<Stage> = OnceCell::const_new();
        STAGE.get_or_init(Self::start).await
    }

    /// A tenant at rest, in a namespace of its own.
    pub async fn tenant(&self, name: &str) -> Subject {
        let subject = self.created(name, "default", |_| {}).await;
        phase(&subject.client, &subject.namespace, name, "Ready").await;
        settle(&self.operator, &subject.client, &subject.namespace, &[name]).await;
        subject
    }

    /// A tenant that was just created, in a namespace of its own; `change` may edit its specification.
    pub async fn created(&self, name: &str, data_store: &str, change: impl FnOnce(&mut Value)) -> Subject {
        let client = self.cluster.api_server().client().unwrap();
        let namespace = self.cluster.api_server().namespace().await.unwrap();
        create(&client, &tenant(&namespace, name, data_store, change)).await;
        Subject { client, namespace, name: name.to_owned() }
    }
}

/// A tenant.
pub struct Subject {
    pub client: Client,
    pub namespace: String,
    pub name: String,
}

impl Subject {
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn secrets(&self) -> BTreeMap<String, Secret> {
        let all = self.api::<Secret>().list(&ListParams::default()).await.unwrap();
        all.into_iter().map(|secret| (secret.name_any(), secret)).collect()
    }

    pub async fn secret(&self, suffix: &str) -> Secret {
        self.api().get(&format!("{}-{suffix}", self.name)).await.unwrap()
    }

    pub async fn deployment(&self) -> Deployment {
        self.api().get(&self.name).await.unwrap()
    }

    /// How many pod templates its Deployment has had.
    pub async fn templates(&self) -> usize {
        self.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items.len()
    }

    pub async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let by = PatchParams { field_manager: Some("by-hand".to_owned()), ..PatchParams::default() };
        self.api::<K>().patch(name, &by, &Patch::Merge(&patch)).await.unwrap();
    }

    pub async fn json_patch<K>(&self, name: &str, operations: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations).unwrap());
        self.api::<K>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until an object is as wanted; gives how long that took.
    pub async fn back<K>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> Duration
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + Serialize
            + 'static,
    {
        let began = Instant::now();
        wait_for(&self.api::<K>(), name, SOON, wanted).await.unwrap();
        began.elapsed()
    }

    pub async fn delete<K>(&self, name: &str) -> Duration
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + Serialize
            + 'static,
    {
        let uid = self.api::<K>().get(name).await.unwrap().meta().uid.clone();
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
        self.back::<K>(name, |found| found.meta().uid != uid && found.meta().deletion_timestamp.is_none()).await
    }

    pub async fn condition(&self, kind: &'static str, reason: &'static str) -> String {
        let is = move |tenant: &TenantControlPlane| {
            let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            conditions::find(all, kind).filter(|found| found.status == "True" && found.reason == reason).cloned()
        };
        let found = wait_for(&self.api(), &self.name, SOON, move |tenant| is(tenant).is_some()).await.unwrap();
        is(&found).unwrap().message
    }

    /// As [`Subject::events`], when there is one.
    pub async fn told(&self, reason: &str) -> Vec<String> {
        let began = Instant::now();
        loop {
            let events = self.events(reason).await;
            if !events.is_empty() {
                return events;
            }
            assert!(began.elapsed() < SOON, "no Event {reason} about {}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Notes of the Events about the tenant with this reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let all = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let wanted = all.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        wanted
            .filter(|event| event.regarding.as_ref().unwrap().name.as_ref() == Some(&self.name))
            .filter_map(|event| event.note)
            .collect()
    }
}
