//! A server that is away, hangs, has no quorum, or comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kamaji_datastore::{Error, Store};
use kamaji_testkit::ports;

use crate::{Etcd, Options, connection, secure, store, tenant};

/// Asks as a caller does: not before the circuit says so.
async fn until_it_answers(store: &Arc<dyn Store>) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        tokio::time::sleep(store.retry_after().unwrap_or_default()).await;
        match store.probe().await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < deadline, "it does not come back: {error}"),
        }
    }
}

#[tokio::test]
async fn a_dead_endpoint_among_several_costs_nothing_but_a_warning() {
    let etcd = secure().await;
    let dead = format!("127.0.0.1:{}", ports::free().unwrap());
    let mut connection = connection(&etcd);
    connection.endpoints.insert(0, dead.clone());
    let store = kamaji_datastore::open(&connection).unwrap();

    store.ensure_tenant(&tenant("a", "user-a")).await.unwrap();
    let health = store.probe().await.unwrap();
    assert!(health.silent.keys().eq(&[0]) && health.warnings.is_empty(), "{health:?}");
    assert!(health.sentences()[0].contains(&dead), "{health:?}");
    assert_eq!(store.retry_after(), None);
}

#[tokio::test]
async fn only_dead_endpoints_are_all_named() {
    let dead: Vec<String> = (0..2).map(|_| format!("127.0.0.1:{}", ports::free().unwrap())).collect();
    let etcd = secure().await;
    let mut connection = connection(&etcd);
    connection.endpoints.clone_from(&dead);
    let store = kamaji_datastore::open(&connection).unwrap();
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.category(), "unreachable");
    for endpoint in &dead {
        assert!(error.to_string().contains(endpoint), "{error}");
    }
}

#[tokio::test]
async fn a_hanging_server_fails_within_the_timeout_then_at_once_and_heals() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();

    etcd.pause().unwrap();
    let started = Instant::now();
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let (store, tenant) = (store.clone(), tenant.clone());
            tokio::spawn(async move { store.is_set_up(&tenant).await })
        })
        .collect();
    let mut first = None;
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        first = Some(error);
    }
    assert!(started.elapsed() < Duration::from_secs(9), "24 callers took {:?}", started.elapsed());

    let started = Instant::now();
    assert!(store.retry_after().is_some());
    let again = store.is_set_up(&tenant).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(100), "the circuit took {:?}", started.elapsed());
    assert_eq!(again.to_string(), first.unwrap().to_string());

    etcd.resume().unwrap();
    until_it_answers(&store).await;
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert_eq!(store.retry_after(), None);
}

#[tokio::test]
async fn a_server_that_hangs_before_the_handshake_fails_within_the_connect_timeout() {
    let etcd = secure().await;
    etcd.pause().unwrap();
    let started = Instant::now();
    let error = store(&etcd).probe().await.unwrap_err();
    assert_eq!(error.category(), "timeout", "{error}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    etcd.resume().unwrap();
}

#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();
    etcd.stop().await.unwrap();
    etcd.restart().await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_until_it_is_back() {
    let mut etcd = secure().await;
    let store = store(&etcd);
    store.probe().await.unwrap();
    etcd.stop().await.unwrap();
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.category(), "unreachable", "{error}");
    etcd.restart().await.unwrap();
    until_it_answers(&store).await;
}

#[tokio::test]
async fn one_lost_member_of_three_is_not_noticed_and_two_are_an_outage() {
    let mut etcd = Etcd::start(Options { members: 3, ..Options::secure() }).await.unwrap();
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();

    etcd.stop_member(0).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());

    etcd.stop_member(1).await.unwrap();
    let error = store.is_set_up(&tenant).await.unwrap_err();
    assert!(["timeout", "unavailable"].contains(&error.category()), "{error}");
    assert!(store.retry_after().is_some());

    etcd.restart().await.unwrap();
    until_it_answers(&store).await;
    assert!(store.is_set_up(&tenant).await.unwrap());
}
