//! A session whose tenant moves, and sessions beside tenants that hang, with real API servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod session;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_plan::{status::tenant::TenantState, tenant_cluster::TenantCluster};
use kamaji_testkit::{
    api_server::ApiServer,
    fault_proxy::{FaultProxy, Mode},
    wait::wait_for,
};
use kube::{Api, Client, ResourceExt as _, api::DeleteParams};
use serde_json::json;

use session::{Counter, SOON, Side, address, object, one_of_each, versions, wish};

/// What the operator promises.
const BACK: Duration = Duration::from_secs(5);

fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "kube-system")
}

/// Deletes the ConfigMap `addon`, and waits until it is back; gives how long that took.
async fn is_put_back(client: &Client) -> Duration {
    let api = config_maps(client);
    let uid = api.get("addon").await.unwrap().uid();
    let began = Instant::now();
    api.delete("addon", &DeleteParams::default()).await.unwrap();
    wait_for(&api, "addon", SOON, |found| found.uid() != uid).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_follows_its_tenant_to_another_port_and_another_server() {
    let (first, second) = tokio::join!(ApiServer::start(), ApiServer::start());
    let (first, second) = (first.unwrap(), second.unwrap());
    let (here, there) = (first.client().unwrap(), second.client().unwrap());
    let (old_port, new_port) = (Counter::start(address(&first)).await, Counter::start(address(&first)).await);
    let mut all = wish(&first, old_port.address, one_of_each);
    let mut side = Side::keeping(&all);
    side.settled(&all).await;
    let (before, writes) = (versions(&here).await, side.writes());

    all.endpoint.address = new_port.address;
    all.generation = Some(2);
    side.keep(&all);
    side.settled(&all).await;
    assert_eq!((old_port.connections(), new_port.connections()), (1, 1));
    assert_eq!(versions(&here).await, before);
    assert_eq!(side.writes(), writes, "the same server is looked at, not written to");
    assert!(is_put_back(&here).await < BACK);

    let mut moved = wish(&second, address(&second), one_of_each);
    moved.generation = Some(3);
    side.keep(&moved);
    side.settled(&moved).await;
    assert_eq!(versions(&there).await.len(), 11);
    config_maps(&here).delete("addon", &DeleteParams::default()).await.unwrap();
    // Twice: long enough for somebody who still kept the first one.
    for _ in 0..2 {
        assert!(is_put_back(&there).await < BACK);
    }
    assert!(config_maps(&here).get_opt("addon").await.unwrap().is_none(), "nobody keeps the first one any more");
    assert_eq!((old_port.connections(), new_port.connections()), (1, 1));
}

/// More than may hold their plan in memory at the same time.
const HANGING: usize = 70;

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_hang_hold_up_no_other() {
    let (hangs, healthy) = tokio::join!(ApiServer::start(), ApiServer::start());
    let (hangs, healthy) = (hangs.unwrap(), healthy.unwrap());
    let client = healthy.client().unwrap();
    let proxy = FaultProxy::start(address(&hangs)).await.unwrap();
    let mut side = Side::new();
    side.keep(&wish(&healthy, address(&healthy), one_of_each));
    side.reports(|report| report.state == TenantState::Settled).await;
    assert!(is_put_back(&client).await < BACK);

    // They share a server and agree about it: what counts is that each has a session.
    let planned = Arc::new(AtomicUsize::new(0));
    let small = |value: &'static str| {
        let planned = Arc::clone(&planned);
        move || {
            planned.fetch_add(1, Ordering::Relaxed);
            let config_map = object("kube-system", "shared", json!({"data": {"key": value}}));
            TenantCluster { config_maps: vec![config_map], ..TenantCluster::default() }
        }
    };
    let uids: Vec<String> = (0..HANGING).map(|index| format!("hangs-{index}")).collect();
    let mut all = wish(&hangs, proxy.address(), small("before"));
    for uid in &uids {
        side.keep_as(uid, &all);
    }
    for uid in &uids {
        side.reports_as(uid, |report| report.state == TenantState::Settled).await;
    }

    // One, which never gets an answer: neither over its connection nor over a new one.
    proxy.set(Mode::Hang).await.unwrap();
    let changed = wish(&hangs, proxy.address(), small("after"));
    all.plan = changed.plan;
    all.generation = Some(2);
    side.keep_as(&uids[0], &all);
    let took = is_put_back(&client).await;
    assert!(took < BACK, "{took:?} beside one that hangs");

    // All of them: no turn is left.
    let before = planned.load(Ordering::Relaxed);
    for uid in &uids[1..] {
        side.keep_as(uid, &all);
    }
    let began = Instant::now();
    // Each plans once to see what is wanted, and once more when it has its turn; 64 have one.
    while planned.load(Ordering::Relaxed) < before + (HANGING - 1) + 60 {
        assert!(began.elapsed() < BACK, "{} plans", planned.load(Ordering::Relaxed) - before);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = is_put_back(&client).await;
    assert!(took < BACK, "{took:?} beside {HANGING} that hang");
    println!("{took:?} beside {HANGING} that hang");

    proxy.set(Mode::Pass).await.unwrap();
    all.rollout.updated = 2;
    for uid in &uids {
        side.keep_as(uid, &all);
    }
    for uid in &uids {
        side.reports_as(uid, |report| report.state == TenantState::Settled && report.generation == Some(2)).await;
    }
    let shared = config_maps(&hangs.client().unwrap()).get("shared").await.unwrap();
    assert_eq!(shared.data.unwrap()["key"], "after");
}
