//! Passwords, certificates and endpoints of a datastore change: the tenants follow with one rollout each, once it works.
//! Real servers, simulated pods.

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
    ALL, SQL, Store, VALIDATION, eventually, is_well, login, on_each, remove, rests,
    servers::{Login, hold, own},
    text,
};
use k8s_openapi::{
    ByteString,
    api::{apps::v1::Deployment, core::v1::Secret},
};
use kamaji_api::{DataStore, conditions};
use kamaji_datastore::Driver;
use kamaji_testkit::{
    certificate::Authority,
    fault_proxy::{FaultProxy, Mode},
    mariadb, ports, postgres,
    wait::wait_for,
};
use kube::ResourceExt;
use serde_json::{Value, json};
use support::{
    SOON,
    settle::counted,
    stage::{Stage, Subject},
};

/// The mark of one of the tenant's Secrets on its pods.
fn mark(deployment: &Deployment, of: &str) -> String {
    let template = deployment.spec.as_ref().unwrap().template.metadata.as_ref().unwrap();
    template.annotations.as_ref().unwrap()[&format!("storage.kamaji.clastix.io/{of}")].clone()
}

/// Waits until a tenant's pods were rolled out for this many templates, and have come to rest.
async fn has_rolled(subject: &Subject, templates: usize) {
    let generation = i64::try_from(templates).unwrap();
    subject.back(&subject.name, |live: &Deployment| live.metadata.generation >= Some(generation)).await;
    is_well(subject).await;
    rests(subject).await;
    let rolled = (subject.deployment().await.metadata.generation, subject.templates().await);
    assert_eq!(rolled, (Some(generation), templates), "one rollout, not several");
}

