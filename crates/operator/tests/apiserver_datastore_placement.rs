//! Which DataStore a tenant is placed on, how many it takes, tenants that keep resources on two, and DataStores that are
//! deleted together with their tenants.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_plan::placement::Place;
use kamaji_testkit::{
    cluster::Cluster,
    etcd::Etcd,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    Operator, SOON, create, data_store, phase,
    settle::{counted, counts, settle},
    stage::{Stage, Subject},
    tenant,
};

/// A DataStore of its own etcd with these labels and annotations.
async fn store(client: &Client, name: &str, metadata: Value) -> Etcd {
    let etcd = data_store(client, name).await;
    change(client, name, metadata).await;
    let ready = |store: &DataStore| store.status.as_ref().is_some_and(|status| status.ready);
    wait_for(&Api::<DataStore>::all(client.clone()), name, SOON, ready).await.unwrap();
    etcd
}

async fn change(client: &Client, name: &str, metadata: Value) {
    let patch = Patch::Merge(json!({"metadata": metadata}));
    Api::<DataStore>::all(client.clone()).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn places(client: &Client, name: &str) -> usize {
    Place::all(&Api::<DataStore>::all(client.clone()).get(name).await.unwrap()).len()
}

fn selects(spec: &mut Value, pool: &str) {
    spec.as_object_mut().unwrap().remove("dataStore");
    spec["dataStoreSelector"] = json!({"matchLabels": {"pool": pool}});
}

fn reason(tenant: &TenantControlPlane) -> Option<&str> {
    let all = tenant.status.as_ref()?.conditions.as_deref()?;
    let stalled = conditions::find(all, conditions::STALLED)?;
    (stalled.status == "True").then_some(stalled.reason.as_str())
}

fn is_ready(tenant: &TenantControlPlane) -> bool {
    let conditions = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions::is_true(conditions, conditions::READY)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_with_a_limit_of_ten_takes_ten_of_twenty_tenants_at_once_and_the_next_when_one_goes() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let limit = json!({"labels": {"pool": "ten"}, "annotations": {"kamaji.clastix.io/tenant-limit": "10"}});
    let _etcd = store(&client, "ten", limit).await;
    let namespace = stage.cluster.api_server().namespace().await.unwrap();
    let all: Vec<_> =
        (0..20).map(|number| tenant(&namespace, &format!("t{number}"), "", |spec| selects(spec, "ten"))).collect();
    futures::future::join_all(all.iter().map(|tenant| create(&client, tenant))).await;

    let tenants: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    let decided = |tenant: &TenantControlPlane| is_ready(tenant) || reason(tenant) == Some("NoDataStoreFits");
    let mut placed = Vec::new();
    let mut waits = Vec::new();
    for tenant in &all {
        let found = wait_for(&tenants, &tenant.name_any(), SOON, decided).await.unwrap();
        if is_ready(&found) { placed.push(found.name_any()) } else { waits.push(found.name_any()) }
    }
    assert_eq!((placed.len(), waits.len()), (10, 10), "{placed:?}\n{}", stage.operator.log());
    assert_eq!(places(&client, "ten").await, 10);
    for name in &waits {
        let tenant = tenants.get(name).await.unwrap();
        assert!(tenant.status.unwrap().storage.data_store_name.is_none(), "{name} has nothing anywhere");
    }

    tenants.delete(&placed[0], &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&tenants, &placed[0], None, SOON).await.unwrap();
    let any = waits.iter().map(|name| Box::pin(wait_for(&tenants, name, SOON, is_ready)));
    futures::future::select_all(any).await.0.unwrap();
    assert_eq!(places(&client, "ten").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_stays_on_the_datastore_that_its_selector_found_and_one_that_nothing_fits_waits_for_it() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let chosen = stage.created("chosen", "", |spec| selects(spec, "later")).await;
    let sentence = chosen.condition(conditions::STALLED, "NoDataStoreFits").await;
    assert!(sentence.starts_with("spec.dataStoreSelector: no DataStore has labels that match"), "{sentence}");

    let _first = store(&client, "first", json!({"labels": {"pool": "later"}})).await;
    phase(&chosen.client, &chosen.namespace, "chosen", "Ready").await;
    let _second = store(&client, "second", json!({"labels": {"pool": "later"}})).await;
    change(&client, "first", json!({"labels": {"pool": "other"}})).await;
    let more = json!({"spec": {"controlPlane": {"deployment": {"replicas": 2}}}});
    chosen.patch::<TenantControlPlane>("chosen", more).await;
    let has_two = |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(2);
    chosen.back::<Deployment>("chosen", has_two).await;
    let kept = chosen.api::<TenantControlPlane>().get("chosen").await.unwrap();
    assert_eq!(kept.status.unwrap().storage.data_store_name.as_deref(), Some("first"));
    assert_eq!(kept.spec.data_store, None, "the specification is its owner's");
}

/// Nothing else would have them looked at for half an hour.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_leave_the_choice_open_go_on_when_there_is_a_datastore_for_them() {
    let cluster = Cluster::start(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let operator = Operator::start(cluster.api_server(), &["--datastore=late"]);
    let client = cluster.api_server().client().unwrap();
    let namespace = cluster.api_server().namespace().await.unwrap();
    let absent = tenant(&namespace, "absent", "", |spec| drop(spec.as_object_mut().unwrap().remove("dataStore")));
    let empty = tenant(&namespace, "empty", "", |_| {});
    let selecting = tenant(&namespace, "selecting", "", |spec| {
        selects(spec, "late");
        spec["dataStore"] = json!("");
    });
    let tenants: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    let waiting = [(&absent, "DataStoreNotFound"), (&empty, "DataStoreNotFound"), (&selecting, "NoDataStoreFits")];
    for (tenant, why) in waiting {
        create(&client, tenant).await;
        wait_for(&tenants, &tenant.name_any(), SOON, |tenant| reason(tenant) == Some(why)).await.unwrap();
    }
    let _etcd = store(&client, "late", json!({"labels": {"pool": "late"}})).await;
    for (tenant, _) in waiting {
        let ready = wait_for(&tenants, &tenant.name_any(), SOON, is_ready).await;
        ready.unwrap_or_else(|error| panic!("{error}\n{}", operator.log()));
    }
}

/// The Go operator's definition has neither of these fields.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_which_an_older_definition_prunes_fields_is_written_when_it_changes_and_not_else() {
    let mut crds = kamaji_api::crd::all().unwrap();
    let definition = crds.iter_mut().find(|crd| crd.spec.names.kind == "DataStore").unwrap();
    let schema = definition.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
    let status = schema.properties.as_mut().unwrap().get_mut("status").unwrap().properties.as_mut().unwrap();
    for ours in ["takenNames", "login"] {
        status.remove(ours).unwrap();
    }
    let cluster = Cluster::start(&crds).await.unwrap();
    let operator = Operator::start(cluster.api_server(), &[]);
    let client = cluster.api_server().client().unwrap();
    let namespace = cluster.api_server().namespace().await.unwrap();
    let _etcd = store(&client, "older", json!({})).await;
    let stores = Api::<DataStore>::all(client.clone());
    for (name, users) in [("one", 1), ("two", 2)] {
        create(&client, &tenant(&namespace, name, "older", |_| {})).await;
        phase(&client, &namespace, name, "Ready").await;
        let used_by = |store: &DataStore| store.status.clone().and_then(|status| status.used_by).unwrap_or_default();
        let told = wait_for(&stores, "older", SOON, |store| used_by(store).len() == users).await.unwrap();
        assert_eq!(told.status.unwrap().taken_names, None, "it is pruned");
        settle(&operator, &client, &namespace, &[name]).await;
        for round in 0..4 {
            let before = counts(&operator).await;
            change(&client, "older", json!({"annotations": {"test/poke": format!("{name}-{round}")}})).await;
            let after = counted(&operator, |counts| counts.store_passes > before.store_passes).await;
            // The first one may be that of a change before.
            assert!(round == 0 || after.writes == before.writes, "{before:?} {after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_shows_the_names_of_its_tenants_until_they_are_gone() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let _etcd = store(&client, "shows", json!({})).await;
    let stores = Api::<DataStore>::all(client);
    let shown = |store: &DataStore| {
        let taken = store.status.clone().and_then(|status| status.taken_names).unwrap_or_default();
        taken.into_iter().map(|taken| (taken.tenant, taken.schema, taken.user.unwrap())).collect::<Vec<_>>()
    };
    let names = |spec: &mut Value| {
        spec["dataStoreSchema"] = json!("a_schema");
        spec["dataStoreUsername"] = json!("a_user");
    };
    let asks = stage.created("asks", "shows", names).await;
    let plain = stage.created("plain", "shows", |_| {}).await;
    let uid = plain.api::<TenantControlPlane>().get("plain").await.unwrap().uid().unwrap();
    let mut both = vec![
        (format!("{}/asks", asks.namespace), "a_schema".to_owned(), "a_user".to_owned()),
        (format!("{}/plain", plain.namespace), uid.clone(), uid),
    ];
    both.sort();
    wait_for(&stores, "shows", SOON, |store| shown(store) == both).await.unwrap();
    for subject in [&asks, &plain] {
        phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    }
    assert_eq!(shown(&stores.get("shows").await.unwrap()), both, "what was promised is what they have");

    for (subject, left) in [(&asks, 1), (&plain, 0)] {
        subject.api::<TenantControlPlane>().delete(&subject.name, &DeleteParams::default()).await.unwrap();
        wait_for(&stores, "shows", SOON, |store| shown(store).len() == left).await.unwrap();
    }
}

/// User names and key count below a prefix.
async fn holdings(etcd: &Etcd, schema: &str) -> (Vec<String>, usize) {
    let mut client = etcd.client().await.unwrap();
    let users = client.user_list().await.unwrap().users().to_vec();
    let options = etcd_client::GetOptions::new().with_prefix().with_count_only();
    let keys = client.get(format!("/{schema}/"), Some(options)).await.unwrap().count();
    (users, usize::try_from(keys).unwrap())
}

async fn arguments(subject: &Subject) -> Vec<String> {
    let pod = subject.deployment().await.spec.unwrap().template.spec.unwrap();
    pod.containers.into_iter().find(|container| container.name == "kube-apiserver").unwrap().args.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_keeps_on_a_second_datastore_stays_without_the_override_and_is_erased_with_the_tenant() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let (one, two) = (store(&client, "one", json!({})).await, store(&client, "two", json!({})).await);
    let over = |name: &'static str| {
        move |spec: &mut Value| {
            spec["dataStoreSchema"] = json!(name);
            spec["dataStoreUsername"] = json!(name);
            spec["dataStoreOverrides"] = json!([{"resource": "/events", "dataStore": "two"}]);
        }
    };
    let leaves = stage.created("leaves", "one", over("leaves")).await;
    let ends = stage.created("ends", "one", over("ends")).await;
    for subject in [&leaves, &ends] {
        phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
        let flag = arguments(subject).await.into_iter().find(|flag| flag.starts_with("--etcd-servers-overrides="));
        let endpoint = Api::<DataStore>::all(client.clone()).get("two").await.unwrap().spec.endpoints.remove(0);
        assert_eq!(flag.unwrap(), format!("--etcd-servers-overrides=/events#https://{endpoint}"));
        let bundle = subject.secret("datastore-certificate").await.data.unwrap();
        let count = |key: &str| String::from_utf8(bundle[key].0.clone()).unwrap().matches("BEGIN CERT").count();
        assert_eq!((count("ca.crt"), count("server.crt")), (2, 3), "both authorities, and a way to each");
        let mut etcd = two.client().await.unwrap();
        etcd.put(format!("/{}/events/a", subject.name), "value", None).await.unwrap();
        for etcd in [&one, &two] {
            assert!(holdings(etcd, &subject.name).await.0.contains(&subject.name));
        }
    }
    let used = |store: &DataStore| store.status.as_ref().unwrap().used_by.as_ref().map_or(0, Vec::len) == 2;
    wait_for(&Api::<DataStore>::all(client.clone()), "two", SOON, used).await.unwrap();

    // An entry that goes takes nothing with it: it may come back.
    leaves.patch::<TenantControlPlane>("leaves", json!({"spec": {"dataStoreOverrides": null}})).await;
    let without = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let flags = pod.containers.iter().flat_map(|container| container.args.iter().flatten());
        !flags.clone().any(|flag| flag.starts_with("--etcd-servers-overrides"))
    };
    leaves.back::<Deployment>("leaves", without).await;
    assert_eq!(holdings(&two, "leaves").await.1, 1, "its Events stay");
    let squatter = stage.created("squatter", "two", |spec| spec["dataStoreSchema"] = json!("leaves")).await;
    let sentence = squatter.condition(conditions::STALLED, "NameTaken").await;
    assert!(sentence.starts_with("spec.dataStoreSchema: "), "{sentence}");
    squatter.api::<TenantControlPlane>().delete("squatter", &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&squatter.api::<TenantControlPlane>(), "squatter", None, SOON).await.unwrap();

    for subject in [&leaves, &ends] {
        subject.api::<TenantControlPlane>().delete(&subject.name, &DeleteParams::default()).await.unwrap();
        wait_for_deletion(&subject.api::<TenantControlPlane>(), &subject.name, None, SOON).await.unwrap();
        for etcd in [&one, &two] {
            let (users, keys) = holdings(etcd, &subject.name).await;
            assert!(!users.contains(&subject.name) && keys == 0, "{users:?} {keys}");
        }
    }
    for etcd in [&one, &two] {
        assert_eq!(holdings(etcd, "").await.0, ["root"]);
    }
    let two = Api::<DataStore>::all(client.clone()).get("two").await.unwrap();
    assert!(!two.annotations().keys().any(|key| key.starts_with("overrides.")), "{:?}", two.annotations());
}

async fn says(client: &Client, name: &str, kind: &str, reason: &str) -> DataStore {
    let found = |store: &DataStore| {
        let all = store.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions::find(all, kind).is_some_and(|found| found.reason == reason)
    };
    wait_for(&Api::<DataStore>::all(client.clone()), name, SOON, found).await.unwrap()
}

const DELETION: &str = "kamaji.clastix.io/DataStoreAllowedDeletion";
const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_is_deleted_is_opened_by_the_next_operator_until_its_last_tenant_is_gone() {
    let mut stage = Stage::start().await;
    let leaves = stage.created("leaves", "default", |_| {}).await;
    phase(&leaves.client, &leaves.namespace, "leaves", "Ready").await;
    let (stores, tenants) = (Api::<DataStore>::all(leaves.client.clone()), leaves.api::<TenantControlPlane>());
    stores.delete("default", &DeleteParams::default()).await.unwrap();
    says(&leaves.client, "default", DELETION, "DataStoreStillUsed").await;

    stage.operator.kill();
    tenants.delete("leaves", &DeleteParams::default()).await.unwrap();
    stage.operator.resume();
    let gone = wait_for_deletion(&tenants, "leaves", None, SOON).await;
    gone.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log()));
    wait_for_deletion(&stores, "default", None, SOON).await.unwrap();
    assert_eq!(holdings(&stage.etcd, "").await, (vec!["root".to_owned()], 0));
}

