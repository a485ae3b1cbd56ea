//! Specifications and DataStores that cannot work: each says why in a condition and an Event, disturbs nobody, and heals
//! by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use std::time::Duration;

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_testkit::{etcd::Etcd, wait::wait_for};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    SOON, create, phase,
    settle::{counts, scrape, settle},
    stage::{Stage, Subject},
};

const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";

/// Waits until the tenant says in a condition and one Event what is wrong; each of `words` is in the sentence.
async fn says(subject: &Subject, condition: &'static str, reason: &'static str, words: &[&str]) {
    let message = subject.condition(condition, reason).await;
    for word in words {
        assert!(message.contains(word), "{word} is missing in: {message}");
    }
    let events = subject.told(reason).await;
    assert!(events.len() == 1 && events[0] == message, "{events:?}");
}

async fn heals(subject: &Subject) {
    phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    let healthy = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let is = |kind| conditions::is_true(all, kind);
        is(conditions::READY) && !is(conditions::STALLED) && !is(conditions::DEGRADED) && !is(conditions::PROGRESSING)
    };
    subject.back(&subject.name, healthy).await;
}

fn data_stores(subject: &Subject) -> Api<DataStore> {
    Api::all(subject.client.clone())
}

async fn create_data_store(subject: &Subject, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": name}, "spec": spec,
    });
    let object: DataStore = serde_json::from_value(object).unwrap();
    data_stores(subject).create(&PostParams::default(), &object).await.unwrap();
}

async fn change_data_store(subject: &Subject, name: &str, spec: Value) {
    data_stores(subject).patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await.unwrap();
}

/// Waits until the DataStore says what is wrong with it, and that it is usable no more.
async fn data_store_says(subject: &Subject, name: &str, reason: &'static str, words: &[&str]) {
    let said = |data_store: &DataStore| {
        let status = data_store.status.as_ref().filter(|status| !status.ready)?;
        let found = conditions::find(status.conditions.as_deref()?, VALIDATION)?;
        (found.status == "False" && found.reason == reason).then(|| found.message.clone())
    };
    let all = words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let as_wanted = move |data_store: &DataStore| {
        said(data_store).is_some_and(|message| all.iter().all(|word| message.contains(word)))
    };
    wait_for(&data_stores(subject), name, SOON, as_wanted).await.unwrap();
    let events =
        Api::<Event>::namespaced(subject.client.clone(), "default").list(&ListParams::default()).await.unwrap();
    let told = events.iter().filter(|event| event.regarding.as_ref().unwrap().name.as_deref() == Some(name));
    assert!(told.filter(|event| event.reason.as_deref() == Some(reason)).count() >= 1, "no Event of {name}");
}