async fn edited_is_replaced(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "edited").await;
    let subject = store.tenant(stage, "edited").await;
    let (old, before) = (login(&subject).await, subject.deployment().await);
    live.write_as(&old).await.unwrap();

    let mine = json!({"stringData": {"DB_PASSWORD": "mine"}});
    subject.patch::<Secret>("edited-datastore-config", mine).await;
    let is_new = |secret: &Secret| !["mine", old.password.as_str()].contains(&text(secret, "DB_PASSWORD").as_str());
    subject.back("edited-datastore-config", is_new).await;
    has_rolled(&subject, 2).await;
    let (new, after) = (login(&subject).await, subject.deployment().await);
    assert_eq!(new.password.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
    assert_eq!((&new.schema, &new.user), (&old.schema, &old.user));
    live.write_as(&new).await.unwrap();
    for password in [old.password.as_str(), "mine"] {
        let refused = Login { password: password.to_owned(), ..old.clone() };
        live.write_as(&refused).await.unwrap_err();
    }
    assert_ne!(mark(&before, "config"), mark(&after, "config"));
    assert_eq!(mark(&before, "certificate"), mark(&after, "certificate"));
    let told = subject.told("DataStoreConfigChanged").await;
    assert!(told.len() == 1 && told[0].contains("edited-datastore-config"), "{told:?}");
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_password_is_replaced_by_a_random_one() {
    on_each(&SQL, edited_is_replaced).await;
}

/// There the password is the DataStore's, or of no use: an edit is put right.
async fn edited_comes_back(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "back").await;
    let subject = store.tenant(stage, "back").await;
    let before = subject.secret("datastore-config").await;
    subject.patch::<Secret>("back-datastore-config", json!({"stringData": {"DB_PASSWORD": "mine"}})).await;
    subject.back("back-datastore-config", |secret: &Secret| secret.data == before.data).await;
    rests(&subject).await;
    assert_eq!(subject.templates().await, 1);
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_password_comes_back_on_nats_and_etcd() {
    on_each(&[Driver::Nats, Driver::Etcd], edited_comes_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_datastore_secrets_come_back_with_the_same_bytes() {
    on_each(&ALL, deleted_comes_back).await;
}

async fn deleted_comes_back(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "lost").await;
    let subject = store.tenant(stage, "lost").await;
    let old = login(&subject).await;
    live.write_as(&old).await.unwrap();
    for suffix in ["datastore-config", "datastore-certificate"] {
        let before = subject.secret(suffix).await;
        subject.delete::<Secret>(&before.name_any()).await;
        let after = subject.secret(suffix).await;
        assert!(after.data == before.data && after.uid() != before.uid(), "{suffix} on {driver}");
        assert_eq!(after.finalizers(), before.finalizers());
    }
    rests(&subject).await;
    assert_eq!(login(&subject).await, old);
    live.write_as(&old).await.unwrap();
    assert_eq!((subject.deployment().await.metadata.generation, subject.templates().await), (Some(1), 1));
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lost_while_nobody_looked_is_replaced_and_the_server_takes_the_new_one() {
    let mut stage = Stage::start().await;
    let live = hold(Driver::PostgreSql).await;
    let store = Store::ready(&stage, &live, "unseen").await;
    let subject = store.tenant(&stage, "unseen").await;
    let old = login(&subject).await;
    stage.operator.kill();
    let bare = json!({"metadata": {"finalizers": null}});
    subject.patch::<Secret>("unseen-datastore-config", bare).await;
    let secrets = subject.api::<Secret>();
    secrets.delete("unseen-datastore-config", &kube::api::DeleteParams::default()).await.unwrap();
    stage.operator.resume();
    subject.back("unseen-datastore-config", |_: &Secret| true).await;
    has_rolled(&subject, 2).await;
    let new = login(&subject).await;
    assert_eq!((&new.schema, &new.user), (&old.schema, &old.user));
    assert_ne!(new.password, old.password);
    // The DataStore is opened again first.
    eventually("the server takes the new one", async || live.write_as(&new).await.is_ok()).await;
    live.write_as(&old).await.unwrap_err();
    remove(&subject).await;
}

/// Bundle, then client certificate: a rollout each, of every tenant, and nobody else's.
async fn certificates_are_followed(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "follow").await;
    let subject = store.tenant(stage, "follow").await;
    let (old, second) = (live.authority().certificate(), Authority::new("second").unwrap().certificate());
    let bundle = format!("{old}{second}");
    store.change("tls", json!({"ca.crt": bundle})).await;
    subject.back("follow-datastore-certificate", |secret: &Secret| text(secret, "ca.crt") == bundle).await;
    has_rolled(&subject, 2).await;
    live.write_as(&login(&subject).await).await.unwrap();
    if driver != Driver::Etcd {
        let renewed = live.authority().client("renewed", &[]).unwrap();
        store.change("tls", json!({"client.crt": renewed.certificate, "client.key": renewed.key})).await;
        let shown = |secret: &Secret| {
            text(secret, "server.crt") == renewed.certificate && text(secret, "server.key") == renewed.key
        };
        subject.back("follow-datastore-certificate", shown).await;
        has_rolled(&subject, 3).await;
    }
    store.is_ready().await;
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_follow_the_certificates_of_their_data_store() {
    on_each(&ALL, certificates_are_followed).await;
}

/// A server is asked every ten seconds whether it answers, and what it is asked with is read anew then. Three changes in a
/// row in less time than two rounds take were told by a watch.
const TWO_ROUNDS: Duration = Duration::from_secs(15);

async fn a_login_of_the_data_store_is_changed_without_a_restart(driver: Driver, second: &[&str], closed: &str) {
    let stage = Stage::shared().await;
    let live = own(driver).await;
    let store = Store::ready(stage, &live, "hand").await;
    let subject = store.tenant(stage, "hand").await;
    live.run(second).await;
    let began = Instant::now();
    store.change("login", json!({"username": "second", "password": "wrong"})).await;
    store.says("BasicAuthValidationFailed", &["spec.basicAuth", &live.endpoint()]).await;
    store.change("login", json!({"password": "two"})).await;
    store.is_ready().await;
    store.change("login", json!({"password": null})).await;
    store.says("BasicAuthValidationFailed", &["spec.basicAuth.password", "create it"]).await;
    store.change("login", json!({"password": "two"})).await;
    store.is_ready().await;
    println!("{driver}: four changes of the login after {:?}", began.elapsed());
    assert!(began.elapsed() < TWO_ROUNDS, "{:?}", began.elapsed());

    // The first login is of no use any more: whatever works, works with the second.
    live.run(&[closed]).await;
    let other = store.tenant(stage, "other").await;
    live.write_as(&login(&other).await).await.unwrap();
    remove(&other).await;
    // A tenant's pods never saw it.
    rests(&subject).await;
    assert_eq!((subject.deployment().await.metadata.generation, subject.templates().await), (Some(1), 1));
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_the_data_store_is_changed_without_a_restart_on_postgres() {
    let second = ["CREATE ROLE second SUPERUSER LOGIN PASSWORD 'two'"];
    let closed = format!("ALTER ROLE {} NOLOGIN", postgres::USER);
    a_login_of_the_data_store_is_changed_without_a_restart(Driver::PostgreSql, &second, &closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_the_data_store_is_changed_without_a_restart_on_mariadb() {
    let second = ["CREATE USER second@'%' IDENTIFIED BY 'two'", "GRANT ALL ON *.* TO second@'%' WITH GRANT OPTION"];
    let closed = format!("ALTER USER {}@'%' ACCOUNT LOCK", mariadb::USER);
    a_login_of_the_data_store_is_changed_without_a_restart(Driver::MySql, &second, &closed).await;
}

/// There the tenant's login is the DataStore's.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_login_reaches_the_tenant_on_nats_with_one_rollout() {
    let stage = Stage::shared().await;
    let mut live = own(Driver::Nats).await;
    let store = Store::ready(stage, &live, "handed").await;
    let subject = store.tenant(stage, "handed").await;
    let (user, old) = live.admin().unwrap();
    let server = live.server_mut().unwrap();
    let file = server.folder().join("nats.conf");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace(old, "pass word/2")).unwrap();
    server.restart().await.unwrap();
    store.says("BasicAuthValidationFailed", &["spec.basicAuth"]).await;
    assert_eq!(login(&subject).await.password, old);
    store.change("login", json!({"password": "pass word/2"})).await;
    store.is_ready().await;
    has_rolled(&subject, 2).await;
    let new = login(&subject).await;
    assert_eq!((new.user.as_str(), new.password.as_str()), (user, "pass%20word%2F2"), "as kine reads it in an address");
    remove(&subject).await;
}

/// Sees that a tenant is looked after, and that its pods are those of before.
async fn stays(subject: &Subject, before: &Deployment) {
    rests(subject).await;
    let (now, templates) = (subject.deployment().await, subject.templates().await);
    assert!(now.spec == before.spec && now.metadata.generation == before.metadata.generation, "{}", subject.name);
    assert_eq!(templates, 1);
}

/// Ends the operator without a word, and lets another one find what is there.
fn restart(stage: &mut Stage) {
    stage.operator.kill();
    stage.operator.resume();
}

fn flag(deployment: &Deployment, name: &str) -> String {
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let mut args = pod.containers.iter().flat_map(|container| container.args.iter().flatten());
    args.find_map(|argument| argument.strip_prefix(name)).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_an_etcd_reaches_running_tenants_once_it_was_found_to_answer() {
    let mut stage = Stage::start().await;
    let (live, other) = (own(Driver::Etcd).await, own(Driver::Etcd).await);
    let (store, events) = (Store::ready(&stage, &live, "main").await, Store::ready(&stage, &other, "events").await);
    let over = json!([{"resource": "/events", "dataStore": events.name}]);
    let subject = stage.created("moved", &store.name, |spec| spec["dataStoreOverrides"] = over).await;
    is_well(&subject).await;
    rests(&subject).await;
    let before = subject.deployment().await;
    for (at, live) in [(&store, &live), (&events, &other)] {
        let closed = format!("127.0.0.1:{}", ports::free().unwrap());
        for wrong in [closed.as_str(), "etcd.invalid:2379"] {
            at.patch(json!({"spec": {"endpoints": [wrong]}})).await;
            at.says("ConnectionFailed", &["spec.endpoints", wrong]).await;
            let sentence = subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
            assert!(sentence.contains(&at.name), "{sentence}");
            stays(&subject, &before).await;
        }
        restart(&mut stage);
        stays(&subject, &before).await;
        subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        at.patch(json!({"spec": {"endpoints": [live.endpoint()]}})).await;
        at.is_ready().await;
        is_well(&subject).await;
        stays(&subject, &before).await;
    }
    for (templates, at, live, name) in
        [(2, &store, &live, "--etcd-servers="), (3, &events, &other, "--etcd-servers-overrides=")]
    {
        let moved = live.endpoint().replace("127.0.0.1", "localhost");
        at.patch(json!({"spec": {"endpoints": [moved]}})).await;
        has_rolled(&subject, templates).await;
        let flag = flag(&subject.deployment().await, name);
        assert!(flag.ends_with(&format!("https://{moved}")), "{flag}");
    }
    remove(&subject).await;
}

/// What a DataStore is spoken to with, in place.
fn tls(authority: &str) -> Value {
    let content = serde_json::to_value(ByteString(authority.as_bytes().to_vec())).unwrap();
    json!({"certificateAuthority": {"certificate": {"content": content}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_of_a_sql_server_reaches_running_tenants_once_it_was_found_to_work() {
    let mut stage = Stage::start().await;
    let foreign = tls(&Authority::new("foreign").unwrap().certificate());
    let mut all = Vec::new();
    for driver in SQL {
        let live = hold(driver).await;
        let clear = |spec: &mut Value| drop(spec.as_object_mut().unwrap().remove("tlsConfig"));
        let store = Store::create(&stage, &live, "clear", clear).await;
        store.is_ready().await;
        let subject = store.tenant(&stage, "clear").await;
        let before = subject.deployment().await;
        all.push((live, store, subject, before));
    }
    // The first cannot be connected with, the second not even be opened.
    for (wrong, word) in [(foreign, "127.0.0.1"), (tls("no PEM"), "CERTIFICATE")] {
        for (_, store, subject, before) in &all {
            store.patch(json!({"spec": {"tlsConfig": wrong}})).await;
            store.says("TLSConfigurationValidationFailed", &["spec.tlsConfig", word]).await;
            subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
            stays(subject, before).await;
        }
        restart(&mut stage);
        for (_, _, subject, before) in &all {
            stays(subject, before).await;
            subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        }
    }
    for (live, store, subject, before) in all {
        store.patch(json!({"spec": {"tlsConfig": null}})).await;
        store.is_ready().await;
        is_well(&subject).await;
        stays(&subject, &before).await;
        store.patch(json!({"spec": {"tlsConfig": tls(&live.authority().certificate())}})).await;
        has_rolled(&subject, 2).await;
        assert_eq!(flag(&subject.deployment().await, "--ca-file="), "/certs/ca.crt");
        live.write_as(&login(&subject).await).await.unwrap();
        remove(&subject).await;
    }
}

/// Waits until the operator, which was just started, has looked at each of its DataStores.
async fn has_looked(stage: &Stage) {
    counted(&stage.operator, |counts| counts.store_passes >= 8).await;
}

/// Waits until a DataStore can be used, and names this endpoint in a warning or none at all.
async fn warns(store: &Store, endpoint: Option<&str>) {
    let endpoint = endpoint.map(str::to_owned);
    let as_wanted = move |data_store: &DataStore| {
        let status = data_store.status.as_ref().filter(|status| status.ready);
        let found = status.and_then(|status| conditions::find(status.conditions.as_deref()?, VALIDATION));
        found.is_some_and(|found| {
            endpoint.as_ref().map_or(found.message.is_empty(), |endpoint| found.message.contains(endpoint))
        })
    };
    wait_for(&store.api(), &store.name, SOON, as_wanted).await.unwrap_or_else(|error| panic!("{error}"));
}

/// The endpoint that a tenant's kine is told of.
async fn told(subject: &Subject) -> String {
    text(&subject.secret("datastore-config").await, "DB_CONNECTION_STRING")
}

/// kine is told of the first endpoint alone, so it does not help that another one answers the operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_endpoint_reaches_tenants_on_kine_once_it_answered_itself_and_may_then_be_away() {
    let mut stage = Stage::start().await;
    let closed = format!("127.0.0.1:{}", ports::free().unwrap());
    let mut all = Vec::new();
    for driver in [Driver::PostgreSql, Driver::MySql, Driver::Nats] {
        let live = hold(driver).await;
        let proxy = FaultProxy::start(live.server().unwrap().address()).await.unwrap();
        let store = Store::ready(&stage, &live, "first").await;
        let subject = store.tenant(&stage, "first").await;
        let before = subject.deployment().await;
        all.push((store, subject, before, proxy, live));
    }
    for (store, .., live) in &all {
        store.patch(json!({"spec": {"endpoints": [closed, live.endpoint()]}})).await;
    }
    let mut new = Vec::new();
    for (store, subject, before, _, live) in &all {
        let sentence = store.says("ConnectionFailed", &[&closed, "spec.endpoints", "put one first that answers"]).await;
        println!("{}: {sentence}", store.driver);
        subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        stays(subject, before).await;
        assert_eq!(told(subject).await, live.endpoint());
        // A NATS server holds one tenant.
        if store.driver != Driver::Nats {
            let waits = stage.created("new", &store.name, |_| {}).await;
            waits.condition(conditions::PROGRESSING, "DataStoreNotReady").await;
            new.push(waits);
        }
    }
    restart(&mut stage);
    has_looked(&stage).await;
    for (store, subject, before, _, live) in &all {
        stays(subject, before).await;
        assert_eq!(told(subject).await, live.endpoint());
        store.says("ConnectionFailed", &[&closed]).await;
    }
    // The way out.
    for (store, .., proxy, _) in &all {
        store.patch(json!({"spec": {"endpoints": [proxy.address().to_string(), closed]}})).await;
    }
    for (store, subject, _, proxy, _) in &all {
        warns(store, Some(&closed)).await;
        has_rolled(subject, 2).await;
        assert_eq!(told(subject).await, proxy.address().to_string());
    }
    for waits in &new {
        is_well(waits).await;
    }
    // It goes away and comes back, and so does the operator meanwhile.
    for (store, .., proxy, live) in &all {
        store.patch(json!({"spec": {"endpoints": [proxy.address().to_string(), live.endpoint()]}})).await;
        warns(store, None).await;
        proxy.set(Mode::Refuse).await.unwrap();
        warns(store, Some(&proxy.address().to_string())).await;
    }
    restart(&mut stage);
    has_looked(&stage).await;
    for (store, subject, _, proxy, _) in &all {
        let address = proxy.address().to_string();
        warns(store, Some(&address)).await;
        if store.driver != Driver::Nats {
            let late = stage.created("late", &store.name, |_| {}).await;
            is_well(&late).await;
            assert_eq!(told(&late).await, address);
            new.push(late);
        }
        proxy.set(Mode::Pass).await.unwrap();
        warns(store, None).await;
        has_rolled(subject, 2).await;
        assert_eq!(told(subject).await, address, "it was changed twice, and neither by an outage");
    }
    for subject in new.iter().chain(all.iter().map(|(_, subject, ..)| subject)) {
        assert!(subject.templates().await <= 2);
        remove(subject).await;
    }
}
