//! Tenants on every kind of datastore, and what their owners notice when one is restarted, away, silent or renewed.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{try_join, try_join_all},
    stream,
};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kamaji_api::{TenantControlPlane, data_store::Driver};
use kamaji_e2e::{
    Story,
    data_store::{DataStore, client_data},
    server::Server,
    tenant::Tenant,
};
use kamaji_testkit::{certificate::Authority, probe::Probe};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

const DRIVERS: [(&str, Driver); 4] =
    [("etcd", Driver::Etcd), ("postgres", Driver::PostgreSql), ("mysql", Driver::MySql), ("nats", Driver::Nats)];
/// Objects that a tenant takes, and how many of them at a time.
const OBJECTS: usize = 1_000;
const AT_A_TIME: usize = 8;
/// A tenant may take this long to find its datastore again. A container that was restarted again and again meanwhile waits
/// for some minutes by itself.
const RECOVERY: Duration = Duration::from_mins(4);
/// How long a tenant is waited for when it is asked whether it takes an object.
const CALL: Duration = Duration::from_secs(10);
/// What a tenant elsewhere may notice at most: a single call to a datastore that is silent takes five seconds.
const UNNOTICED: Duration = Duration::from_secs(4);

/// How long a datastore is away: two minutes where there is time for it, which `$KAMAJI_E2E_LONG` says.
fn outage() -> Duration {
    let is_long = std::env::var_os("KAMAJI_E2E_LONG").is_some();
    if is_long { Duration::from_mins(2) } else { Duration::from_secs(40) }
}

async fn tenant_on(story: &Story, data_store: &DataStore, name: &str, replicas: i32) -> Result<Tenant> {
    Tenant::declare(story, name, |spec| {
        spec["dataStore"] = json!(data_store.name);
        spec["controlPlane"]["deployment"]["replicas"] = json!(replicas);
    })
    .await
}

fn config_map(name: &str) -> Result<ConfigMap> {
    Ok(serde_json::from_value(json!({"metadata": {"name": name, "labels": {"story": "yes"}}, "data": {"name": name}}))?)
}

/// Has a tenant take a thousand objects; how long that was.
async fn fill(client: Client) -> Result<Duration> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let began = Instant::now();
    stream::iter(0..OBJECTS)
        .map(async |index| {
            let object = config_map(&format!("object-{index}"))?;
            api.create(&PostParams::default(), &object).await.map(drop).context("a tenant refused an object")
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(began.elapsed())
}

/// Waits until the tenant takes a new object; how long that was.
async fn takes_again(tenant: &Tenant, name: &str) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let api: Api<ConfigMap> = Api::default_namespaced(tenant.admin().await?);
        let (new, object) = (PostParams::default(), config_map(name)?);
        match timeout(CALL, api.create(&new, &object)).await {
            Ok(Ok(_)) => return Ok(began.elapsed()),
            // It was stored, and the answer was lost.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => return Ok(began.elapsed()),
            _ if began.elapsed() < RECOVERY => sleep(Duration::from_millis(500)).await,
            last => bail!("{} takes no object: {last:?}", tenant.name),
        }
    }
}

/// The objects that a tenant has.
async fn held(tenant: &Tenant) -> Result<BTreeSet<String>> {
    let api: Api<ConfigMap> = Api::default_namespaced(tenant.admin().await?);
    let all = api.list_metadata(&ListParams::default().labels("story=yes")).await?;
    Ok(all.items.into_iter().map(|object| object.name_any()).collect())
}

