//! DataStores whose logins and certificates are in Secrets, on real servers, and tenants on them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod servers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{ConfigMap, Secret},
        events::v1::Event,
    },
};
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_datastore::Driver;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use self::servers::{Live, Login};
use crate::support::{
    SOON, phase,
    settle::versions,
    stage::{Stage, Subject},
};

pub const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";

/// A DataStore, and the Secrets that it refers to.
pub struct Store {
    pub name: String,
    pub driver: Driver,
    client: Client,
    /// Where its Secrets are.
    namespace: String,
}

impl Store {
    /// One for this server, ready to use.
    pub async fn ready(stage: &Stage, live: &Live, name: &str) -> Self {
        let store = Self::create(stage, live, name, |_| {}).await;
        store.is_ready().await;
        store
    }

    /// One for this server; `change` may edit its specification.
    pub async fn create(stage: &Stage, live: &Live, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let client = stage.cluster.api_server().client().unwrap();
        let namespace = stage.cluster.api_server().namespace().await.unwrap();
        let name = format!("{name}-{}", live.driver().as_str().to_ascii_lowercase());
        let store = Self { name, driver: live.driver(), client, namespace };
        let authority = live.authority().identity();
        let tls = json!({
            "ca.crt": authority.certificate,
            "ca.key": authority.key,
            "client.crt": live.client().certificate,
            "client.key": live.client().key,
        });
        store.create_secret("tls", &tls).await;
        let mut spec = json!({
            "driver": live.driver().as_str(),
            "endpoints": [live.endpoint()],
            "tlsConfig": {
                "certificateAuthority": {"certificate": store.reference("tls", "ca.crt")},
                "clientCertificate": {
                    "certificate": store.reference("tls", "client.crt"),
                    "privateKey": store.reference("tls", "client.key"),
                },
            },
        });
        if live.driver() == Driver::Etcd {
            spec["tlsConfig"]["certificateAuthority"]["privateKey"] = store.reference("tls", "ca.key");
        }
        if let Some((username, password)) = live.admin() {
            store.create_secret("login", &json!({"username": username, "password": password})).await;
            let [username, password] = ["username", "password"].map(|key| store.reference("login", key));
            spec["basicAuth"] = json!({"username": username, "password": password});
        }
        change(&mut spec);
        let object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "DataStore",
            "metadata": {"name": store.name},
            "spec": spec,
        });
        let object: DataStore = serde_json::from_value(object).unwrap();
        store.api().create(&PostParams::default(), &object).await.unwrap();
        store
    }

    fn reference(&self, secret: &str, key: &str) -> Value {
        let name = format!("{}-{secret}", self.name);
        json!({"secretReference": {"name": name, "namespace": self.namespace, "keyPath": key}})
    }

    async fn create_secret(&self, name: &str, data: &Value) {
        let name = format!("{}-{name}", self.name);
        let secret = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data})).unwrap();
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn api(&self) -> Api<DataStore> {
        Api::all(self.client.clone())
    }

    pub async fn get(&self) -> DataStore {
        self.api().get(&self.name).await.unwrap()
    }

    pub async fn patch(&self, patch: Value) {
        self.api().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Changes keys of one of its Secrets, `login` or `tls`; null takes one away.
    pub async fn change(&self, secret: &str, data: Value) {
        let encode = |value: Value| match value {
            Value::String(text) => serde_json::to_value(ByteString(text.into_bytes())).unwrap(),
            other => other,
        };
        let data: BTreeMap<String, Value> = serde_json::from_value::<BTreeMap<String, Value>>(data)
            .unwrap()
            .into_iter()
            .map(|(k, v)| (k, encode(v)))
            .collect();
        let patch = Patch::Merge(json!({"data": data}));
        let name = format!("{}-{secret}", self.name);
        self.secrets().patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until it can be used.
    pub async fn is_ready(&self) {
        let ready = |data_store: &DataStore| data_store.status.as_ref().is_some_and(|status| status.ready);
        wait_for(&self.api(), &self.name, SOON, ready).await.unwrap();
    }

    /// Waits until it says what is wrong with it, in a condition and an Event, with each of `words`.
    pub async fn says(&self, reason: &'static str, words: &[&str]) -> String {
        let said = |data_store: &DataStore| {
            let status = data_store.status.as_ref().filter(|status| !status.ready)?;
            let found = conditions::find(status.conditions.as_deref()?, VALIDATION)?;
            (found.status == "False" && found.reason == reason).then(|| found.message.clone())
        };
        let all: Vec<String> = words.iter().map(ToString::to_string).collect();
        let as_wanted = |data_store: &DataStore| {
            said(data_store).is_some_and(|message| all.iter().all(|word| message.contains(word)))
        };
        let found = wait_for(&self.api(), &self.name, SOON, as_wanted).await;
        let sentence = said(&found.unwrap_or_else(|error| panic!("{reason} with {words:?}: {error}"))).unwrap();
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let told = events.list(&ListParams::default()).await.unwrap().into_iter().any(|event| {
            let regards = event.regarding.and_then(|object| object.name);
            regards.as_ref() == Some(&self.name) && event.reason.as_deref() == Some(reason)
        });
        assert!(told, "no Event {reason} about {}", self.name);
        sentence
    }

    /// Waits until exactly these tenants, `namespace/name`, are said to use it.
    pub async fn is_used_by(&self, tenants: &[&Subject]) {
        let mut users: Vec<String> =
            tenants.iter().map(|subject| format!("{}/{}", subject.namespace, subject.name)).collect();
        users.sort();
        let as_wanted = |data_store: &DataStore| {
            let status = data_store.status.as_ref();
            status.and_then(|status| status.used_by.clone()).unwrap_or_default() == users
        };
        wait_for(&self.api(), &self.name, SOON, as_wanted).await.unwrap();
    }

    /// Waits until it is said to be kept for exactly these tenants, `namespace/name`; gives the sentence.
    pub async fn keeps(&self, tenants: &[String]) -> String {
        let said = |data_store: &DataStore| {
            let all = data_store.status.as_ref()?.conditions.as_deref()?;
            let found = conditions::find(all, "kamaji.clastix.io/DataStoreAllowedDeletion")?;
            (found.status == "False" && found.reason == "DataStoreStillUsed").then(|| found.message.clone())
        };
        let mut tenants = tenants.to_vec();
        tenants.sort();
        let named = |data_store: &DataStore| {
            said(data_store).is_some_and(|message| message.contains(&tenants.join(", ")))
                && data_store.status.as_ref().unwrap().used_by.as_ref() == Some(&tenants)
        };
        let found = wait_for(&self.api(), &self.name, SOON, named).await.unwrap_or_else(|error| panic!("{error}"));
        said(&found).unwrap()
    }

    /// A tenant on it, at rest, in a namespace of its own.
    pub async fn tenant(&self, stage: &Stage, name: &str) -> Subject {
        let subject = stage.created(name, &self.name, |_| {}).await;
        is_well(&subject).await;
        rests(&subject).await;
        subject
    }
}

/// Waits until nothing is wrong with a tenant.
pub async fn is_well(subject: &Subject) {
    phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    let well = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let is = |kind| conditions::is_true(all, kind);
        is(conditions::READY) && !is(conditions::STALLED) && !is(conditions::DEGRADED) && !is(conditions::PROGRESSING)
    };
    subject.back(&subject.name, well).await;
}

