//! A server that is away, hangs, or comes back, seen through a proxy. etcd has its own, in `apiserver_etcd`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kamaji_datastore::{Connection, Store};
use kamaji_testkit::fault_proxy::{FaultProxy, Mode};
use kamaji_testkit::ports;
use kamaji_testkit::server::Server;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_admin};
use crate::tenant;

async fn all() -> [Live; 3] {
    [Live::postgres().await, Live::mariadb().await, Live::nats().await]
}

/// Side by side: most of the time is spent waiting.
async fn on_all(test: impl AsyncFn(Live)) {
    futures::future::join_all(all().await.map(|live| test(live))).await;
}

/// A store behind a proxy.
async fn behind_proxy(live: &Live) -> (FaultProxy, Arc<dyn Store>) {
    let proxy = FaultProxy::start(live.server().unwrap().address()).await.unwrap();
    let mut connection = live.connection();
    connection.endpoints = vec![proxy.address().to_string()];
    (proxy, kamaji_datastore::open(&connection).unwrap().for_owner("uid-outage"))
}

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

async fn a_hanging_server_fails_within_the_timeout_then_at_once_and_heals(live: Live) {
    let (proxy, store) = behind_proxy(&live).await;
    let tenant = tenant("hanging", "hanging-user");
    store.ensure_tenant(&tenant).await.unwrap();

    proxy.set(Mode::Hang).await.unwrap();
    let started = Instant::now();
    let callers = (0..24).map(|_| store.is_set_up(&tenant));
    let mut said: Vec<String> = Vec::new();
    for outcome in futures::future::join_all(callers).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.category(), "timeout", "{error}");
        said.push(error.to_string());
    }
    assert!(started.elapsed() < Duration::from_secs(9), "24 callers took {:?}", started.elapsed());
    let started = Instant::now();
    assert!(store.retry_after().is_some());
    let again = store.is_set_up(&tenant).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(100), "the circuit took {:?}", started.elapsed());
    assert!(said.contains(&again.to_string()), "{again}");

    proxy.set(Mode::Pass).await.unwrap();
    until_it_answers(&store).await;
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert_eq!(store.retry_after(), None);
}

#[tokio::test]
async fn a_hanging_postgres_fails_within_the_timeout_then_at_once_and_heals() {
    a_hanging_server_fails_within_the_timeout_then_at_once_and_heals(Live::postgres().await).await;
}

#[tokio::test]
async fn a_hanging_mariadb_fails_within_the_timeout_then_at_once_and_heals() {
    a_hanging_server_fails_within_the_timeout_then_at_once_and_heals(Live::mariadb().await).await;
}

