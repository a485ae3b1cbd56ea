//! A tenant's place on each kind of datastore: made once, not touched again, and gone without a trace when the tenant goes.
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

use std::collections::{BTreeMap, BTreeSet};

use datastores::{
    ALL, Store, eventually, gone, is_well, login, on_each, remove, rests,
    servers::{Live, hold, own},
    text,
};
use etcd_client::DeleteOptions;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, Secret},
};
use kamaji_api::{TenantControlPlane, data_store::TakenName};
use kamaji_datastore::Driver;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use support::{
    SOON, phase,
    settle::{counted, counts, settle, versions},
    stage::{Stage, Subject},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_rolled_out_once_and_its_login_works() {
    on_each(&ALL, rolled_out_once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_leaves_nothing() {
    on_each(&ALL, leaves_nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_deleted_half_made_leaves_nothing() {
    on_each(&ALL, half_made_leaves_nothing).await;
}

fn is_sql(driver: Driver) -> bool {
    matches!(driver, Driver::PostgreSql | Driver::MySql)
}

async fn rolled_out_once(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let before = live.holdings().await;
    let store = Store::ready(stage, &live, "once").await;
    let subject = store.tenant(stage, "once").await;

    let deployment = subject.deployment().await;
    assert_eq!(
        (deployment.metadata.generation, subject.templates().await),
        (Some(1), 1),
        "one template from the start"
    );
    has_its_datastore(driver, &deployment);

    let tenant: TenantControlPlane = subject.api().get("once").await.unwrap();
    let uid = tenant.uid().unwrap();
    let config = subject.secret("datastore-config").await;
    let keys: Vec<&String> = config.data.as_ref().unwrap().keys().collect();
    assert_eq!(keys, ["DB_CONNECTION_STRING", "DB_PASSWORD", "DB_SCHEMA", "DB_USER"]);
    let (connection, user) = match driver {
        Driver::Etcd => (String::new(), uid.clone()),
        Driver::PostgreSql => (live.endpoint(), uid.clone()),
        Driver::MySql => (live.endpoint(), uid.replace('-', "")),
        Driver::Nats => (live.endpoint(), live.admin().unwrap().0.to_owned()),
    };
    assert_eq!(text(&config, "DB_CONNECTION_STRING"), connection);
    assert_eq!((text(&config, "DB_SCHEMA"), text(&config, "DB_USER")), (uid.clone(), user.clone()));
    let storage = tenant.status.unwrap().storage;
    assert_eq!(storage.data_store_name.as_ref(), Some(&store.name));
    assert_eq!((storage.setup.schema, storage.setup.user), (Some(uid.clone()), Some(user.clone())));
    let told = store.get().await.status.unwrap();
    assert_eq!(told.login.as_deref(), live.admin().map(|(name, _)| name));
    let tenant = format!("{}/once", subject.namespace);
    let own_user = (driver != Driver::Nats).then(|| user.clone());
    assert_eq!(told.taken_names, Some(vec![TakenName { tenant, schema: uid.clone(), user: own_user }]));

    let login = login(&subject).await;
    match driver {
        Driver::Nats => assert_eq!(login.password, live.admin().unwrap().1),
        Driver::Etcd | Driver::PostgreSql | Driver::MySql => {
            assert_eq!(login.password.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
        }
    }
    let certificate = subject.secret("datastore-certificate").await;
    assert_eq!(text(&certificate, "ca.crt"), live.authority().certificate());
    if driver != Driver::Etcd {
        assert_eq!(text(&certificate, "server.crt"), live.client().certificate);
    }
    live.write_as(&login).await.unwrap();
    if is_sql(driver) {
        let mut wrong = login.clone();
        wrong.password.push('x');
        live.write_as(&wrong).await.unwrap_err();
    }
    // What was written stays as it is.
    rests(&subject).await;
    live.write_as(&login).await.unwrap();
    assert_eq!(subject.deployment().await.metadata.generation, Some(1));

    let made: BTreeSet<String> = live.holdings().await.difference(&before).cloned().collect();
    assert!(
        !made.is_empty()
            && made.iter().all(|made| made.contains(&uid) || made.contains(&user) || driver == Driver::Nats)
    );
    println!("{driver} holds for a tenant: {made:?}");
    remove(&subject).await;
}

fn container<'a>(deployment: &'a Deployment, name: &str) -> Option<&'a Container> {
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let all = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    all.into_iter().find(|container| container.name == name)
}

/// The pods are told of their datastore as its kind needs it.
fn has_its_datastore(driver: Driver, deployment: &Deployment) {
    let pod = serde_json::to_value(deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap()).unwrap();
    let volumes: BTreeMap<&str, &Value> =
        pod["volumes"].as_array().unwrap().iter().map(|volume| (volume["name"].as_str().unwrap(), volume)).collect();
    let files = volumes["etc-kubernetes-pki"].to_string();
    let api_server = container(deployment, "kube-apiserver").unwrap().clone().args.unwrap();
    let has = |flag: &str| api_server.iter().any(|argument| argument.starts_with(flag));
    let endpoint = match driver {
        Driver::Etcd => {
            for kine in ["kine", "chmod"] {
                assert!(container(deployment, kine).is_none(), "{kine}");
            }
            assert!(volumes.keys().all(|name| !name.starts_with("kine")), "{volumes:?}");
            assert!(files.contains("etcd/ca.crt") && has("--etcd-cafile") && has("--etcd-servers=https://"));
            return;
        }
        Driver::PostgreSql => "postgres://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)/$(DB_SCHEMA)",
        Driver::MySql => "mysql://$(DB_USER):$(DB_PASSWORD)@tcp($(DB_CONNECTION_STRING))/$(DB_SCHEMA)",
        Driver::Nats => "nats://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)?bucket=$(DB_SCHEMA)&noEmbed",
    };
    assert!(!files.contains("etcd/ca.crt") && !has("--etcd-cafile") && has("--etcd-servers=unix:///uds/kine"));
    assert_eq!(volumes["kine-uds"]["emptyDir"]["medium"], "Memory");
    assert_eq!(volumes["kine-config"]["secret"]["secretName"], "once-datastore-certificate");
    assert!(volumes["kine-certs"]["emptyDir"].is_object(), "{volumes:?}");

    let kine = serde_json::to_value(container(deployment, "kine").unwrap()).unwrap();
    let env = kine["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "KINE_ENDPOINT", "value": endpoint})), "{env:?}");
    assert_eq!(kine["envFrom"][0]["secretRef"]["name"], "once-datastore-config");
    let files = ["--ca-file=/certs/ca.crt", "--cert-file=/certs/server.crt", "--key-file=/certs/server.key"];
    let mut args: Vec<&str> = kine["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    args.retain(|arg| arg.contains("file") || arg.contains("listen") || arg.contains("endpoint"));
    assert_eq!(args, [files[0], files[1], files[2], "--listen-address=unix:///uds/kine"]);
    let mounts = |container: &str| {
        let container = self::container(deployment, container).unwrap();
        let mounts = container.volume_mounts.iter().flatten();
        mounts.map(|mount| (mount.name.clone(), mount.mount_path.clone())).collect::<BTreeSet<_>>()
    };
    let mount = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    assert_eq!(mounts("kine"), [mount("kine-certs", "/certs"), mount("kine-uds", "/uds")].into());
    assert_eq!(mounts("chmod"), [mount("kine-certs", "/certs"), mount("kine-config", "/kine")].into());
    assert!(mounts("kube-apiserver").contains(&mount("kine-uds", "/uds")));
}

async fn leaves_nothing(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "gone").await;
    let before = live.holdings().await;
    let (mine, stays) = if driver == Driver::Nats {
        (store.tenant(stage, "mine").await, None)
    } else {
        let (mine, stays) = tokio::join!(store.tenant(stage, "mine"), store.tenant(stage, "stays"));
        (mine, Some(stays))
    };
    live.write_as(&login(&mine).await).await.unwrap();
    let full = live.holdings().await;
    let mine_login = login(&mine).await;
    remove(&mine).await;
    let left = live.holdings().await;
    assert!(full.len() > left.len(), "{full:?} {left:?}");
    match &stays {
        None => assert_eq!(left, before),
        Some(stays) => {
            live.write_as(&mine_login).await.unwrap_err();
            live.write_as(&login(stays).await).await.unwrap();
            store.is_used_by(&[stays]).await;
            remove(stays).await;
            assert_eq!(live.holdings().await, before);
        }
    }
    store.is_used_by(&[]).await;
    eventually("the garbage collector took the Secrets", async || mine.secrets().await.is_empty()).await;
}

/// Deleted as soon as something of it is there, whatever that is.
async fn half_made_leaves_nothing(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "half").await;
    let before = live.holdings().await;
    for when in ["created", "held", "told", "placed"] {
        let subject = stage.created(when, &store.name, |_| {}).await;
        match when {
            "held" => {
                subject.back(when, |tenant: &TenantControlPlane| !tenant.finalizers().is_empty()).await;
            }
            "told" => {
                subject.back(&format!("{when}-datastore-config"), |_: &Secret| true).await;
            }
            "placed" => {
                eventually("something of it in the server", async || live.holdings().await != before).await;
            }
            _ => {}
        }
        remove(&subject).await;
        // One that is deleted while it is given its finalizer may be gone before what was made for it.
        eventually(&format!("nothing is left, {when}"), async || live.holdings().await == before).await;
    }
    store.is_used_by(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_gone_past_its_finalizer_leaves_nothing() {
    on_each(&ALL, past_its_finalizer_leaves_nothing).await;
}

/// What a request to delete does that began before the finalizer was there, and ends after.
async fn past_its_finalizer_leaves_nothing(driver: Driver) {
    let stage = Stage::shared().await;
    let live = hold(driver).await;
    let store = Store::ready(stage, &live, "past").await;
    let before = live.holdings().await;
    let mut management = stage.cluster.api_server().etcd().client().await.unwrap();
    for attempt in 1.. {
        let subject = stage.created("past", &store.name, |_| {}).await;
        subject.back("past", |tenant: &TenantControlPlane| !tenant.finalizers().is_empty()).await;
        let key = format!("/registry/kamaji.clastix.io/tenantcontrolplanes/{}/past", subject.namespace);
        let deleted = management.delete(&*key, Some(DeleteOptions::new().with_prev_key())).await.unwrap();
        let last = deleted.prev_kvs()[0].value();
        let tenant: TenantControlPlane = serde_json::from_slice(last).unwrap();
        if tenant.status.is_some_and(|status| status.storage.setup.schema.is_some()) {
            // The operator was faster, and a request that takes as long is not what this is about.
            assert!(attempt < 5, "it is set up before it can be deleted");
            management.put(key, last, None).await.unwrap();
            remove(&subject).await;
            continue;
        }
        eventually("nothing is left", async || live.holdings().await == before).await;
        eventually("its Secrets are gone", async || subject.secrets().await.is_empty()).await;
        break;
    }
    store.is_used_by(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_writes_nothing_and_finishes_what_was_half_gone() {
    let mut stage = Stage::start().await;
    let lives =
        [hold(Driver::Etcd).await, hold(Driver::PostgreSql).await, hold(Driver::MySql).await, hold(Driver::Nats).await];
    let mut before = Vec::new();
    for live in &lives {
        before.push(live.holdings().await);
    }
    let tenant = async |live: &Live| {
        let store = Store::ready(&stage, live, "again").await;
        let subject = stage.created("again", &store.name, |_| {}).await;
        is_well(&subject).await;
        live.write_as(&login(&subject).await).await.unwrap();
        subject
    };
    let [etcd, postgres, mariadb, nats] = &lives;
    let (etcd, postgres, mariadb, nats) = tokio::join!(tenant(etcd), tenant(postgres), tenant(mariadb), tenant(nats));
    let all = [&etcd, &postgres, &mariadb, &nats];
    for subject in all {
        settle(&stage.operator, &subject.client, &subject.namespace, &["again"]).await;
    }
    let versions = async || {
        let mut all_versions = Vec::new();
        for subject in all {
            all_versions.push(versions(&subject.client, &subject.namespace).await);
        }
        all_versions
    };
    let rest = versions().await;
    stage.operator.kill();
    stage.operator.resume();
    let seen = counted(&stage.operator, |counts| counts.passes >= 4 && counts.store_passes >= 4).await;
    for subject in all {
        settle(&stage.operator, &subject.client, &subject.namespace, &["again"]).await;
    }
    let after = counts(&stage.operator).await;
    assert!(after.writes.is_empty(), "{seen:?} {after:?}");
    let mut now = versions().await;
    for (now, rest) in now.iter_mut().zip(&rest) {
        // We poked it.
        now.insert("TenantControlPlane/again".to_owned(), rest["TenantControlPlane/again"].clone());
    }
    assert_eq!(now, rest);

    // Deleted while nobody looks, with one half of its place away.
    stage.operator.kill();
    let schema = login(&postgres).await.schema;
    lives[1].run(&[&format!("DROP DATABASE \"{schema}\"")]).await;
    let user = login(&mariadb).await.user;
    lives[2].run(&[&format!("DROP USER '{user}'@'%'")]).await;
    for subject in all {
        subject.api::<TenantControlPlane>().delete("again", &DeleteParams::default()).await.unwrap();
    }
    stage.operator.resume();
    for (index, subject) in all.into_iter().enumerate() {
        gone(subject).await;
        assert_eq!(lives[index].holdings().await, before[index]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kines_own_fields_show_when_set_and_go_when_removed() {
    let stage = Stage::shared().await;
    let live = hold(Driver::PostgreSql).await;
    let store = Store::ready(stage, &live, "fields").await;
    let subject = store.tenant(stage, "fields").await;
    let before = subject.deployment().await;
    let kine = |deployment: &Deployment| container(deployment, "kine").unwrap().clone();
    let limits = |container: &Container| json!(container.resources)["limits"].clone();
    let verbose = |container: &Container| container.args.iter().flatten().any(|argument| argument == "--debug");
    assert!(limits(&kine(&before)).is_null() && !verbose(&kine(&before)), "{:?}", kine(&before));
    let set = async |field: &str, value: Value| {
        let patch = json!({"spec": {"controlPlane": {"deployment": {field: {"kine": value}}}}});
        subject.patch::<TenantControlPlane>("fields", patch).await;
    };
    let limit = json!({"memory": "1Gi"});
    set("resources", json!({"limits": limit})).await;
    subject.back::<Deployment>("fields", |found| limits(&kine(found)) == limit).await;
    set("resources", Value::Null).await;
    subject.back::<Deployment>("fields", |found| limits(&kine(found)).is_null()).await;
    set("extraArgs", json!(["--debug"])).await;
    subject.back::<Deployment>("fields", |found| verbose(&kine(found))).await;
    set("extraArgs", Value::Null).await;
    subject.back::<Deployment>("fields", |found| !verbose(&kine(found))).await;
    assert_eq!(subject.deployment().await.spec.unwrap().template, before.spec.unwrap().template);
    remove(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_in_clear_text_has_no_certificates_and_leaves_nothing_either() {
    let stage = Stage::shared().await;
    let live = hold(Driver::PostgreSql).await;
    let before = live.holdings().await;
    let clear = |spec: &mut Value| drop(spec.as_object_mut().unwrap().remove("tlsConfig"));
    let store = Store::create(stage, &live, "clear", clear).await;
    let subject = store.tenant(stage, "clear").await;
    let deployment = subject.deployment().await;
    assert_eq!(deployment.metadata.generation, Some(1));
    assert!(container(&deployment, "chmod").is_none());
    let args = container(&deployment, "kine").unwrap().clone().args.unwrap();
    assert!(!args.iter().any(|arg| arg.contains("-file")), "{args:?}");
    let certificate = subject.secret("datastore-certificate").await;
    assert!(certificate.data.clone().unwrap_or_default().is_empty(), "{:?}", certificate.data.unwrap().keys());
    assert_eq!(certificate.owner_references()[0].name, "clear");
    live.write_as(&login(&subject).await).await.unwrap();
    remove(&subject).await;
    assert_eq!(live.holdings().await, before);
}

/// What the store's administrator sees is what the operator says of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_store_in_use_is_kept_and_names_its_tenants_until_they_are_gone() {
    let stage = Stage::shared().await;
    let live = own(Driver::PostgreSql).await;
    let store = Store::ready(stage, &live, "used").await;
    store.is_used_by(&[]).await;
    let (first, second) =
        tokio::join!(stage.created("first", &store.name, |_| {}), stage.created("second", &store.name, |_| {}));
    let both: [&Subject; 2] = [&first, &second];
    for subject in both {
        phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    }
    store.is_used_by(&both).await;
    store.api().delete(&store.name, &DeleteParams::default()).await.unwrap();
    for left in [&both[..], &both[1..]] {
        let names: Vec<String> = left.iter().map(|subject| format!("{}/{}", subject.namespace, subject.name)).collect();
        let sentence = store.keeps(&names).await;
        println!("{sentence}");
        is_well(left[0]).await;
        remove(left[0]).await;
    }
    let data_stores: Api<kamaji_api::DataStore> = store.api();
    kamaji_testkit::wait::wait_for_deletion(&data_stores, &store.name, None, SOON).await.unwrap();
}