/// Waits until a tenant shows all that was stored, and the object after the restart: kine's watch on NATS comes back a
/// little later than its writes, and kube-apiserver lists what the watch has told.
async fn holds_all(tenant: &Tenant) -> Result<()> {
    let began = Instant::now();
    let expected = || (0..OBJECTS).map(|index| format!("object-{index}")).chain(["after".to_owned()]);
    loop {
        // It may be away once more: while its datastore restarted, kube-controller-manager lost its Lease and ended.
        let held = timeout(CALL, held(tenant)).await.map_err(anyhow::Error::from).flatten();
        let lost = held.map(|held| expected().filter(|name| !held.contains(name)).collect::<Vec<_>>());
        match &lost {
            Ok(lost) if lost.is_empty() => {
                println!("{}: all of it is there after {:.1?}", tenant.name, began.elapsed());
                return Ok(());
            }
            _ => ensure!(began.elapsed() < RECOVERY, "{} lacks {lost:?}", tenant.name),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Nothing is on the server that was not there before.
async fn nothing_left(store: &DataStore, before: &BTreeSet<String>) -> Result<()> {
    let after = store.contents().await?;
    let left: Vec<_> = after.difference(before).collect();
    let gone: Vec<_> = before.difference(&after).collect();
    ensure!(left.is_empty() && gone.is_empty(), "{}: {left:?} are left behind, {gone:?} are gone", store.name);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_on_all_datastores_survive_a_restart_of_theirs_and_leave_nothing_behind() -> Result<()> {
    Story::tell("datastores", async |story| {
        let stores = try_join_all(DRIVERS.map(|(name, driver)| DataStore::declare(&story, name, driver))).await?;
        let before = try_join_all(stores.iter().map(|store| store.contents())).await?;
        let began = Instant::now();
        let tenants =
            stores.iter().zip(DRIVERS).map(async |(store, (name, _))| tenant_on(&story, store, name, 1).await);
        let tenants = try_join_all(tenants).await?;
        try_join_all(tenants.iter().map(|tenant| tenant.phase("Ready"))).await?;
        println!("four tenants are Ready after {:.1?}", began.elapsed());

        let filled = try_join_all(tenants.iter().map(async |tenant| {
            tenant.namespaces().await?;
            tenant.controlled().await?;
            fill(tenant.admin().await?).await
        }));
        for (took, (name, _)) in filled.await?.into_iter().zip(DRIVERS) {
            println!("{name}: {OBJECTS} objects in {took:.1?}");
        }
        let with_tenants = try_join_all(stores.iter().map(|store| store.contents())).await?;
        for ((store, before), now) in stores.iter().zip(&before).zip(&with_tenants) {
            ensure!(now.len() > before.len(), "{} has nothing of its tenant: {now:?}", store.name);
        }

        try_join_all(stores.iter().map(|store| store.restart())).await?;
        let again = try_join_all(tenants.iter().map(|tenant| takes_again(tenant, "after"))).await?;
        for ((took, tenant), (name, _)) in again.into_iter().zip(&tenants).zip(DRIVERS) {
            println!("{name}: takes objects {took:.1?} after the restart of its datastore");
            holds_all(tenant).await?;
            let rollouts = tenant.rollouts().await?;
            ensure!(rollouts == 1, "{name} was rolled out {rollouts} times");
        }

        try_join_all(tenants.into_iter().map(Tenant::delete)).await?;
        for (store, before) in stores.iter().zip(&before) {
            nothing_left(store, before).await?;
        }
        try_join_all(stores.into_iter().map(DataStore::delete)).await.map(drop)
    })
    .await
}

/// The operator's pods, and how often their containers were started.
async fn operator(story: &Story) -> Result<BTreeMap<String, i32>> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), "kamaji-system");
    let selector = ListParams::default().labels("app.kubernetes.io/component=controller-manager");
    let restarts = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        statuses.iter().map(|container| container.restart_count).sum()
    };
    Ok(pods.list(&selector).await?.items.iter().map(|pod| (pod.name_any(), restarts(pod))).collect())
}

/// The sentence by which a tenant tells that its datastore cannot be used.
fn complaint(tenant: &TenantControlPlane) -> Option<String> {
    let all = tenant.status.as_ref()?.conditions.as_deref()?;
    let found = all.iter().find(|condition| condition.reason == "DataStoreNotReady" && condition.status == "True")?;
    Some(found.message.clone())
}

/// Its DataStore and the tenant say what is wrong.
async fn both_say_so(store: &DataStore, tenant: &Tenant) -> Result<()> {
    let began = Instant::now();
    let said = store.usable(false).await?;
    println!("{} after {:.1?}: {said}", store.name, began.elapsed());
    ensure!(said.contains(&store.access.endpoints[0]), "the server is named: {said}");
    let told = tenant.until(|tenant| complaint(tenant).is_some()).await?;
    let told = complaint(&told).unwrap_or_default();
    println!("{} after {:.1?}: {told}", tenant.name, began.elapsed());
    ensure!(told.contains(&store.name), "the DataStore is named: {told}");
    Ok(())
}

/// How long the operator takes for a tenant, again and again until a moment.
async fn latencies(tenant: &Tenant, until: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until || times.len() < 5 {
        times.push(tenant.healed().await?);
        sleep(Duration::from_secs(1)).await;
    }
    times.sort();
    Ok(times)
}

