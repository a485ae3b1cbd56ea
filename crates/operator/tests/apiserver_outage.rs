//! The management API server, a datastore or the leading replica goes away: only what depends on it waits, says so, and
//! goes on by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_testkit::{
    fault_proxy::{FaultProxy, Mode},
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::watcher::{self, watcher},
};
use serde_json::json;
use support::{
    Operator, SOON, data_store, phase,
    stage::{Stage, Subject},
};

/// How long the operator lets something wait before it calls itself not ready; a minute by default.
const PATIENCE: Duration = Duration::from_secs(6);
const IMPATIENT: &str = "--unready-after=6s";

async fn eventually<F: Future<Output = bool>>(what: &str, within: Duration, mut holds: impl FnMut() -> F) -> Duration {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

fn is_true(tenant: &TenantControlPlane, kind: &str) -> bool {
    let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions::is_true(all, kind)
}

async fn is_well(subject: &Subject) {
    let well = |tenant: &TenantControlPlane| {
        is_true(tenant, conditions::READY)
            && !is_true(tenant, conditions::DEGRADED)
            && !is_true(tenant, conditions::PROGRESSING)
    };
    subject.back(&subject.name, well).await;
}

/// How long it takes until a deleted ConfigMap is back: what a tenant feels of the operator.
async fn latency(subject: &Subject) -> Duration {
    let name = format!("{}-kubeadmconfig", subject.name);
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(subject.delete::<ConfigMap>(&name).await);
    }
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_restarted_finds_the_operator_at_work_again() {
    let mut stage = Stage::start().await;
    let subject = stage.tenant("restarted").await;
    let before = subject.secrets().await;
    let api_server = stage.cluster.api_server_mut();
    api_server.stop().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    api_server.restart().await.unwrap();
    let began = Instant::now();
    let created = stage.created("created", "default", |_| {}).await;
    created.back::<Deployment>("created", |_| true).await;
    let acted = began.elapsed();
    phase(&created.client, &created.namespace, "created", "Ready").await;
    println!("after the restart: a Deployment after {acted:?}, its tenant Ready after {:?}", began.elapsed());

    // What changes while the operator sees nothing, and is told by no event: its watches are too old to go on.
    let operator = stage.operator.process.as_ref().unwrap();
    operator.pause().unwrap();
    for name in ["restarted-ca", "restarted-api-server-certificate"] {
        subject.api::<Secret>().delete(name, &DeleteParams::default()).await.unwrap();
    }
    subject.api::<ConfigMap>().delete("restarted-kubeadmconfig", &DeleteParams::default()).await.unwrap();
    let api_server = stage.cluster.api_server_mut();
    api_server.stop().await.unwrap();
    api_server.restart().await.unwrap();
    // Fills the API server's new cache beyond what the operator saw last.
    for round in 0..3 {
        let patch = json!({"metadata": {"annotations": {"test/round": round.to_string()}}});
        created.patch::<TenantControlPlane>("created", patch).await;
    }
    let operator = stage.operator.process.as_ref().unwrap();
    operator.resume().unwrap();
    let began = Instant::now();
    subject.back::<ConfigMap>("restarted-kubeadmconfig", |_| true).await;
    for (name, secret) in before {
        subject.back::<Secret>(&name, |found| found.data == secret.data).await;
    }
    println!("what nobody told of was back after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_out_of_reach_makes_the_operator_unready_until_it_is_back() {
    let stage = Stage::start().await;
    let mut stage = stage;
    let server = stage.cluster.api_server();
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    stage.operator = Operator::start_through(server, proxy.address().port(), &[IMPATIENT]);
    let subject = stage.tenant("reached").await;
    eventually("/readyz is 200", SOON, async || stage.operator.readyz().await == Some(200)).await;

    // A short silence is nothing: what was asked for meanwhile is done after it.
    proxy.set(Mode::Hang).await.unwrap();
    let asked = stage.created("asked", "default", |_| {}).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(asked.secrets().await.is_empty());
    assert_eq!(stage.operator.readyz().await, Some(200));
    proxy.set(Mode::Pass).await.unwrap();
    phase(&asked.client, &asked.namespace, "asked", "Ready").await;

    proxy.set(Mode::Refuse).await.unwrap();
    let after = eventually("/readyz is 503", PATIENCE + Duration::from_secs(30), async || {
        stage.operator.readyz().await == Some(503)
    });
    let after = after.await;
    assert!(after + Duration::from_secs(1) > PATIENCE, "{after:?}");
    subject.api::<ConfigMap>().delete("reached-kubeadmconfig", &DeleteParams::default()).await.unwrap();
    proxy.set(Mode::Pass).await.unwrap();
    let began = Instant::now();
    subject.back::<ConfigMap>("reached-kubeadmconfig", |_| true).await;
    let healed = began.elapsed();
    let again = eventually("/readyz is 200 again", SOON, async || stage.operator.readyz().await == Some(200));
    println!("unready after {after:?}; back in reach: healed after {healed:?}, ready after another {:?}", again.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_hangs_holds_up_its_own_tenants_only() {
    let mut stage = Stage::start().await;
    let client = stage.cluster.api_server().client().unwrap();
    let _elsewhere = data_store(&client, "elsewhere").await;
    let (here, leaving) = tokio::join!(stage.tenant("here"), stage.tenant("leaving"));
    let there = stage.created("there", "elsewhere", |_| {}).await;
    is_well(&there).await;
    let (secrets, templates) = (here.secrets().await, here.templates().await);
    let usual = latency(&there).await;

    stage.etcd.pause().unwrap();
    let began = Instant::now();
    let waiting = stage.created("waiting", "default", |_| {}).await;
    leaving.api::<TenantControlPlane>().delete("leaving", &DeleteParams::default()).await.unwrap();
    let said = data_store_says(&client, "default", false).await;
    println!("the DataStore said after {:?}: {said}", began.elapsed());
    assert!(said.contains(&stage.etcd.endpoints()[0]), "{said}");
    let message = here.condition(conditions::DEGRADED, "DataStoreNotReady").await;
    assert!(message.contains("default"), "{message}");
    assert!(is_true(&here.api().get("here").await.unwrap(), conditions::READY), "its pods run");
    assert!(!is_true(&waiting.api().get("waiting").await.unwrap(), conditions::READY));
    println!("its tenant said so after {:?}", began.elapsed());
    let meanwhile = latency(&there).await;

    // A new operator does not know the datastore at all, and takes nothing away from those who depend on it.
    stage.operator.kill();
    stage.operator.resume();
    let restarted = Instant::now();
    let new = stage.created("new", "elsewhere", |_| {}).await;
    is_well(&new).await;
    println!("after a restart meanwhile, another tenant was Ready after {:?}", restarted.elapsed());
    let after_restart = latency(&there).await;
    here.patch::<Secret>("here-api-server-certificate", json!({"metadata": {"labels": null}})).await;
    let labelled = |found: &Secret| found.metadata.labels == secrets["here-api-server-certificate"].metadata.labels;
    here.back("here-api-server-certificate", labelled).await;
    assert!(leaving.api::<TenantControlPlane>().get_opt("leaving").await.unwrap().is_some());
    println!(
        "latency of a tenant elsewhere: {usual:?} before, {meanwhile:?} meanwhile, {after_restart:?} after a restart"
    );
    // A call to a datastore that hangs takes five seconds; other tests may take the cores for a moment.
    let limit = usual * 4 + Duration::from_secs(1);
    assert!(meanwhile < limit && after_restart < limit, "{usual:?}, {meanwhile:?}, {after_restart:?}");

    tokio::time::sleep(Duration::from_secs(20).saturating_sub(began.elapsed())).await;
    stage.etcd.resume().unwrap();
    let began = Instant::now();
    data_store_says(&client, "default", true).await;
    is_well(&here).await;
    is_well(&waiting).await;
    wait_for_deletion(&leaving.api::<TenantControlPlane>(), "leaving", None, SOON).await.unwrap();
    println!("all went on within {:?}", began.elapsed());
    for (name, secret) in here.secrets().await {
        assert_eq!(secret.data, secrets[&name].data, "{name}");
    }
    assert_eq!(here.templates().await, templates);
    let users = stage.etcd.client().await.unwrap().user_list().await.unwrap().users().len();
    assert_eq!(users, 3, "root, here, waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_pass_in_flight() {
    let mut stage = Stage::start().await;
    let client = stage.cluster.api_server().client().unwrap();
    data_store_says(&client, "default", true).await;
    stage.etcd.pause().unwrap();
    let subject = stage.created("stopped", "default", |_| {}).await;
    // Its pass makes keys, and waits for the datastore.
    subject.back::<Secret>("stopped-ca", |_| true).await;
    stage.operator.terminate();
    let ended = stage.operator.ended(Duration::from_millis(500)).await;
    assert!(ended.is_none(), "{ended:?}\n{}", stage.operator.log());
    let late = stage.created("late", "default", |_| {}).await;
    stage.etcd.resume().unwrap();
    let began = Instant::now();
    let ended = stage.operator.ended(Duration::from_secs(10)).await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", stage.operator.log());
    println!("stopped {:?} after the datastore was back", began.elapsed());
    // Of one pass: nobody else has made it since.
    subject.deployment().await;
    assert!(late.secrets().await.is_empty(), "no new work is taken up");
    stage.operator.resume();
    phase(&subject.client, &subject.namespace, "stopped", "Ready").await;
    phase(&late.client, &late.namespace, "late", "Ready").await;
}

/// Waits until the DataStore is ready or not; gives what it says.
async fn data_store_says(client: &Client, name: &str, ready: bool) -> String {
    let as_wanted =
        move |data_store: &DataStore| data_store.status.as_ref().is_some_and(|status| status.ready == ready);
    let found = wait_for(&Api::<DataStore>::all(client.clone()), name, SOON, as_wanted).await.unwrap();
    let all = found.status.unwrap().conditions.unwrap_or_default();
    conditions::find(&all, "kamaji.clastix.io/DataStoreValidation")
        .map(|found| found.message.clone())
        .unwrap_or_default()
}

static MADE: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Notes every Secret of the tenant `gone` that appears: the garbage collector soon takes it away again.
async fn made(secrets: Api<Secret>) {
    let mut events = watcher(secrets, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        if let Ok(watcher::Event::Apply(secret)) = event
            && secret.name_any().starts_with("gone-")
        {
            MADE.lock().unwrap().push(secret.name_any());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_ready_and_goes_on_when_the_leader_is_killed() {
    let mut stage = Stage::start().await;
    let subject = stage.tenant("led").await;
    stage.operator.kill();
    let server = stage.cluster.api_server();
    let mut first = Operator::start_electing(server, &[IMPATIENT]);
    subject.delete::<ConfigMap>("led-kubeadmconfig").await;
    // The standby takes this one up, and finds it gone when it may act.
    let gone = stage.created("gone", "default", |_| {}).await;
    phase(&gone.client, &gone.namespace, "gone", "Ready").await;
    let second = Operator::start_electing(server, &[IMPATIENT]);
    eventually("the standby is ready", SOON, async || second.readyz().await == Some(200)).await;
    // Longer than a queue may stand still, with work for whoever leads.
    let began = Instant::now();
    while began.elapsed() < PATIENCE + Duration::from_secs(2) {
        let stamp = json!({"metadata": {"annotations": {"test/at": began.elapsed().as_millis().to_string()}}});
        let tenants: Api<TenantControlPlane> = subject.api();
        tenants.patch("led", &PatchParams::default(), &Patch::Merge(stamp)).await.unwrap();
        assert_eq!(second.readyz().await, Some(200), "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    gone.api::<TenantControlPlane>().delete("gone", &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&gone.api::<TenantControlPlane>(), "gone", None, SOON).await.unwrap();
    eventually("the garbage collector took the rest", SOON, async || {
        !gone.secrets().await.keys().any(|name| name.starts_with("gone-"))
    })
    .await;
    let made = tokio::spawn(made(gone.api()));

    first.kill();
    let took = subject.delete::<ConfigMap>("led-kubeadmconfig").await;
    // Whatever it wrote about the other tenant, it wrote at the same moment.
    tokio::time::sleep(Duration::from_secs(2)).await;
    made.abort();
    let made = MADE.lock().unwrap().clone();
    assert!(made.is_empty(), "{made:?}");
    let users = stage.etcd.client().await.unwrap().user_list().await.unwrap();
    assert_eq!(users.users().len(), 2, "root and the tenant that is alive: {:?}", users.users());
    println!("the standby acted after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(second.readyz().await, Some(200));
}
