//! DataStores with a server that cannot be used, and names that are not a tenant's to have: each says why in a condition,
//! disturbs nobody, and heals by itself. Real servers, simulated pods.

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

use std::collections::BTreeMap;

use datastores::{
    SQL, Store, is_well, login, on_each, remove, rests,
    servers::{Live, Login, hold},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_datastore::Driver;
use kamaji_pki::{KeyAlgorithm, PrivateKey, Profile, Usage, self_signed};
use kamaji_testkit::{certificate::Authority, mariadb, nats, ports, postgres};
use kube::api::PostParams;
use serde_json::{Value, json};
use support::{
    settle::versions,
    stage::{Stage, Subject},
    tenant,
};

/// What somebody breaks: a key of the DataStore's `login` or `tls` Secret, or its `spec`.
struct Fault {
    of: &'static str,
    change: Value,
    reason: &'static str,
    words: Vec<String>,
}

fn fault(of: &'static str, change: Value, reason: &'static str, words: &[&str]) -> Fault {
    Fault { of, change, reason, words: words.iter().map(ToString::to_string).collect() }
}

fn username(user: &str, password: &str) -> Value {
    json!({"username": user, "password": password})
}

/// What can be wrong with every server that is reached with a login.
fn with_any(live: &Live) -> Vec<Fault> {
    let foreign = Authority::new("foreign").unwrap();
    let stranger = foreign.client("stranger", &[]).unwrap();
    let closed = format!("127.0.0.1:{}", ports::free().unwrap());
    let (authority, key) =
        ("spec.tlsConfig.certificateAuthority.certificate", "spec.tlsConfig.clientCertificate.privateKey");
    let endpoint = live.endpoint();
    let (basic_auth, tls) = ("BasicAuthValidationFailed", "TLSConfigurationValidationFailed");
    vec![
        fault("login", json!({"password": "wrong"}), basic_auth, &["spec.basicAuth", &endpoint]),
        fault("login", username("nobody", "wrong"), basic_auth, &["spec.basicAuth", &endpoint]),
        fault(
            "login",
            json!({"username": null}),
            "BasicAuthValidationFailed",
            &["spec.basicAuth.username", "create it"],
        ),
        fault("tls", json!({"ca.crt": foreign.certificate()}), tls, &["spec.tlsConfig", &endpoint]),
        fault("tls", json!({"ca.crt": null}), tls, &[authority, "create it"]),
        fault("tls", json!({"ca.crt": "no PEM"}), tls, &[authority, "CERTIFICATE"]),
        fault("tls", json!({"ca.crt": ended()}), tls, &[authority, "ended at", "signs the server's certificate now"]),
        fault("tls", json!({"client.key": stranger.key}), tls, &[key, "does not belong"]),
        fault("spec", json!({"endpoints": [closed]}), "ConnectionFailed", &["spec.endpoints", &closed]),
    ]
}

/// An authority whose time is over.
fn ended() -> String {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let now = Timestamp::now();
    let profile = Profile {
        common_name: "ended".to_owned(),
        organizations: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Authority,
        not_before: now - SignedDuration::from_hours(2),
        not_after: now - SignedDuration::from_hours(1),
    };
    String::from_utf8(self_signed(&profile, &key).unwrap()).unwrap()
}

/// What puts right again what was broken.
fn right(live: &Live, of: &str) -> Value {
    match of {
        "login" => username(live.admin().unwrap().0, live.admin().unwrap().1),
        "tls" => json!({
            "ca.crt": live.authority().certificate(),
            "client.crt": live.client().certificate,
            "client.key": live.client().key,
        }),
        _ => json!({"endpoints": [live.endpoint()]}),
    }
}

async fn change(store: &Store, of: &str, change: Value) {
    if of == "spec" { store.patch(json!({"spec": change})).await } else { store.change(of, change).await }
}

/// Everything of tenants that are somebody else's, to compare.
async fn untouched(neighbours: &[&Subject]) -> Vec<BTreeMap<String, String>> {
    let mut all = Vec::new();
    for neighbour in neighbours {
        all.push(versions(&neighbour.client, &neighbour.namespace).await);
    }
    all
}

async fn a_server_that_cannot_be_used_says_why_and_heals(driver: Driver, more: Vec<Fault>) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let (store, beside) = (Store::ready(stage, &live, "bad").await, Store::ready(stage, &live, "good").await);
    let runs = store.tenant(stage, "runs").await;
    // On NATS the server is the first tenant's alone.
    let neighbour = if driver == Driver::Nats { None } else { Some(beside.tenant(stage, "beside").await) };
    let neighbours: Vec<&Subject> = neighbour.iter().collect();
    let (theirs, secrets, held) = (untouched(&neighbours).await, runs.secrets().await, live.holdings().await);
    let mut waits = None;
    for fault in with_any(&live).into_iter().chain(more) {
        change(&store, fault.of, fault.change).await;
        let words: Vec<&str> = fault.words.iter().map(String::as_str).collect();
        let sentence = store.says(fault.reason, &words).await;
        assert!(!sentence.contains("wrong") && !sentence.contains(live.admin().unwrap().1), "{sentence}");
        println!("{driver}: {}: {sentence}", fault.reason);
        runs.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        if waits.is_none() && driver != Driver::Nats {
            let new = stage.created("waits", &store.name, |_| {}).await;
            let sentence = new.condition(conditions::PROGRESSING, "DataStoreNotReady").await;
            assert!(sentence.contains(&store.name), "{sentence}");
            waits = Some(new);
        }
        change(&store, fault.of, right(&live, fault.of)).await;
        store.is_ready().await;
        is_well(&runs).await;
        if let Some(new) = &waits {
            is_well(new).await;
        }
    }
    if let Some(new) = waits {
        remove(&new).await;
    }
    rests(&runs).await;
    assert_eq!(runs.templates().await, 1, "a DataStore that is put right rolls nothing");
    assert!(runs.secrets().await.iter().all(|(name, secret)| secret.data == secrets[name].data));
    assert_eq!(untouched(&neighbours).await, theirs);
    assert_eq!(live.holdings().await, held);
    for subject in neighbours.into_iter().chain([&runs]) {
        remove(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_cannot_be_used_says_why_and_heals() {
    let may = |name: &str, what: &str| format!("CREATE ROLE {name} LOGIN {what} PASSWORD 'weak'");
    let lives = hold(Driver::PostgreSql).await;
    lives.run(&[&may("weak", ""), &may("half", "CREATEDB"), &may("other_half", "CREATEROLE")]).await;
    drop(lives);
    let weak = ["weak", "half", "other_half"];
    let faults = weak.map(|user| {
        fault("login", username(user, "weak"), "PrivilegesMissing", &[user, "CREATEDB", "CREATEROLE", "privileges"])
    });
    a_server_that_cannot_be_used_says_why_and_heals(Driver::PostgreSql, faults.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_cannot_be_used_says_why_and_heals() {
    let user = |name: &str| format!("CREATE USER {name}@'%' IDENTIFIED BY 'weak'");
    let lives = hold(Driver::MySql).await;
    lives.run(&[&user("weak"), &user("half"), "GRANT ALL ON *.* TO half@'%'"]).await;
    drop(lives);
    let faults = vec![
        fault("login", username("weak", "weak"), "PrivilegesMissing", &["it lacks", "CREATE USER", "privileges"]),
        fault("login", username("half", "weak"), "PrivilegesMissing", &["it lacks GRANT OPTION", "privileges"]),
    ];
    a_server_that_cannot_be_used_says_why_and_heals(Driver::MySql, faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_cannot_be_used_says_why_and_heals() {
    let plain = username(nats::PLAIN_USER, nats::PASSWORD);
    let faults = vec![fault("login", plain, "RequestRefused", &["JetStream"])];
    a_server_that_cannot_be_used_says_why_and_heals(Driver::Nats, faults).await;
}

/// The schema takes a DataStore with certificates alone, and a NATS server could know its clients by them. A tenant's kine
/// cannot log in that way.
#[tokio::test(flavor = "multi_thread")]
async fn a_nats_without_a_login_says_that_it_needs_one() {
    let stage = Stage::shared().await;
    let live = hold(Driver::Nats).await;
    let mut login = Value::Null;
    let store = Store::create(stage, &live, "bare", |spec| {
        login = spec.as_object_mut().unwrap().remove("basicAuth").unwrap();
    })
    .await;
    let sentence =
        store.says("BasicAuthValidationFailed", &["spec.basicAuth is missing", "username", "password"]).await;
    println!("{sentence}");
    let waits = stage.created("waits", &store.name, |_| {}).await;
    waits.condition(conditions::PROGRESSING, "DataStoreNotReady").await;
    store.patch(json!({"spec": {"basicAuth": login}})).await;
    is_well(&waits).await;
    // Taken away from a tenant that runs.
    store.patch(json!({"spec": {"basicAuth": null}})).await;
    store.says("BasicAuthValidationFailed", &["spec.basicAuth is missing"]).await;
    waits.condition(conditions::DEGRADED, "DataStoreNotReady").await;
    store.patch(json!({"spec": {"basicAuth": login}})).await;
    is_well(&waits).await;
    rests(&waits).await;
    assert_eq!(waits.templates().await, 1);
    remove(&waits).await;
}

fn named(schema: &str, user: &str) -> impl FnOnce(&mut Value) {
    move |spec: &mut Value| {
        spec["dataStoreSchema"] = json!(schema);
        spec["dataStoreUsername"] = json!(user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_reach_beyond_a_tenant_are_not_even_taken() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let namespace = stage.cluster.api_server().namespace().await.unwrap();
    let tenants: kube::Api<TenantControlPlane> = kube::Api::namespaced(client, &namespace);
    let long = "n".repeat(201);
    for name in ["root", "a/b", "/", "..", ".", "a\0b", "a\nb", &long] {
        for (field, change) in [("dataStoreSchema", named(name, "good")), ("dataStoreUsername", named("good", name))] {
            let object = tenant(&namespace, "beyond", "default", change);
            let refused = tenants.create(&PostParams::default(), &object).await.unwrap_err();
            assert!(refused.to_string().contains(&format!("spec.{field}")), "{name:?}: {refused}");
        }
    }
}

/// A tenant that asks for a name which is not to be had says so, makes nothing, and can be deleted.
async fn is_refused(
    stage: &Stage,
    live: &Live,
    store: &Store,
    names: (&str, &str),
    reason: &'static str,
    words: &[&str],
) {
    let before = live.holdings().await;
    let subject = stage.created("asks", &store.name, named(names.0, names.1)).await;
    let kind = if reason == "DataStoreFailed" { conditions::DEGRADED } else { conditions::STALLED };
    let sentence = subject.condition(kind, reason).await;
    for word in words {
        assert!(sentence.contains(word), "{word} is missing for {names:?} in: {sentence}");
    }
    println!("{}: {names:?}: {reason}: {sentence}", store.driver);
    assert!(subject.api::<k8s_openapi::api::apps::v1::Deployment>().get_opt("asks").await.unwrap().is_none());
    assert_eq!(live.holdings().await, before, "{names:?}");
    remove(&subject).await;
    assert_eq!(live.holdings().await, before, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_are_refused_on_postgres_and_theirs_stays() {
    let stage = Stage::shared().await;
    let live = hold(Driver::PostgreSql).await;
    let store = Store::ready(stage, &live, "names").await;
    live.run(&[
        "CREATE DATABASE payroll",
        "CREATE ROLE ada LOGIN PASSWORD 'x'",
        "CREATE DATABASE journal OWNER ada",
        "CREATE ROLE staff LOGIN CREATEDB",
    ])
    .await;
    let (schema, user) = ("spec.dataStoreSchema", "spec.dataStoreUsername");
    let refused: [((&str, &str), &str, &[&str]); 11] = [
        (("a\"b", "good"), "InvalidSpec", &[schema, "choose another name"]),
        (("good", "a'b"), "InvalidSpec", &[user, "choose another name"]),
        (("postgres", "good"), "InvalidSpec", &[schema, "system database"]),
        (("good", "pg_monitor"), "InvalidSpec", &[user, "system role"]),
        (("good", "postgres"), "InvalidSpec", &[user, "system role"]),
        // Whom the DataStore logs in as stands in a Secret: the driver alone knows.
        (("good", postgres::USER), "InvalidSpec", &[user, "login of the DataStore itself", "choose another name"]),
        (("good", postgres::CERTIFIED_USER), "DataStoreFailed", &["superuser", "choose another user"]),
        (("payroll", "good"), "DataStoreFailed", &["\"payroll\"", "belongs to the role", "choose another schema"]),
        (("journal", "good"), "DataStoreFailed", &["\"journal\"", "\"ada\""]),
        (("good", "ada"), "DataStoreFailed", &["\"ada\"", "not made for this tenant"]),
        (("good", "staff"), "DataStoreFailed", &["\"staff\"", "not made for this tenant"]),
    ];
    for (names, reason, words) in refused {
        is_refused(stage, &live, &store, names, reason, words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_are_refused_on_mariadb_and_theirs_stays() {
    let stage = Stage::shared().await;
    let live = hold(Driver::MySql).await;
    let store = Store::ready(stage, &live, "names").await;
    live.run(&["CREATE DATABASE payroll COMMENT 'ask Ada'", "CREATE USER ada@'%' IDENTIFIED BY 'x'"]).await;
    let (schema, user) = ("spec.dataStoreSchema", "spec.dataStoreUsername");
    let long = "u".repeat(33);
    let refused: [((&str, &str), &str, &[&str]); 8] = [
        (("a`b", "good"), "InvalidSpec", &[schema, "choose another name"]),
        (("mysql", "good"), "InvalidSpec", &[schema, "system database"]),
        (("Information_Schema", "good"), "InvalidSpec", &[schema, "system database"]),
        (("good", "mariadb.sys"), "InvalidSpec", &[user, "system user"]),
        (("good", &long), "InvalidSpec", &[user, "32 characters"]),
        (("good", mariadb::USER), "InvalidSpec", &[user, "login of the DataStore itself", "choose another name"]),
        (("payroll", "good"), "DataStoreFailed", &["\"payroll\"", "not made for this tenant"]),
        (("good", "ada"), "DataStoreFailed", &["\"ada\"", "not made for this tenant"]),
    ];
    for (names, reason, words) in refused {
        is_refused(stage, &live, &store, names, reason, words).await;
    }
}

/// The shape in which the Go operator leaves a tenant is that of many an application too. Only what its own object tells
/// of is a tenant's.
#[tokio::test(flavor = "multi_thread")]
async fn an_applications_database_and_role_are_no_tenants() {
    let stage = Stage::shared().await;
    let live = hold(Driver::PostgreSql).await;
    let store = Store::ready(stage, &live, "app").await;
    live.run(&["CREATE ROLE shop LOGIN PASSWORD 'kept'", "CREATE DATABASE shop OWNER shop"]).await;
    is_refused(stage, &live, &store, ("shop", "shop"), "DataStoreFailed", &["\"shop\"", "not made for this tenant"])
        .await;
    let shop = Login { schema: "shop".into(), user: "shop".into(), password: "kept".into(), certificate: None };
    live.write_as(&shop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_database_and_user_are_no_tenants() {
    let stage = Stage::shared().await;
    let live = hold(Driver::MySql).await;
    let store = Store::ready(stage, &live, "app").await;
    live.run(&[
        "CREATE DATABASE shop",
        "CREATE USER shop@'%' IDENTIFIED BY 'kept'",
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON shop.* TO shop@'%'",
    ])
    .await;
    is_refused(stage, &live, &store, ("shop", "shop"), "DataStoreFailed", &["\"shop\"", "not made for this tenant"])
        .await;
    let shop = Login { schema: "shop".into(), user: "shop".into(), password: "kept".into(), certificate: None };
    live.write_as(&shop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_bucket_is_no_tenants() {
    let stage = Stage::shared().await;
    let live = hold(Driver::Nats).await;
    let store = Store::ready(stage, &live, "app").await;
    let mut shop =
        Login { schema: "shop".into(), user: nats::USER.into(), password: nats::PASSWORD.into(), certificate: None };
    live.write_as(&shop).await.unwrap();
    is_refused(stage, &live, &store, ("shop", "any"), "DataStoreFailed", &["\"shop\""]).await;
    shop.schema = "other".into();
    live.write_as(&shop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_or_user_of_another_tenant_is_refused_and_free_when_that_one_is_gone() {
    on_each(&SQL, taken_until_gone).await;
}

async fn taken_until_gone(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "taken").await;
    let first = stage.created("first", &store.name, named("wanted", "wanted_user")).await;
    is_well(&first).await;
    live.write_as(&login(&first).await).await.unwrap();
    rests(&first).await;
    let (theirs, held) = (untouched(&[&first]).await, live.holdings().await);
    let thieves = [
        ("spec.dataStoreSchema", stage.created("both", &store.name, named("wanted", "wanted_user")).await),
        ("spec.dataStoreSchema", stage.created("schema", &store.name, named("wanted", "mine")).await),
        ("spec.dataStoreUsername", stage.created("user", &store.name, named("mine", "wanted_user")).await),
    ];
    for (field, thief) in &thieves {
        let sentence = thief.condition(conditions::STALLED, "NameTaken").await;
        assert!(sentence.contains(field) && sentence.contains("another TenantControlPlane"), "{sentence}");
    }
    for (_, thief) in &thieves[1..] {
        remove(thief).await;
    }
    assert_eq!(live.holdings().await, held);
    assert_eq!(untouched(&[&first]).await, theirs);
    live.write_as(&login(&first).await).await.unwrap();
    // The way out that needs no change: the other one goes.
    remove(&first).await;
    let (_, heir) = &thieves[0];
    is_well(heir).await;
    live.write_as(&login(heir).await).await.unwrap();
    remove(heir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tenant_on_nats_is_refused_until_the_first_is_gone() {
    let stage = Stage::shared().await;
    let live = hold(Driver::Nats).await;
    let store = Store::ready(stage, &live, "single").await;
    let first = store.tenant(stage, "first").await;
    live.write_as(&login(&first).await).await.unwrap();
    let (theirs, held) = (untouched(&[&first]).await, live.holdings().await);
    let (second, leaves) =
        (stage.created("second", &store.name, |_| {}).await, stage.created("leaves", &store.name, |_| {}).await);
    for refused in [&second, &leaves] {
        let sentence = refused.condition(conditions::STALLED, "DataStoreFull").await;
        assert!(sentence.contains("takes one tenant") && sentence.contains("choose another DataStore"), "{sentence}");
    }
    remove(&leaves).await;
    assert_eq!(untouched(&[&first]).await, theirs);
    assert_eq!(live.holdings().await, held);
    remove(&first).await;
    let began = std::time::Instant::now();
    is_well(&second).await;
    println!("the second had the place {:?} after the first was gone", began.elapsed());
    remove(&second).await;
    assert!(live.holdings().await.is_empty());
}
