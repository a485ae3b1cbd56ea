//! Takes over tenants that the Go operator wrote, on a real API server, where the captured objects are present.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well, and writes as users do"
)]

mod captured;
mod support;

use std::collections::BTreeMap;

use captured::{api, golden, live, objects};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    jiff::Timestamp,
};
use kamaji_testkit::{api_server::ApiServer, wait::wait_for};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    Operator, SOON,
    settle::{blank_status, changed_beside_tenants, counted, settle, versions},
};

/// The captured tenants.
const TENANTS: [&str; 6] = ["etcd-basic", "etcd-full", "lb", "my", "nats", "pg"];
/// Without TLS the Go operator makes a Secret that nobody owns and no label finds: it is given both.
const NOBODYS: &str = "Secret/nats-datastore-certificate";
const NAMESPACE: &str = "golden";

/// The captured certificates live for a year, and the operator rightly replaces those that have ended.
fn are_still_valid(all: &[Value]) -> bool {
    let created = all[0]["metadata"]["creationTimestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let age = Timestamp::now().duration_since(created);
    let valid = age.as_hours() < 360 * 24;
    if !valid {
        println!("not compared: the captured certificates have ended");
    }
    valid
}

/// Loads an object with its status and its field managers as they were captured; gives its new UID.
async fn load(client: &Client, captured: &Value, owner: Option<(&str, &str)>) -> String {
    let api = api(client, captured);
    let name = captured["metadata"]["name"].as_str().unwrap();
    let mut object = captured.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["resourceVersion", "uid", "creationTimestamp", "generation", "managedFields"] {
        metadata.remove(field);
    }
    let status = object.as_object_mut().unwrap().remove("status");
    let mut managed_fields = captured["metadata"]["managedFields"].clone();
    if let Some((old, new)) = owner {
        for reference in object["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
            assert_eq!(reference["uid"], old);
            reference["uid"] = json!(new);
        }
        managed_fields = serde_json::from_str(&managed_fields.to_string().replace(old, new)).unwrap();
    }
    let created = PostParams { field_manager: Some("kamaji".to_owned()), ..PostParams::default() };
    let made = api.create(&created, &serde_json::from_value(object).unwrap()).await.unwrap();
    if let Some(status) = status.filter(|status| status.as_object().is_some_and(|status| !status.is_empty())) {
        let patch = json!({"status": status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    let patch = json!({"metadata": {"managedFields": managed_fields}});
    let loaded = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let managers = |entries: &Value| {
        let entries = entries.as_array().unwrap().iter();
        let mut all: Vec<String> = entries
            .map(|entry| format!("{} {} {}", entry["manager"], entry["operation"], entry["subresource"]))
            .collect();
        all.sort();
        all
    };
    let loaded_fields = serde_json::to_value(loaded.managed_fields()).unwrap();
    assert_eq!(managers(&loaded_fields), managers(&managed_fields), "{name}");
    made.uid().unwrap()
}

/// Takes out of the tenants' reports what this API server left out of the Deployments' status: `terminatingReplicas`
/// before Kubernetes 1.35. The Go operator would have reported no more than it saw.
async fn report_what_is_kept(client: &Client, captured: &[Value]) {
    for deployment in captured.iter().filter(|object| object["kind"] == "Deployment") {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let live = api(client, deployment).get(name).await.unwrap();
        let fields = deployment["status"].as_object().unwrap().keys();
        let lost: BTreeMap<&String, Value> =
            fields.filter(|field| live.data["status"][*field].is_null()).map(|field| (field, Value::Null)).collect();
        if lost.is_empty() {
            continue;
        }
        let is_tenant = |object: &&Value| object["kind"] == "TenantControlPlane" && object["metadata"]["name"] == name;
        let tenant = api(client, captured.iter().find(is_tenant).unwrap());
        let patch = json!({"status": {"kubernetesResources": {"deployment": lost}}});
        tenant.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_over_captured_tenants_without_a_changed_secret_or_pod_where_those_are_present() {
    let Some(folder) = golden() else { return };
    let captured: Vec<Value> =
        TENANTS.iter().flat_map(|name| objects(&folder.join(name).join("management.yaml"))).collect();
    if !are_still_valid(&captured) {
        return;
    }
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();

    let stores = objects(&folder.join("datastores.yaml"));
    for store in &stores {
        load(&client, store, None).await;
    }
    let mut owner = None;
    for object in &captured {
        if object["kind"] == "TenantControlPlane" {
            let old = object["metadata"]["uid"].as_str().unwrap();
            owner = Some((old, load(&client, object, None).await));
        } else {
            let (old, new) = owner.as_ref().unwrap();
            load(&client, object, Some((old, new))).await;
        }
    }
    report_what_is_kept(&client, &captured).await;
    let before = live(&client, &captured).await;
    let secrets_before: usize = before.keys().filter(|name| name.starts_with("Secret/")).count();

    let mut operator = Operator::start(&server, &[]);
    // Nothing listens behind the captured endpoint: tenants that run go on without their datastore.
    let data_stores: Api<kamaji_api::DataStore> = Api::all(client.clone());
    let unready = |store: &kamaji_api::DataStore| !store.status.clone().unwrap_or_default().ready;
    for store in &stores {
        wait_for(&data_stores, store["metadata"]["name"].as_str().unwrap(), SOON, unready).await.unwrap();
    }
    counted(&operator, |counts| counts.passes >= TENANTS.len() as u64).await;
    settle(&operator, &client, NAMESPACE, &TENANTS).await;

    let after = live(&client, &captured).await;
    let took_over = counted(&operator, |_| true).await.writes;
    assert!(took_over.get("migrate").is_some_and(|count| *count > 0), "fields change hands: {took_over:?}");
    for (name, before) in &before {
        let after = &after[name];
        let same = |pointer: &str| {
            assert_eq!(after.pointer(pointer), before.pointer(pointer), "{name} {pointer}\n{}", operator.log());
        };
        same("/data");
        if name == NOBODYS {
            continue;
        }
        same("/metadata/labels");
        same("/metadata/finalizers");
        same("/metadata/ownerReferences");
        same("/metadata/generation");
        same("/spec");
        let (kind, _) = name.split_once('/').unwrap();
        match kind {
            "Secret" => same("/metadata/resourceVersion"),
            "TenantControlPlane" => {
                for report in ["addons", "certificates", "kubeadmPhase", "kubeadmconfig", "kubeconfig", "storage"] {
                    same(&format!("/status/{report}"));
                }
                same("/status/controlPlaneEndpoint");
                same("/status/kubernetesResources/deployment");
                same("/status/kubernetesResources/service");
            }
            _ => same("/metadata/annotations"),
        }
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    assert_eq!(secrets.list(&ListParams::default()).await.unwrap().items.len(), secrets_before);
    for name in TENANTS {
        let tenant = &after[&format!("TenantControlPlane/{name}")];
        let conditions = tenant["status"]["conditions"].as_array().unwrap();
        let degraded = conditions.iter().find(|condition| condition["type"] == "Degraded").unwrap();
        assert_eq!(
            (&degraded["status"], &degraded["reason"]),
            (&json!("True"), &json!("DataStoreNotReady")),
            "{name} {tenant:#}\n{}",
            operator.log()
        );
    }
    assert_eq!(after["TenantControlPlane/etcd-basic"]["status"]["kubernetesResources"]["version"]["status"], "Ready");

    let rested = versions(&client, NAMESPACE).await;
    let store_version = |store: kamaji_api::DataStore| store.resource_version().unwrap();
    let rested_store = store_version(data_stores.get("default").await.unwrap());
    operator.kill();
    operator.resume();
    // Three passes over the unreachable DataStore show that its trouble is not reported again and again.
    let counts = counted(&operator, |counts| counts.passes >= TENANTS.len() as u64 && counts.store_passes >= 3).await;
    assert_eq!(counts.writes, BTreeMap::new(), "{}", operator.log());
    assert_eq!(versions(&client, NAMESPACE).await, rested);
    assert_eq!(store_version(data_stores.get("default").await.unwrap()), rested_store);

    // The status is a report: without it, nothing that runs changes.
    operator.kill();
    for name in TENANTS {
        blank_status(&client, NAMESPACE, name).await;
    }
    operator.resume();
    counted(&operator, |counts| counts.passes >= TENANTS.len() as u64).await;
    settle(&operator, &client, NAMESPACE, &TENANTS).await;
    let changed = changed_beside_tenants(&rested, &versions(&client, NAMESPACE).await);
    assert_eq!(changed, Vec::<String>::new(), "without a status\n{}", operator.log());
}