/// A Secret has no finalizer: deleted with all else, it is gone first.
#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_a_datastore_that_is_deleted_with_its_secrets_are_erased_by_what_was_read_before() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let etcd = store(&client, "whole", json!({})).await;
    let (stores, secrets) =
        (Api::<DataStore>::all(client.clone()), Api::<Secret>::namespaced(client.clone(), "default"));
    let spec = serde_json::to_value(&stores.get("whole").await.unwrap().spec).unwrap();
    let key = &spec["tlsConfig"]["clientCertificate"]["privateKey"]["content"];
    let secret = json!({"metadata": {"name": "whole"}, "data": {"tls.key": key}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let reference = json!({"name": "whole", "namespace": "default", "keyPath": "tls.key"});
    let pair = json!({"privateKey": {"content": null, "secretReference": reference}});
    let patch = Patch::Merge(json!({"spec": {"tlsConfig": {"clientCertificate": pair}}}));
    stores.patch("whole", &PatchParams::default(), &patch).await.unwrap();
    let leaves = stage.created("leaves", "whole", |_| {}).await;
    phase(&leaves.client, &leaves.namespace, "leaves", "Ready").await;

    stores.delete("whole", &DeleteParams::default()).await.unwrap();
    secrets.delete("whole", &DeleteParams::default()).await.unwrap();
    let store = says(&client, "whole", VALIDATION, "TLSConfigurationValidationFailed").await;
    assert!(!store.status.unwrap().ready);
    says(&client, "whole", DELETION, "DataStoreStillUsed").await;
    let tenants = leaves.api::<TenantControlPlane>();
    tenants.delete("leaves", &DeleteParams::default()).await.unwrap();
    let gone = wait_for_deletion(&tenants, "leaves", None, SOON).await;
    gone.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log()));
    wait_for_deletion(&stores, "whole", None, SOON).await.unwrap();
    assert_eq!(holdings(&etcd, "").await, (vec!["root".to_owned()], 0));
}