/// Waits until passes over a tenant change nothing of it, twice in a row. Others may be at work beside it, so what is
/// deleted comes back to tell that there was a pass.
pub async fn rests(subject: &Subject) {
    let told = format!("{}-kubeadmconfig", subject.name);
    let rest = async || {
        let mut all = versions(&subject.client, &subject.namespace).await;
        all.retain(|name, _| !name.starts_with("TenantControlPlane/") && !name.starts_with("ConfigMap/"));
        all
    };
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < 2 {
        let before = rest().await;
        subject.delete::<ConfigMap>(&told).await;
        quiet = if rest().await == before { quiet + 1 } else { 0 };
        assert!(began.elapsed() < SOON, "{} does not come to rest", subject.name);
    }
}

/// The same on several kinds of datastore at once: most of the time is spent waiting.
pub async fn on_each(drivers: &[Driver], test: impl AsyncFn(Driver)) {
    futures::future::join_all(drivers.iter().map(|driver| Box::pin(test(*driver)))).await;
}

/// All four.
pub const ALL: [Driver; 4] = [Driver::Etcd, Driver::PostgreSql, Driver::MySql, Driver::Nats];
/// Those where a tenant has a login with a password of its own.
pub const SQL: [Driver; 2] = [Driver::PostgreSql, Driver::MySql];

/// Deletes a tenant and waits until it is gone.
pub async fn remove(subject: &Subject) {
    let tenants = subject.api::<TenantControlPlane>();
    tenants.delete(&subject.name, &DeleteParams::default()).await.unwrap();
    gone(subject).await;
}

/// Waits until a deleted tenant is gone.
pub async fn gone(subject: &Subject) {
    let tenants = subject.api::<TenantControlPlane>();
    wait_for_deletion(&tenants, &subject.name, None, SOON).await.unwrap_or_else(|error| panic!("{error}"));
}

/// What a tenant's pods are given.
pub async fn login(subject: &Subject) -> Login {
    let config = subject.secret("datastore-config").await;
    let certificate = subject.secret("datastore-certificate").await;
    let pair = (text(&certificate, "server.crt"), text(&certificate, "server.key"));
    Login {
        schema: text(&config, "DB_SCHEMA"),
        user: text(&config, "DB_USER"),
        password: text(&config, "DB_PASSWORD"),
        certificate: (!pair.0.is_empty()).then_some(pair),
    }
}

/// A value of a Secret; empty when it is not there.
pub fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    String::from_utf8(value.map(|value| value.0.clone()).unwrap_or_default()).unwrap()
}

/// Waits until this holds of something that has no watch.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "it does not come: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}
