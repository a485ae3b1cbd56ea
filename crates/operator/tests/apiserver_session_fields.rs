//! For every optional field that shows in a tenant's own cluster: set it and see it there, remove it and see it gone.
//! The session and the tenant's API server are real.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod fields;
mod session;

use std::{fmt::Debug, net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::ConfigMap,
    },
};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_operator::tenant::Wish;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    exposed::Exposed,
    resolve::{self, Observed},
    tenant_cluster::{self, TenantCluster},
};
use kamaji_testkit::{
    api_server::{ApiServer, Options},
    wait::wait_for,
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use fields::{
    patch,
    tenant_cluster::{TenantField, TenantKind, agent_deployment_fields, tenant_fields},
};
use session::{Side, address, wish};

/// A field shows within milliseconds; this is for a machine that is busy with something else.
const QUICK: Duration = Duration::from_secs(10);

/// What a tenant with this specification has in its cluster.
fn plan(spec: &Value) -> TenantCluster {
    let tenant: TenantControlPlane = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
        "metadata": {"name": "one", "namespace": "tenants", "uid": session::UID},
        "spec": spec,
    }))
    .unwrap();
    let data_store: DataStore = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "default"},
        "spec": {"driver": "etcd", "endpoints": ["etcd-0.etcd:2379"]},
    }))
    .unwrap();
    let observed = Observed { data_store: Some(&data_store), ..Observed::default() };
    let resolved = resolve::resolve(&Arc::new(tenant), &observed).unwrap();
    let exposed = Exposed::new(&resolved, Ipv4Addr::LOCALHOST.into());
    tenant_cluster::plan(&resolved, &exposed, KeyAlgorithm::EcdsaP256, b"")
}

/// A tenant with every addon, whose agents run in this mode.
fn base(mode: &str) -> Value {
    json!({
        "dataStore": "default",
        "controlPlane": {"deployment": {"replicas": 1}, "service": {"serviceType": "ClusterIP"}},
        "kubernetes": {"version": "v1.36.3", "kubelet": {}},
        "networkProfile": {"address": "127.0.0.1", "port": 6443, "serviceCidr": "10.96.0.0/16"},
        "addons": {
            "coreDNS": {},
            "kubeProxy": {},
            "konnectivity": {"server": {"port": 8132}, "agent": {"mode": mode}},
        },
    })
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// What of an object the operator decides, with the texts of a ConfigMap read.
fn wanted<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].clone();
    value.as_object_mut().unwrap().remove("status");
    value["metadata"] = json!({
        "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    // Written by the API server.
    if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
        annotations.remove("deprecated.daemonset.template.generation");
    }
    if let Some(Value::Object(texts)) = value.get_mut("data") {
        for text in texts.values_mut() {
            if let Ok(read) = serde_saphyr::from_str::<Value>(text.as_str().unwrap()) {
                *text = read;
            }
        }
    }
    value
}

struct Bench {
    side: Side,
    wish: Wish,
    client: Client,
    base: Value,
}

impl Bench {
    async fn new(server: &ApiServer, base: Value) -> Self {
        let planned = base.clone();
        let wish = wish(server, address(server), move || plan(&planned));
        let mut side = Side::keeping(&wish);
        side.settled(&wish).await;
        Self { side, wish, client: server.client().unwrap(), base }
    }

    /// The specification is this now.
    fn specify(&mut self, spec: Value) {
        self.wish.plan = Arc::new(move || plan(&spec));
        self.wish.generation = self.wish.generation.map(|generation| generation + 1);
        self.side.keep(&self.wish);
    }

    async fn all<K>(&self) -> Vec<Value>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "kube-system");
        let ours = ListParams::default().labels("kamaji.clastix.io/project=kamaji");
        let all: ObjectList<K> = api.list(&ours).await.unwrap();
        all.iter().map(wanted).collect()
    }

    /// Every object that could show a field, in the order of [`TenantKind`].
    async fn shapes(&self) -> [Vec<Value>; 3] {
        [self.all::<ConfigMap>().await, self.all::<DaemonSet>().await, self.all::<Deployment>().await]
    }

    async fn waited<K>(&self, field: &TenantField) -> Result<(), String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), "kube-system");
        let found = wait_for(&api, field.name, QUICK, |object: &K| field.is_shown(&wanted(object))).await;
        found.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn shows(&self, field: &TenantField) -> Result<(), String> {
        match field.kind {
            TenantKind::ConfigMap => self.waited::<ConfigMap>(field).await,
            TenantKind::DaemonSet => self.waited::<DaemonSet>(field).await,
            TenantKind::Deployment => self.waited::<Deployment>(field).await,
        }
    }

    /// What does not come about is told, so that one run shows all of it.
    async fn set_and_remove(&mut self, field: &TenantField, before: &[Vec<Value>; 3]) -> Result<(), String> {
        let TenantField { path, value, shows, name, .. } = field;
        let mut spec = self.base.clone();
        merge(&mut spec, &patch(path, value.clone())["spec"]);
        let of_kind = &before[field.kind as usize];
        if of_kind.iter().any(|object| object["metadata"]["name"] == *name && field.is_shown(object)) {
            return Err(format!("{path}: {shows} is shown before it is set"));
        }
        self.specify(spec);
        let set = self.shows(field).await;
        self.specify(self.base.clone());
        self.side.settled(&self.wish.clone()).await;
        let after = self.shapes().await;
        set.map_err(|last| format!("set {path} = {value}: {last}"))?;
        if after == *before { Ok(()) } else { Err(format!("remove {path}: {after:?}; wanted {before:?}")) }
    }

    async fn set_and_remove_each(&mut self, fields: &[TenantField]) {
        let before = self.shapes().await;
        let mut failures = Vec::new();
        for field in fields {
            failures.extend(self.set_and_remove(field, &before).await.err());
        }
        assert!(failures.is_empty(), "{} fields:\n{}", failures.len(), failures.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_tenants_cluster_shows_when_set_and_goes_when_removed() {
    let range = "--service-cluster-ip-range=10.96.0.0/16".to_owned();
    let server = ApiServer::start_with(Options { extra_args: vec![range], ..Options::default() }).await.unwrap();
    for (mode, fields) in [("DaemonSet", tenant_fields()), ("Deployment", agent_deployment_fields())] {
        Bench::new(&server, base(mode)).await.set_and_remove_each(&fields).await;
    }
}