async fn data_store_is_ready(subject: &Subject, name: &str) {
    let ready = |data_store: &DataStore| data_store.status.as_ref().is_some_and(|status| status.ready);
    wait_for(&data_stores(subject), name, SOON, ready).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_specification_that_cannot_work_says_why_and_heals_when_it_is_corrected() {
    let stage = Stage::shared().await;
    let cases: [(&str, &str, Value, Value, &[&str]); 5] = [
        (
            "cidrs",
            "InvalidSpec",
            json!({"networkProfile": {"podCidrs": ["10.244.0.0/16", "10.245.0.0/16"]}}),
            json!({"networkProfile": {"podCidrs": ["10.244.0.0/16"]}}),
            &["spec.networkProfile.podCidrs[1]", "one address family", "at most one"],
        ),
        (
            "old",
            "UnsupportedVersion",
            json!({"kubernetes": {"version": "v1.20.3"}}),
            json!({"kubernetes": {"version": "v1.36.3"}}),
            &["spec.kubernetes.version", "v1.20.3", "v1.31 to v1.37"],
        ),
        (
            "garbled",
            "UnsupportedVersion",
            json!({"kubernetes": {"version": "newest"}}),
            json!({"kubernetes": {"version": "v1.36.3"}}),
            &["spec.kubernetes.version", "newest", "write it like v1.36.3"],
        ),
        (
            "sans",
            "InvalidSpec",
            json!({"networkProfile": {"certSANs": ["example.com:6443"]}}),
            json!({"networkProfile": {"certSANs": ["example.com"]}}),
            &["spec.networkProfile.certSANs[0]", "example.com:6443", "port does not belong"],
        ),
        (
            "taken",
            "InvalidSpec",
            json!({"controlPlane": {"deployment": {"additionalContainers": [{"name": "kube-scheduler", "image": "x"}]}}}),
            json!({"controlPlane": {"deployment": {"additionalContainers": []}}}),
            &["spec.controlPlane.deployment.additionalContainers[0].name", "kube-scheduler", "rename"],
        ),
    ];
    for (name, reason, wrong, right, words) in cases {
        let subject = stage.created(name, "default", |spec| merge(spec, &wrong)).await;
        says(&subject, conditions::STALLED, reason, words).await;
        says(&subject, conditions::DEGRADED, reason, words).await;
        subject.patch::<TenantControlPlane>(name, json!({"spec": right})).await;
        heals(&subject).await;
        // Wrong once more, while it runs: it goes on as it was.
        let before = subject.deployment().await.metadata.generation;
        subject.patch::<TenantControlPlane>(name, json!({"spec": wrong})).await;
        let message = subject.condition(conditions::STALLED, reason).await;
        assert!(message.contains(words[0]), "{message}");
        assert_eq!(subject.deployment().await.metadata.generation, before);
        let runs = |tenant: &TenantControlPlane| {
            conditions::is_true(tenant.status.as_ref().unwrap().conditions.as_deref().unwrap(), conditions::READY)
        };
        assert!(runs(&subject.api().get(name).await.unwrap()));
        subject.patch::<TenantControlPlane>(name, json!({"spec": right})).await;
        heals(&subject).await;
    }
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_too_long_for_a_label_says_so_and_can_be_deleted() {
    let stage = Stage::shared().await;
    let name = format!("long-{}", "x".repeat(60));
    let subject = stage.created(&name, "default", |_| {}).await;
    says(
        &subject,
        conditions::STALLED,
        "InvalidSpec",
        &["metadata.name", "65 characters", "at most 63", "shorter name"],
    )
    .await;
    let tenants: Api<TenantControlPlane> = subject.api();
    tenants.delete(&name, &DeleteParams::default()).await.unwrap();
    kamaji_testkit::wait::wait_for_deletion(&tenants, &name, None, SOON).await.unwrap();
    assert!(subject.secrets().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_data_store_is_named_and_found_when_it_is_created() {
    let stage = Stage::shared().await;
    let subject = stage.created("early", "later", |_| {}).await;
    let words = ["spec.dataStore", "\"later\" does not exist", "create it or name another"];
    says(&subject, conditions::STALLED, "DataStoreNotFound", &words).await;
    create_data_store(&subject, "later", stage.etcd.data_store_spec().unwrap()).await;
    heals(&subject).await;

    let unnamed = stage.created("unnamed", "", |spec| drop(spec.as_object_mut().unwrap().remove("dataStore"))).await;
    says(&unnamed, conditions::STALLED, "DataStoreNotChosen", &["spec.dataStore", "name one"]).await;
    unnamed.patch::<TenantControlPlane>("unnamed", json!({"spec": {"dataStore": "later"}})).await;
    heals(&unnamed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_store_that_cannot_be_used_says_why_and_its_tenants_wait_for_it() {
    let stage = Stage::shared().await;
    let right = stage.etcd.data_store_spec().unwrap();
    let closed = format!("127.0.0.1:{}", kamaji_testkit::ports::free().unwrap());
    let tls = stage.etcd.tls().unwrap();
    let stranger = Etcd::start(kamaji_testkit::etcd::Options::secure()).await.unwrap();
    let identity = |identity: &kamaji_testkit::certificate::Identity| {
        json!({"tlsConfig": {"clientCertificate": {
            "certificate": {"content": base64(&identity.certificate)}, "privateKey": {"content": base64(&identity.key)},
        }}})
    };
    let nobody = tls.client("nobody").unwrap();
    let cases: [(&str, Value, &str, &[&str]); 5] = [
        ("silent", json!({"endpoints": [closed]}), "ConnectionFailed", &[&closed, "spec.endpoints"]),
        (
            "scheme",
            json!({"endpoints": ["https://127.0.0.1:2379"]}),
            "EndpointsValidationFailed",
            &["spec.endpoints", "without a scheme"],
        ),
        (
            "signed",
            identity(&stranger.tls().unwrap().root),
            "TLSConfigurationValidationFailed",
            &["spec.tlsConfig", "certificate"],
        ),
        ("nobody", identity(&nobody), "TLSConfigurationValidationFailed", &["does not accept", "common name"]),
        (
            "pem",
            json!({"tlsConfig": {"certificateAuthority": {"privateKey": {"content": base64("not PEM")}}}}),
            "TLSConfigurationValidationFailed",
            &["spec.tlsConfig.certificateAuthority"],
        ),
    ];
    for (name, wrong, reason, words) in cases {
        let subject = stage.created(name, name, |_| {}).await;
        let mut spec = right.clone();
        merge(&mut spec, &wrong);
        create_data_store(&subject, name, spec).await;
        data_store_says(&subject, name, reason, words).await;
        let waits = subject.condition(conditions::PROGRESSING, "DataStoreNotReady").await;
        assert!(waits.contains(name), "{waits}");
        change_data_store(&subject, name, right.clone()).await;
        data_store_is_ready(&subject, name).await;
        heals(&subject).await;
        // A server that goes away later takes nothing with it.
        change_data_store(&subject, name, wrong.clone()).await;
        data_store_says(&subject, name, reason, words).await;
        subject.condition(conditions::DEGRADED, "DataStoreNotReady").await;
        change_data_store(&subject, name, right.clone()).await;
        heals(&subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_store_that_warns_can_be_used_and_tells_of_it_once() {
    let stage = Stage::shared().await;
    let subject = stage.created("warned", "warns", |_| {}).await;
    let closed = format!("127.0.0.1:{}", kamaji_testkit::ports::free().unwrap());
    let mut spec = stage.etcd.data_store_spec().unwrap();
    spec["endpoints"].as_array_mut().unwrap().push(json!(closed));
    create_data_store(&subject, "warns", spec).await;
    let warns = |data_store: &DataStore| {
        let all = data_store.status.as_ref().filter(|status| status.ready)?.conditions.clone()?;
        let found = conditions::find(&all, VALIDATION)?;
        (found.status == "True" && found.reason == "DataStoreIsValid").then(|| found.message.clone())
    };
    let says = |data_store: &DataStore| warns(data_store).is_some_and(|message| message.contains(&closed));
    let found = wait_for(&data_stores(&subject), "warns", SOON, says).await.unwrap();
    heals(&subject).await;
    let all = Api::<Event>::namespaced(subject.client.clone(), "default").list(&ListParams::default()).await.unwrap();
    let told: Vec<_> =
        all.iter().filter(|event| event.regarding.as_ref().unwrap().name.as_deref() == Some("warns")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].type_.as_deref(), told[0].reason.as_deref()), (Some("Warning"), Some("DataStoreWarning")));
    assert_eq!(told[0].note, warns(&found));
}

/// Waits until the operator's metrics are as wanted.
async fn metrics(stage: &Stage, wanted: impl Fn(&str) -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let text = scrape(stage.operator.metrics_port()).await.unwrap();
        if wanted(&text) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_data_store_holds_is_in_the_metrics_for_as_long_as_it_is_there() {
    let stage = Stage::shared().await;
    let subject = stage.created("measured", "measured", |_| {}).await;
    create_data_store(&subject, "measured", stage.etcd.data_store_spec().unwrap()).await;
    heals(&subject).await;
    metrics(stage, |text| {
        let value = |name: &str| {
            let row = format!("kamaji_datastore_{name}{{datastore_name=\"measured\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&row)?.parse::<u64>().ok())
        };
        let (size, in_use, quota) = (value("size_bytes"), value("in_use_bytes"), value("quota_bytes"));
        value("tenants") == Some(1) && in_use > Some(0) && size >= in_use && quota > size
    })
    .await;
    let tenants: Api<TenantControlPlane> = subject.api();
    tenants.delete("measured", &DeleteParams::default()).await.unwrap();
    data_stores(&subject).delete("measured", &DeleteParams::default()).await.unwrap();
    kamaji_testkit::wait::wait_for_deletion(&data_stores(&subject), "measured", None, SOON).await.unwrap();
    metrics(stage, |text| !text.contains("datastore_name=\"measured\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_reach_beyond_the_tenant_are_refused_by_the_api_server() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let namespace = stage.cluster.api_server().namespace().await.unwrap();
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    let with = |name: &str, field: &str, value: &str| {
        support::tenant(&namespace, name, "nowhere", |spec| spec[field] = json!(value))
    };
    let long = "x".repeat(201);
    let refused = [
        ("a/b", "must not contain '/'"),
        ("/", "must not contain '/'"),
        ("a\u{0}b", "control character"),
        ("a\nb", "control character"),
        ("a\u{85}", "control character"),
        ("root", "must not be root"),
        (".", "must not be root"),
        ("..", "must not be root"),
        (long.as_str(), "200 bytes"),
        // Fewer characters than bytes.
        (&"ä".repeat(101), "200 bytes"),
    ];
    for field in ["dataStoreSchema", "dataStoreUsername"] {
        for (value, words) in refused {
            let error = api.create(&PostParams::default(), &with("refused", field, value)).await.unwrap_err();
            let kube::Error::Api(answer) = error else { panic!("{error}") };
            assert_eq!(answer.code, 422, "{value:?}: {answer}");
            assert!(answer.message.contains(&format!("spec.{field}")), "{value:?}: {answer}");
            assert!(answer.message.contains(words) && answer.message.contains("; choose a"), "{value:?}: {answer}");
        }
        for (index, value) in ["", "ns_name", "roots", "a.b", "..a", "ä ö", &long[1..]].into_iter().enumerate() {
            create(&client, &with(&format!("taken-{}-{index}", field.to_lowercase()), field, value)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_gets_neither_the_place_of_another_nor_an_empty_one() {
    let stage = Stage::shared().await;
    let first = stage.tenant("first").await;
    let uid = first.api::<TenantControlPlane>().get("first").await.unwrap().uid().unwrap();
    let mut etcd = stage.etcd.client().await.unwrap();
    etcd.put(format!("/{uid}/registry/a"), "theirs", None).await.unwrap();
    for (name, field, steal) in [
        ("both", "spec.dataStoreSchema", json!({"dataStoreSchema": uid, "dataStoreUsername": uid})),
        ("schema", "spec.dataStoreSchema", json!({"dataStoreSchema": uid})),
        ("user", "spec.dataStoreUsername", json!({"dataStoreUsername": uid})),
    ] {
        let thief = stage.created(name, "default", |spec| merge(spec, &steal)).await;
        says(&thief, conditions::STALLED, "NameTaken", &[field, "another TenantControlPlane", "choose"]).await;
        let tenants: Api<TenantControlPlane> = thief.api();
        tenants.delete(name, &DeleteParams::default()).await.unwrap();
        kamaji_testkit::wait::wait_for_deletion(&tenants, name, None, SOON).await.unwrap();
    }
    assert_eq!(etcd.get(format!("/{uid}/registry/a"), None).await.unwrap().count(), 1);
    assert!(etcd.user_get(uid.as_str()).await.is_ok());

    create_data_store(&first, "empty", stage.etcd.data_store_spec().unwrap()).await;
    data_store_is_ready(&first, "empty").await;
    let before = first.deployment().await.metadata.generation;
    first.patch::<TenantControlPlane>("first", json!({"spec": {"dataStore": "empty"}})).await;
    says(&first, conditions::STALLED, "Unsupported", &["spec.dataStore", "\"default\"", "set it back"]).await;
    assert_eq!(first.deployment().await.metadata.generation, before);
    first.patch::<TenantControlPlane>("first", json!({"spec": {"dataStore": "default"}})).await;
    heals(&first).await;
}

fn base64(text: &str) -> String {
    let bytes = serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap();
    bytes.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_data_store_refers_to_is_waited_for_and_followed() {
    let stage = Stage::shared().await;
    let subject = stage.created("refers", "refers", |_| {}).await;
    let mut spec = stage.etcd.data_store_spec().unwrap();
    let reference = json!({"secretReference": {"name": "authority", "namespace": subject.namespace, "keyPath": "key"}});
    let key = std::mem::replace(&mut spec["tlsConfig"]["certificateAuthority"]["privateKey"], reference);
    create_data_store(&subject, "refers", spec).await;
    let field = "spec.tlsConfig.certificateAuthority.privateKey";
    let missing = [field, "authority", "create it"];
    data_store_says(&subject, "refers", "TLSConfigurationValidationFailed", &missing).await;
    let secret = |key: &Value| -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "authority"}, "data": {"key": key}})).unwrap()
    };
    subject.api::<Secret>().create(&PostParams::default(), &secret(&json!("Z2FyYmFnZQ=="))).await.unwrap();
    data_store_says(&subject, "refers", "TLSConfigurationValidationFailed", &["spec.tlsConfig.certificateAuthority:"])
        .await;
    subject.patch::<Secret>("authority", json!({"data": {"key": key["content"]}})).await;
    data_store_is_ready(&subject, "refers").await;
    heals(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_make_no_sense_neither_stall_a_watch_nor_disturb_others() {
    // Its own cluster: it counts what the operator does.
    let stage = Stage::start().await;
    let good = stage.tenant("good").await;
    let mut etcd = stage.cluster.api_server().etcd().client().await.unwrap();
    let object = |kind: &str, name: &str, namespace: Option<&str>, rest: Value| {
        let mut object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": format!("00000000-0000-0000-0000-0000000000{name}")},
        });
        merge(&mut object, &rest);
        object.to_string()
    };
    let namespace = good.namespace.clone();
    let bad = [
        ("a1", json!({"spec": "text"})),
        ("a2", json!({"spec": {"kubernetes": {"version": 5, "kubelet": {}}, "controlPlane": []}})),
        ("a3", json!({"spec": {}, "status": "text"})),
        ("a4", json!({"metadata": {"labels": {"a": 5}, "annotations": "text", "finalizers": [5]}})),
        ("a5", json!({"spec": {"networkProfile": {"port": -1}}, "status": {"conditions": "text"}})),
    ];
    for (name, rest) in &bad {
        let key = format!("/registry/kamaji.clastix.io/tenantcontrolplanes/{namespace}/{name}");
        etcd.put(key, object("TenantControlPlane", name, Some(&namespace), rest.clone()), None).await.unwrap();
        let key = format!("/registry/kamaji.clastix.io/datastores/{name}");
        etcd.put(key, object("DataStore", name, None, rest.clone()), None).await.unwrap();
    }
    // What comes after them in every watch still arrives.
    for name in ["after", "again"] {
        let subject = stage.created(name, "default", |_| {}).await;
        heals(&subject).await;
    }
    // The API server takes no status for an object that breaks its rules, so an Event alone tells.
    let told =
        |name: &str| Subject { client: good.client.clone(), namespace: namespace.clone(), name: name.to_owned() };
    for (name, reason, words) in [("a1", "InvalidSpec", "cannot be read"), ("a2", "InvalidSpec", "spec.controlPlane")] {
        let events = told(name).told(reason).await;
        assert!(events.len() == 1 && events[0].contains(words), "{events:?}");
    }

    // Nobody is busy with them for ever, and the tenant beside them is not looked at any more often.
    settle(&stage.operator, &good.client, &namespace, &["good"]).await;
    let before = counts(&stage.operator).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = counts(&stage.operator).await;
    println!("in five seconds: {} passes over tenants, {before:?} {after:?}", after.passes - before.passes);
    assert!(after.passes - before.passes <= 20, "{before:?} {after:?}");

    // A list that begins with them is read as well.
    let mut stage = stage;
    stage.operator.kill();
    stage.operator.resume();
    let subject = stage.created("restarted", "default", |_| {}).await;
    heals(&subject).await;
    for (name, _) in &bad {
        for key in [
            format!("/registry/kamaji.clastix.io/tenantcontrolplanes/{namespace}/{name}"),
            format!("/registry/kamaji.clastix.io/datastores/{name}"),
        ] {
            etcd.delete(key, None).await.unwrap();
        }
    }
    assert!(good.secrets().await.values().all(|secret| secret.owner_references()[0].name == "good"));
}
