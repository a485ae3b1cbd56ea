//! A SQL server or NATS goes away or hangs: its tenants and its DataStore say so, others do not notice, and all go on by
//! themselves. Real servers, simulated pods; etcd has `apiserver_outage`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod datastores;
mod support;

use std::time::{Duration, Instant};

use datastores::{
    Store, gone, is_well, login,
    servers::{Held, hold},
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_datastore::Driver;
use kamaji_testkit::fault_proxy::{FaultProxy, Mode};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;
use support::stage::{Stage, Subject};

/// A server behind a proxy, its DataStore and its tenants.
struct Behind {
    // In this order: what goes through the proxy ends before it.
    store: Store,
    runs: Subject,
    leaves: Option<Subject>,
    proxy: FaultProxy,
    live: Held,
}

impl Behind {
    async fn start(stage: &Stage, driver: Driver) -> Self {
        let live = hold(driver).await;
        let proxy = FaultProxy::start(live.server().unwrap().address()).await.unwrap();
        let store =
            Store::create(stage, &live, "away", |spec| spec["endpoints"] = json!([proxy.address().to_string()])).await;
        store.is_ready().await;
        let runs = store.tenant(stage, "runs").await;
        // A NATS server holds one tenant.
        let leaves = if driver == Driver::Nats { None } else { Some(store.tenant(stage, "leaves").await) };
        Self { store, runs, leaves, proxy, live }
    }

    /// Takes the server away, and sees what is said and done meanwhile.
    async fn is_away(&self, stage: &Stage, mode: Mode) -> Option<Subject> {
        self.proxy.set(mode).await.unwrap();
        let began = Instant::now();
        let address = self.proxy.address().to_string();
        let waits = match self.leaves {
            None => None,
            Some(_) => Some(stage.created("waits", &self.store.name, |_| {}).await),
        };
        let reason = if mode == Mode::Hang { "ConnectionTimeout" } else { "ConnectionFailed" };
        let sentence = self.store.says(reason, &[&address]).await;
        println!("{} {mode:?}: said after {:?}: {sentence}", self.store.driver, began.elapsed());
        let sentence = self.runs.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        assert!(sentence.contains(&self.store.name), "{sentence}");
        // What needs no datastore is still looked after.
        self.runs.delete::<ConfigMap>("runs-kubeadmconfig").await;
        let config = self.runs.secret("datastore-config").await;
        self.runs.delete::<Secret>(&config.name_any()).await;
        assert_eq!(self.runs.secret("datastore-config").await.data, config.data);
        let tenant: TenantControlPlane = self.runs.api().get("runs").await.unwrap();
        let all = tenant.status.unwrap().conditions.unwrap();
        assert!(conditions::is_true(&all, conditions::READY), "its pods run");
        waits
    }

    /// Brings it back, and sees everything go on.
    async fn is_back(&self, waits: Option<&Subject>) {
        self.proxy.set(Mode::Pass).await.unwrap();
        let began = Instant::now();
        self.store.is_ready().await;
        for subject in waits.into_iter().chain([&self.runs]) {
            is_well(subject).await;
            self.live.write_as(&login(subject).await).await.unwrap();
        }
        println!("{}: all went on after {:?}", self.store.driver, began.elapsed());
        assert_eq!(self.runs.templates().await, 1, "an outage rolls nothing");
    }
}

/// How long it takes until a deleted ConfigMap is back: what a tenant feels of the operator.
async fn latency(subject: &Subject) -> Duration {
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(subject.delete::<ConfigMap>("there-kubeadmconfig").await);
    }
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_away_or_hang_hold_up_their_own_tenants_only() {
    let stage = Stage::shared().await;
    let there = stage.created("there", "default", |_| {}).await;
    is_well(&there).await;
    let (postgres, mariadb, nats) = tokio::join!(
        Behind::start(stage, Driver::PostgreSql),
        Behind::start(stage, Driver::MySql),
        Behind::start(stage, Driver::Nats)
    );
    let all = [&postgres, &mariadb, &nats];
    let usual = latency(&there).await;
    let began = Instant::now();
    let modes = [Mode::Hang, Mode::Refuse, Mode::Hang];
    let waits = all.iter().zip(modes).map(|(behind, mode)| behind.is_away(stage, mode));
    let waits = futures::future::join_all(waits).await;
    let leaving: Vec<&Subject> = all.iter().filter_map(|behind| behind.leaves.as_ref()).collect();
    for subject in &leaving {
        let tenants = subject.api::<TenantControlPlane>();
        tenants.delete(&subject.name, &DeleteParams::default()).await.unwrap();
    }
    // A new tenant elsewhere, and one that is looked after.
    let new = stage.created("new", "default", |_| {}).await;
    is_well(&new).await;
    println!("another tenant was Ready {:?} after the servers went", began.elapsed());
    let meanwhile = latency(&there).await;
    println!("elsewhere: {usual:?} before, {meanwhile:?} meanwhile, {:.1} times", ratio(meanwhile, usual));
    let waits: Vec<Option<&Subject>> = waits.iter().map(Option::as_ref).collect();
    futures::future::join_all(all.iter().zip(&waits).map(|(behind, waits)| behind.is_back(*waits))).await;
    futures::future::join_all(leaving.iter().map(|subject| gone(subject))).await;
    let rest = waits.into_iter().flatten().chain(all.iter().map(|behind| &behind.runs));
    futures::future::join_all(rest.map(datastores::remove)).await;
    for behind in all {
        behind.store.is_used_by(&[]).await;
    }
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
