//! When the operator has come to rest, and what it wrote until then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::TenantControlPlane;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Operator, SOON};

/// What an operator's metrics count since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Write requests by verb, those that were never sent left out.
    pub writes: BTreeMap<String, u64>,
    /// Passes over tenants that ended.
    pub passes: u64,
    /// Passes over DataStores that ended.
    pub store_passes: u64,
}

/// Reads the metrics; waits for a process that has just been started.
pub async fn counts(operator: &Operator) -> Counts {
    let began = Instant::now();
    loop {
        match scrape(operator.metrics_port()).await {
            Ok(text) => return parse(&text),
            Err(error) if began.elapsed() > SOON => panic!("no metrics: {error}\n{}", operator.log()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The metrics of a port of 127.0.0.1, as text.
pub async fn scrape(port: u16) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

fn parse(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<u64>() else { continue };
        if let Some(labels) = name.strip_prefix("kamaji_writes_total") {
            let verb = labels.split("verb=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            if value > 0 {
                *counts.writes.entry(verb.to_owned()).or_default() += value;
            }
        } else if name.starts_with("controller_runtime_reconcile_total") {
            if name.contains("controller=\"tenantcontrolplane\"") {
                counts.passes += value;
            } else if name.contains("controller=\"datastore\"") {
                counts.store_passes += value;
            }
        }
    }
    counts
}

/// Waits until the metrics are as wanted.
pub async fn counted(operator: &Operator, wanted: impl Fn(&Counts) -> bool) -> Counts {
    let began = Instant::now();
    loop {
        let counts = counts(operator).await;
        if wanted(&counts) {
            return counts;
        }
        assert!(began.elapsed() < SOON, "{counts:?}\n{}", operator.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Touches a tenant in a way that asks for nothing, so that another pass looks at it.
pub async fn poke(client: &Client, namespace: &str, name: &str) {
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), namespace);
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos().to_string();
    let patch = json!({"metadata": {"annotations": {"test/poke": stamp}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// Lets a pass look at each of these tenants; gives how often the operator wrote meanwhile.
pub async fn writes_of_one_more_pass(operator: &Operator, client: &Client, namespace: &str, names: &[&str]) -> u64 {
    let before = counts(operator).await;
    for name in names {
        poke(client, namespace, name).await;
    }
    let wanted = before.passes + names.len() as u64;
    let after = counted(operator, |counts| counts.passes >= wanted).await;
    after.writes.values().sum::<u64>() - before.writes.values().sum::<u64>()
}

/// Waits until passes over these tenants find nothing to write any more, twice in a row.
pub async fn settle(operator: &Operator, client: &Client, namespace: &str, names: &[&str]) {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < 2 {
        if writes_of_one_more_pass(operator, client, namespace, names).await == 0 {
            quiet += 1;
        } else {
            quiet = 0;
            assert!(began.elapsed() < SOON, "it goes on writing\n{}", operator.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Takes everything out of a tenant's status.
pub async fn blank_status(client: &Client, namespace: &str, name: &str) {
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), namespace);
    let patch = json!([{"op": "remove", "path": "/status"}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// What differs between two answers of [`versions`], tenants left out: their status is written anew.
pub fn changed_beside_tenants(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before.keys().chain(after.keys()).collect::<BTreeSet<_>>();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    changed.filter(|name| !name.starts_with("TenantControlPlane/")).cloned().collect()
}

/// Resource versions of everything in a namespace that the operator writes, by kind and name.
pub async fn versions(client: &Client, namespace: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    collect::<TenantControlPlane>(client, namespace, &mut all).await;
    collect::<Deployment>(client, namespace, &mut all).await;
    collect::<Service>(client, namespace, &mut all).await;
    collect::<ConfigMap>(client, namespace, &mut all).await;
    collect::<Secret>(client, namespace, &mut all).await;
    all.retain(|name, _| name != "ConfigMap/kube-root-ca.crt");
    all
}

async fn collect<K>(client: &Client, namespace: &str, all: &mut BTreeMap<String, String>)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    for object in Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap() {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        all.insert(name, object.resource_version().unwrap());
    }
}