fn tell_latencies(when: &str, times: &[Duration]) -> Result<Duration> {
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else { bail!("nothing was measured") };
    println!("reconcile latency {when}: median {median:.0?}, worst {worst:.0?} of {}", times.len());
    Ok(*worst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_away_and_one_that_hangs_are_told_of_and_noticed_by_no_other_tenant() -> Result<()> {
    Story::tell("datastore-outage", async |story| {
        let drivers = [("away", Driver::PostgreSql), ("hangs", Driver::MySql), ("well", Driver::Etcd)];
        let stores = drivers.clone().map(|(name, driver)| DataStore::declare(&story, name, driver));
        let [away, hangs, well]: [DataStore; 3] =
            try_join_all(stores).await?.try_into().map_err(|_| anyhow::anyhow!("three stores"))?;
        let first = tenant_on(&story, &away, "away", 1).await?;
        let second = tenant_on(&story, &hangs, "hangs", 1).await?;
        let third = tenant_on(&story, &well, "well", 1).await?;
        let both = [&first, &second];
        try_join_all([&first, &second, &third].map(async |tenant| {
            tenant.phase("Ready").await?;
            tenant.namespaces().await?;
            tenant.controlled().await
        }))
        .await?;
        let operator_before = operator(&story).await?;
        let before = latencies(&third, Instant::now() + Duration::from_secs(10)).await?;

        away.stop().await?;
        hangs.hang().await?;
        let until = Instant::now() + outage();
        let probe = Probe::start(third.stored_target().await?);
        let said = try_join(both_say_so(&away, &first), both_say_so(&hangs, &second));
        let (meanwhile, _) = try_join(latencies(&third, until), said).await?;
        let report = probe.finish().await;
        println!("the tenant elsewhere: {report}");
        ensure!(report.failures().next().is_none(), "the tenant elsewhere answered all the time");
        tell_latencies("before", &before)?;
        let worst = tell_latencies("during the outage", &meanwhile)?;
        ensure!(worst < UNNOTICED, "tenants elsewhere notice the outage");

        let began = Instant::now();
        try_join(away.restart(), hangs.resume()).await?;
        for store in [&away, &hangs] {
            store.usable(true).await?;
        }
        println!("both DataStores are usable {:.1?} after their servers", began.elapsed());
        try_join_all(both.map(async |tenant| {
            takes_again(tenant, "after").await?;
            println!("{} takes objects {:.1?} after its server is back", tenant.name, began.elapsed());
            tenant.until(|tenant| complaint(tenant).is_none()).await?;
            tenant.phase("Ready").await
        }))
        .await?;
        println!("both tenants are Ready {:.1?} after their servers", began.elapsed());
        let operator_after = operator(&story).await?;
        ensure!(
            operator_before == operator_after,
            "the operator was restarted: {operator_before:?}, {operator_after:?}"
        );
        try_join_all([first, second, third].map(Tenant::delete)).await?;
        try_join_all([away, hangs, well].map(DataStore::delete)).await.map(drop)
    })
    .await
}

/// Changes the Secret of a DataStore while its tenant of two replicas is asked for what it stores.
async fn rotate(store: &DataStore, tenant: &Tenant, data: BTreeMap<&'static str, String>) -> Result<()> {
    tenant.phase("Ready").await?;
    tenant.namespaces().await?;
    tenant.controlled().await?;
    tenant.rolled(2).await?;
    let rollouts = tenant.rollouts().await?;
    ensure!(rollouts == 1, "{} was rolled out {rollouts} times before", tenant.name);
    let before = tenant.secret("datastore-certificate").await?;
    let probe = Probe::start(tenant.stored_target().await?);
    store.change_secret(data).await?;
    let began = Instant::now();
    while tenant.rollouts().await? == rollouts {
        ensure!(began.elapsed() < kamaji_e2e::tenant::SOON, "{} was not rolled out", tenant.name);
        sleep(Duration::from_millis(500)).await;
    }
    tenant.rolled(2).await?;
    println!("{} is rolled out after {:.1?}", tenant.name, began.elapsed());
    let report = probe.finish().await;
    println!("{}: {report}", tenant.name);
    ensure!(report.successes() > 100, "the probe ran during the rollout");
    ensure!(report.failures().next().is_none(), "no request was refused");
    let rollouts = tenant.rollouts().await?;
    ensure!(rollouts == 2, "{} was rolled out {rollouts} times", tenant.name);
    ensure!(tenant.secret("datastore-certificate").await? != before, "the tenant has other certificates");
    Ok(())
}

/// Every connection of the tenant shows a client certificate of this name, checked by the server.
async fn connections_show(store: &DataStore, common_name: &str) -> Result<()> {
    let subjects = "SELECT coalesce(client_dn, 'none') FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE usename NOT LIKE 'kamaji_%' AND usename <> 'postgres'";
    let shown = store.postgres(subjects).await?;
    let all = shown.iter().all(|subject| *subject == format!("/CN={common_name}"));
    ensure!(all && !shown.is_empty(), "the tenant's connections show {shown:?}, not {common_name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_certificates_of_a_datastore_rolls_its_tenant_once_and_refuses_no_request() -> Result<()> {
    Story::tell("datastore-rotation", async |story| {
        let (sql_authority, etcd_authority) = (Authority::new("second")?, Authority::new("second-etcd")?);
        let etcd = Server::start(Driver::Etcd, &etcd_authority.certificate()).await?;
        let (sql, etcd) =
            try_join(DataStore::declare(&story, "sql", Driver::PostgreSql), DataStore::on(&story, "etcd", etcd))
                .await?;
        let on_sql = tenant_on(&story, &sql, "sql", 2).await?;
        let on_etcd = tenant_on(&story, &etcd, "etcd", 2).await?;

        // PostgreSQL takes the clients of both authorities; the tenant is to trust both, and to show the second's.
        let both = format!("{}{}", sql.access.authority, sql_authority.certificate());
        sql.renew_certificates(&both, None).await?;
        let mut on_sql_next = client_data(&sql_authority.client("rotated", &[])?);
        on_sql_next.insert("ca.crt", both.clone());
        // The first certificate is the one that signs; the server still shows one of the other authority.
        let bundle = format!("{}{}", etcd_authority.certificate(), etcd.access.authority);
        let mut on_etcd_next = client_data(&etcd_authority.client("root", &[])?);
        on_etcd_next.extend([("ca.crt", bundle), ("ca.key", etcd_authority.identity().key)]);
        try_join(rotate(&sql, &on_sql, on_sql_next), rotate(&etcd, &on_etcd, on_etcd_next)).await?;

        connections_show(&sql, "rotated").await?;
        let shown = sql_authority.server("postgres", &[kamaji_e2e::story::NODE])?;
        sql.renew_certificates(&both, Some(&shown)).await?;
        sql.restart().await?;
        takes_again(&on_sql, "after").await?;
        connections_show(&sql, "rotated").await?;
        takes_again(&on_etcd, "after").await?;
        try_join(on_sql.delete(), on_etcd.delete()).await?;
        try_join(sql.delete(), etcd.delete()).await.map(drop)
    })
    .await
}

/// The keys of Events on a server.
async fn events(store: &DataStore) -> Result<Vec<String>> {
    Ok(store
        .contents()
        .await?
        .into_iter()
        .filter(|line| line.starts_with("key ") && line.contains("/events/"))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_on_a_second_datastore_with_another_authority_are_stored_and_erased_there() -> Result<()> {
    Story::tell("datastore-events", async |story| {
        let main = DataStore::declare(&story, "main", Driver::Etcd);
        let (main, second) = try_join(main, DataStore::declare(&story, "events", Driver::Etcd)).await?;
        ensure!(main.access.authority != second.access.authority);
        let before = try_join(main.contents(), second.contents()).await?;
        let tenant = Tenant::declare(&story, "split", |spec| {
            spec["dataStore"] = json!(main.name);
            spec["dataStoreOverrides"] = json!([{"resource": "/events", "dataStore": second.name}]);
        })
        .await?;
        tenant.phase("Ready").await?;
        tenant.namespaces().await?;
        let event: Event = serde_json::from_value(json!({
            "metadata": {"name": "told"}, "reason": "Told", "type": "Normal", "message": "by a story",
            "involvedObject": {"kind": "ConfigMap", "namespace": "default", "name": "kube-root-ca.crt"},
        }))?;
        let api: Api<Event> = Api::default_namespaced(tenant.admin().await?);
        api.create(&PostParams::default(), &event).await.context("the tenant refused an Event")?;
        takes_again(&tenant, "beside").await?;
        let stored = events(&second).await?;
        ensure!(stored.iter().any(|key| key.ends_with("/events/default/told")), "the second etcd has {stored:?}");
        let misplaced = events(&main).await?;
        ensure!(misplaced.is_empty(), "the first etcd has {misplaced:?}");
        let is_beside = |line: &String| line.ends_with("/configmaps/default/beside");
        ensure!(main.contents().await?.iter().any(is_beside), "everything else is on the first");
        ensure!(!second.contents().await?.iter().any(is_beside), "nothing else is on the second");
        ensure!(tenant.rollouts().await? == 1, "one rollout");

        tenant.delete().await?;
        nothing_left(&main, &before.0).await?;
        nothing_left(&second, &before.1).await?;
        try_join(main.delete(), second.delete()).await.map(drop)
    })
    .await
}