#[tokio::test]
async fn a_hanging_nats_fails_within_the_timeout_then_at_once_and_heals() {
    a_hanging_server_fails_within_the_timeout_then_at_once_and_heals(Live::nats().await).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable_until_it_is_back() {
    on_all(async |live| {
        let (proxy, store) = behind_proxy(&live).await;
        store.probe().await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        let error = store.probe().await.unwrap_err();
        assert_eq!(error.category(), "unreachable", "{error}");
        assert!(error.to_string().contains(&proxy.address().to_string()), "{error}");
        proxy.set(Mode::Pass).await.unwrap();
        until_it_answers(&store).await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_broke_between_two_calls_are_not_noticed() {
    on_all(async |live| {
        let (proxy, store) = behind_proxy(&live).await;
        store.probe().await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        proxy.set(Mode::Pass).await.unwrap();
        store.probe().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_dead_or_hanging_endpoint_among_several_costs_nothing_but_a_warning() {
    on_all(async |live| {
        let hanging = FaultProxy::start(live.server().unwrap().address()).await.unwrap();
        hanging.set(Mode::Hang).await.unwrap();
        let dead = format!("127.0.0.1:{}", ports::free().unwrap());
        let mut connection = live.connection();
        connection.endpoints.splice(0..0, [dead.clone(), hanging.address().to_string()]);
        let store = kamaji_datastore::open(&connection).unwrap().for_owner("uid-outage");
        let tenant = tenant("failover", "failover-user");
        store.ensure_tenant(&tenant).await.unwrap();
        let started = Instant::now();
        assert!(store.is_set_up(&tenant).await.unwrap());
        assert!(started.elapsed() < Duration::from_secs(1), "the endpoint that answers is not kept to");
        let health = store.probe().await.unwrap();
        assert!(health.silent.keys().eq(&[0, 1]) && health.warnings.is_empty(), "{health:?}");
        assert!(health.silent[&0].to_string().contains(&dead), "{health:?}");
        assert_eq!(health.silent[&1].category(), "timeout", "{health:?}");
        assert_eq!(store.retry_after(), None);
        store.revoke(&tenant).await.unwrap();
        store.erase(&tenant).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_under_a_kept_connection_is_left_for_another() {
    on_all(async |live| {
        let first = FaultProxy::start(live.server().unwrap().address()).await.unwrap();
        let mut connection = live.connection();
        connection.endpoints.insert(0, first.address().to_string());
        let store = kamaji_datastore::open(&connection).unwrap();
        store.probe().await.unwrap();
        first.set(Mode::Hang).await.unwrap();
        store.probe().await.unwrap();
        assert_eq!(store.retry_after(), None);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_harms_no_later_one() {
    on_all(async |live| {
        let store = live.store("uid-dropped");
        let tenant = tenant("dropped", "dropped-user");
        for microseconds in (0..60_000).step_by(3_000) {
            let given_up = tokio::time::timeout(Duration::from_micros(microseconds), async {
                store.ensure_tenant(&tenant).await?;
                store.revoke(&tenant).await?;
                store.erase(&tenant).await
            });
            let _ = given_up.await;
        }
        // Whatever was half-made is finished.
        store.ensure_tenant(&tenant).await.unwrap();
        assert!(store.is_set_up(&tenant).await.unwrap());
        live.write_as(&tenant).await.unwrap();
        store.revoke(&tenant).await.unwrap();
        store.erase(&tenant).await.unwrap();
        assert!(store.recount(&tenant).await.unwrap().is_empty());
    })
    .await;
}

/// Of a server that is restarted and then takes no more writes, with another beside it that does.
async fn a_restart_is_survived_and_a_server_that_takes_no_writes_is_passed_over(
    connection: Connection,
    mut server: Server,
    demote: impl AsyncFn(&mut Server),
    primary: String,
) {
    let alone = Connection { endpoints: vec![server.endpoint()], tls: None, ..connection };
    let store = kamaji_datastore::open(&alone).unwrap().for_owner("uid-restarted");
    let tenant = tenant("restarted", "restarted-user");
    store.ensure_tenant(&tenant).await.unwrap();

    server.stop().await.unwrap();
    assert_eq!(store.probe().await.unwrap_err().category(), "unreachable");
    server.restart().await.unwrap();
    until_it_answers(&store).await;
    assert!(store.is_set_up(&tenant).await.unwrap());

    demote(&mut server).await;
    let error = kamaji_datastore::open(&alone).unwrap().probe().await.unwrap_err();
    assert_eq!(error.category(), "unavailable", "{error}");
    let both = Connection { endpoints: vec![server.endpoint(), primary], ..alone };
    let store = kamaji_datastore::open(&both).unwrap().for_owner("uid-restarted");
    assert!(store.ensure_tenant(&tenant).await.unwrap().any(), "the other one has no such tenant");
    let health = store.probe().await.unwrap();
    assert!(health.silent.keys().eq(&[0]) && health.silent[&0].category() == "unavailable", "{health:?}");
    assert!(health.sentences()[0].contains(&server.endpoint()), "{health:?}");
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
}

#[tokio::test]
async fn a_restart_is_survived_and_a_standby_is_passed_over_on_postgres() {
    let demote = async |server: &mut Server| {
        kamaji_testkit::postgres::demote(server).unwrap();
        server.restart().await.unwrap();
    };
    let (live, server) = (Live::postgres().await, kamaji_testkit::postgres::start().await.unwrap());
    let primary = live.server().unwrap().endpoint();
    a_restart_is_survived_and_a_server_that_takes_no_writes_is_passed_over(live.connection(), server, demote, primary)
        .await;
}

#[tokio::test]
async fn a_restart_is_survived_and_a_read_only_server_is_passed_over_on_mariadb() {
    let demote = async |server: &mut Server| {
        let mut admin = mariadb_admin(server).await;
        admin.query_drop("SET GLOBAL read_only = 1").await.unwrap();
    };
    let (live, server) = (Live::mariadb().await, kamaji_testkit::mariadb::start().await.unwrap());
    let primary = live.server().unwrap().endpoint();
    a_restart_is_survived_and_a_server_that_takes_no_writes_is_passed_over(live.connection(), server, demote, primary)
        .await;
}

#[tokio::test]
async fn a_restarted_nats_still_has_its_tenant() {
    let (live, tenant) = (Live::nats().await, tenant("restarted", "user"));
    let store = live.store("uid-restarted");
    store.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    let Live::Nats(mut server) = live else { unreachable!() };
    server.stop().await.unwrap();
    assert_eq!(store.probe().await.unwrap_err().category(), "unreachable");
    server.restart().await.unwrap();
    until_it_answers(&store).await;
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert!(store.recount(&tenant).await.unwrap().keys > 0);
}
