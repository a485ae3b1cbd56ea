//! The owner's own certificate authorities: real etcd, kube-apiserver and kube-controller-manager, simulated pods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PodSpec},
    },
    jiff::{SignedDuration, Timestamp},
};
use kamaji_api::{TenantControlPlane, conditions, contract::annotations};
use kamaji_pki::{KeyAlgorithm, PrivateKey, Profile, Usage, self_signed};
use kamaji_plan::internal_ca::mounted;
use kamaji_testkit::{
    certificate::Authority,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{
    SOON, create, phase,
    settle::{counts, settle},
    stage::{Stage, Subject},
    tenant,
};

const SOURCE: &str = "internal-ca-certs";

fn authority(name: &str) -> String {
    Authority::new(name).unwrap().certificate()
}

/// Writes the owner's ConfigMap as a whole.
async fn publish(subject: &Subject, content: Value) {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SOURCE}});
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    let owner = PatchParams::apply("owner").force();
    subject.api::<ConfigMap>().patch(SOURCE, &owner, &Patch::Apply(object)).await.unwrap();
}

async fn name_it(subject: &Subject, name: Value) {
    let patch = json!({"spec": {"internalCACertificatesConfigMap": name}});
    subject.patch::<TenantControlPlane>(&subject.name, patch).await;
}

fn pod(deployment: &Deployment) -> PodSpec {
    deployment.spec.clone().unwrap().template.spec.unwrap()
}

/// Names of the copies that there are.
async fn copies(subject: &Subject) -> Vec<String> {
    let own = ListParams::default().labels("kamaji.clastix.io/component=internal-ca-certificates");
    subject.api::<ConfigMap>().list_metadata(&own).await.unwrap().into_iter().map(|copy| copy.name_any()).collect()
}

/// Waits until the pods are to mount another copy than `before` and the rollout is over; gives the new one's name.
async fn rolled(stage: &Stage, subject: &Subject, before: Option<&str>) -> Option<String> {
    subject.back::<Deployment>(&subject.name, |live| mounted(live) != before).await;
    rested(stage, subject).await;
    let now = mounted(&subject.deployment().await).map(str::to_owned);
    if let Some(before) = before {
        wait_for_deletion(&subject.api::<ConfigMap>(), before, None, SOON).await.unwrap();
    }
    assert_eq!(copies(subject).await, now.clone().into_iter().collect::<Vec<_>>());
    now
}

async fn rested(stage: &Stage, subject: &Subject) {
    phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    let over = |live: &Deployment| !kamaji_plan::status::phase::is_progressing(live);
    wait_for(&subject.api(), &subject.name, SOON, over).await.unwrap();
    settle(&stage.operator, &subject.client, &subject.namespace, &[&subject.name]).await;
}

async fn healthy(subject: &Subject) {
    let fine = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions::find(all, conditions::DEGRADED).is_some_and(|found| found.status == "False")
    };
    wait_for(&subject.api(), &subject.name, SOON, fine).await.unwrap();
}

fn expired() -> String {
    let now = Timestamp::now();
    let profile = Profile {
        common_name: "long ago".to_owned(),
        organizations: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Authority,
        not_before: now - SignedDuration::from_hours(48),
        not_after: now - SignedDuration::from_hours(1),
    };
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    String::from_utf8(self_signed(&profile, &key).unwrap()).unwrap()
}

/// Every container of the control plane sees the copy in all four places, and is told of one.
fn assert_trusts(deployment: &Deployment, copy: &str) {
    let pod = pod(deployment);
    let volumes = pod.volumes.unwrap();
    for name in ["etc-ca-certificates", "usr-share-ca-certificates", "usr-local-share-ca-certificates"] {
        let volume = volumes.iter().find(|volume| volume.name == name).unwrap();
        assert!(volume.secret.is_none(), "{name} had keys in it");
        let sources = volume.projected.clone().unwrap().sources.unwrap();
        let items = sources[0].secret.clone().unwrap().items.unwrap();
        assert_eq!(items.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), ["ca.crt"]);
        assert_eq!(sources[1].config_map.as_ref().unwrap().name, copy);
    }
    let ours: Vec<_> = pod.containers.iter().filter(|container| container.name != "side").collect();
    assert_eq!(ours.len(), 4);
    for container in ours {
        let mounts = container.volume_mounts.clone().unwrap();
        for (volume, path) in [
            ("etc-ca-certificates", "/etc/ca-certificates"),
            ("usr-share-ca-certificates", "/usr/share/ca-certificates"),
            ("usr-local-share-ca-certificates", "/usr/local/share/ca-certificates"),
            ("internal-ca-certificates", "/etc/kamaji/internal-ca-certificates"),
        ] {
            let mount = mounts.iter().find(|mount| mount.mount_path == path).unwrap();
            assert_eq!((mount.name.as_str(), mount.read_only), (volume, Some(true)), "{}", container.name);
        }
        let env = container.env.clone().unwrap();
        let searched = env.iter().find(|variable| variable.name == "SSL_CERT_DIR").unwrap().value.as_deref();
        assert_eq!(searched, Some("/etc/kamaji/internal-ca-certificates:/etc/ssl/certs:/etc/pki/tls/certs"));
        assert!(env.iter().all(|variable| variable.name != "SSL_CERT_FILE"));
    }
}

/// Sets the field on a running tenant, rotates A, A+B, B, and takes the field away.
async fn rotates(name: &str, revision: &str) {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let namespace = stage.cluster.api_server().namespace().await.unwrap();
    let mut object = tenant(&namespace, name, "default", |spec| {
        spec["addons"] = json!({"konnectivity": {}});
        spec["controlPlane"]["deployment"]["additionalContainers"] = json!([{
            "name": "side", "image": "s:1",
            "volumeMounts": [{"name": "etc-ca-certificates", "mountPath": "/ca", "readOnly": true}],
        }]);
    });
    object.annotations_mut().insert(annotations::TEMPLATE_REVISION.to_owned(), revision.to_owned());
    create(&client, &object).await;
    let subject = Subject { client, namespace, name: name.to_owned() };
    rested(stage, &subject).await;
    let plain = subject.deployment().await;
    assert_eq!((mounted(&plain), copies(&subject).await.len()), (None, 0));

    let (a, b) = (authority("a"), authority("b"));
    publish(&subject, json!({"data": {"ca.crt": a}})).await;
    name_it(&subject, json!(SOURCE)).await;
    let first = rolled(stage, &subject, None).await.unwrap();
    assert_trusts(&subject.deployment().await, &first);
    let copy: ConfigMap = subject.api().get(&first).await.unwrap();
    assert_eq!(copy.immutable, Some(true));
    assert_eq!(copy.data.unwrap(), [("internal-ca.crt".to_owned(), a.clone())].into());
    assert_eq!(copy.metadata.owner_references.unwrap()[0].kind, "TenantControlPlane");

    // What means the same changes nothing.
    let before = subject.deployment().await;
    publish(&subject, json!({"data": {"ca.crt": format!("# ours\n\n{}\n", a.replace('\n', "\r\n"))}})).await;
    settle(&stage.operator, &subject.client, &subject.namespace, &[name]).await;
    assert_eq!(subject.deployment().await.metadata.generation, before.metadata.generation);

    publish(&subject, json!({"data": {"ca.crt": a, "b.crt": b}})).await;
    let both = rolled(stage, &subject, Some(&first)).await.unwrap();
    assert_trusts(&subject.deployment().await, &both);
    publish(&subject, json!({"data": {"b.crt": b}})).await;
    let second = rolled(stage, &subject, Some(&both)).await.unwrap();
    let copy: ConfigMap = subject.api().get(&second).await.unwrap();
    assert_eq!(copy.data.unwrap(), [("b.crt".to_owned(), b)].into());
    assert_eq!(subject.templates().await, 4, "one rollout per change");
    assert_eq!(subject.events("InternalCAChanged").await.len(), 3);

    name_it(&subject, Value::Null).await;
    assert_eq!(rolled(stage, &subject, Some(&second)).await, None);
    assert_eq!(pod(&subject.deployment().await), pod(&plain));
    assert_eq!(subject.templates().await, 4, "the first template again");
    assert_eq!(subject.events("InternalCAChanged").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_rolls_once_per_change_and_removing_the_field_leaves_nothing() {
    Box::pin(rotates("rotated", "R1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_a_tenant_with_the_go_operators_template_rolls_once_per_change() {
    Box::pin(rotates("rotated-old", "Upstream2026")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_tenant_keeps_the_last_good_set_whatever_its_config_map_becomes() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("kept").await;
    let good = Authority::new("good").unwrap();
    publish(&subject, json!({"data": {"good.crt": good.certificate()}})).await;
    name_it(&subject, json!(SOURCE)).await;
    let copy = rolled(stage, &subject, None).await.unwrap();
    let (before, content) = (subject.deployment().await, subject.api::<ConfigMap>().get(&copy).await.unwrap().data);

    let own = good.certificate();
    let leaf = good.server("leaf", &["leaf.example.com"]).unwrap();
    for (bad, says) in [
        (json!({"data": {"good.crt": own, "k.pem": leaf.key}}), "the key \"k.pem\" holds a private key"),
        (
            json!({"data": {"good.crt": own, "l.pem": leaf.certificate}}),
            "the key \"l.pem\" has a certificate, \"leaf\"",
        ),
        (
            json!({"data": {"good.crt": own, "e.pem": expired()}}),
            "the key \"e.pem\" has a certificate authority, \"long",
        ),
        (
            json!({"data": {"b.pem": own.replacen("\nM", "\n!", 1)}}),
            "the key \"b.pem\" cannot be used: its certificate",
        ),
        (json!({"data": {"good.crt": own}, "binaryData": {"bin": "AAEC"}}), "the key \"bin\" is under binaryData"),
        (json!({}), "it is empty"),
    ] {
        publish(&subject, bad).await;
        let told = |tenant: &TenantControlPlane| {
            let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            conditions::find(all, conditions::DEGRADED).is_some_and(|found| {
                found.status == "True" && found.reason == "InternalCAInvalid" && found.message.contains(says)
            })
        };
        let found = wait_for(&subject.api(), "kept", SOON, told).await.unwrap();
        let all = found.status.unwrap().conditions.unwrap();
        assert!(conditions::is_true(&all, conditions::READY));
        assert!(!conditions::is_true(&all, conditions::STALLED));
        settle(&stage.operator, &subject.client, &subject.namespace, &["kept"]).await;
        let notes = subject.events("InternalCAInvalid").await;
        assert_eq!(notes.iter().filter(|note| note.contains(says)).count(), 1, "{notes:?}");
        assert!(notes.iter().all(|note| !note.contains("-----")), "{notes:?}");
    }
    subject.api::<ConfigMap>().delete(SOURCE, &DeleteParams::default()).await.unwrap();
    subject.condition(conditions::DEGRADED, "InternalCANotFound").await;
    assert_eq!(subject.deployment().await.metadata.generation, before.metadata.generation);

    // The copy is the last place where the good set is.
    subject.delete::<ConfigMap>(&copy).await;
    assert_eq!(subject.api::<ConfigMap>().get(&copy).await.unwrap().data, content);
    assert_eq!(subject.deployment().await.metadata.generation, before.metadata.generation);

    publish(&subject, json!({"data": {"good.crt": own}})).await;
    healthy(&subject).await;
    assert_eq!(subject.deployment().await.metadata.generation, before.metadata.generation);

    // Under the same name somebody else's content.
    subject.api::<ConfigMap>().delete(&copy, &DeleteParams::default()).await.unwrap();
    let forged = json!({"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"good.crt": "forged"},
        "metadata": {"name": copy, "labels": {"kamaji.clastix.io/project": "kamaji", "kamaji.clastix.io/name": "kept"}}});
    let by = PatchParams::apply("somebody").force();
    // The operator may have been faster; then its own is there and cannot be changed.
    let _ = subject.api::<ConfigMap>().patch(&copy, &by, &Patch::Apply(forged)).await;
    subject
        .back::<ConfigMap>(&copy, |found| found.data == content && found.metadata.deletion_timestamp.is_none())
        .await;
    rested(stage, &subject).await;
    assert_eq!(subject.api::<ConfigMap>().get(&copy).await.unwrap().data, content);
    assert_eq!(subject.templates().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tenant_waits_until_its_config_map_is_there_and_good() {
    let stage = Stage::shared().await;
    let change = |spec: &mut Value| spec["internalCACertificatesConfigMap"] = json!(SOURCE);
    let subject = stage.created("waits", "default", change).await;
    let message = subject.condition(conditions::STALLED, "InternalCANotFound").await;
    assert!(message.starts_with("spec.internalCACertificatesConfigMap: ") && message.contains(SOURCE), "{message}");
    let key = Authority::new("key").unwrap().identity().key;
    publish(&subject, json!({"data": {"a": authority("a"), "secret.pem": key}})).await;
    let message = subject.condition(conditions::STALLED, "InternalCAInvalid").await;
    assert!(message.contains("\"secret.pem\" holds a private key"), "{message}");
    assert!(subject.api::<Deployment>().get_opt("waits").await.unwrap().is_none());
    assert!(copies(&subject).await.is_empty());

    // Another one that waits for the same ConfigMap, by its annotation.
    let mut second = tenant(&subject.namespace, "waits-too", "default", |_| {});
    second.annotations_mut().insert(annotations::INTERNAL_CA_CONFIG_MAP.to_owned(), SOURCE.to_owned());
    create(&subject.client, &second).await;
    let second =
        Subject { name: "waits-too".to_owned(), namespace: subject.namespace.clone(), client: subject.client.clone() };
    second.condition(conditions::STALLED, "InternalCAInvalid").await;

    publish(&subject, json!({"data": {"a": authority("a")}})).await;
    for subject in [&subject, &second] {
        rested(stage, subject).await;
        let live = subject.deployment().await;
        assert!(mounted(&live).unwrap().starts_with(&format!("{}-internal-ca-", subject.name)));
        assert_eq!(live.metadata.generation, Some(1), "it began with its authorities");
        assert!(subject.events("InternalCAChanged").await.is_empty());
        healthy(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_the_field_is_not_touched_by_config_maps_of_its_namespace() {
    let stage = Stage::start().await;
    let subject = stage.tenant("plain").await;
    let before = counts(&stage.operator).await;
    publish(&subject, json!({"data": {"a": authority("a")}})).await;
    settle(&stage.operator, &subject.client, &subject.namespace, &["plain"]).await;
    assert_eq!(counts(&stage.operator).await.writes, before.writes);
    assert_eq!(subject.templates().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_somebody_else_set_stays() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("own-variable").await;
    publish(&subject, json!({"data": {"a": authority("a")}})).await;
    let theirs = json!([{"op": "add", "path": "/spec/template/spec/containers/0/env",
        "value": [{"name": "SSL_CERT_DIR", "value": "/mine"}]}]);
    subject.json_patch::<Deployment>("own-variable", theirs).await;
    name_it(&subject, json!(SOURCE)).await;
    rolled(stage, &subject, None).await;
    let pod = pod(&subject.deployment().await);
    let values: Vec<_> = pod
        .containers
        .iter()
        .map(|container| {
            container.env.as_ref().unwrap().iter().map(|variable| variable.value.clone().unwrap()).collect()
        })
        .map(|values: Vec<String>| values.join(" "))
        .collect();
    assert_eq!(values.iter().filter(|value| *value == "/mine").count(), 1, "{values:?}");
    assert_eq!(values.iter().filter(|value| value.starts_with("/etc/kamaji/")).count(), 2, "{values:?}");
}
