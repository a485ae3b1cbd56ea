//! konnectivity in the management cluster: real etcd, kube-apiserver and kube-controller-manager, simulated pods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
    },
    jiff::{SignedDuration, Timestamp},
};
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_pki::{KeyAlgorithm, PrivateKey, Profile, Usage, self_signed};
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::ResourceExt;
use serde_json::{Value, json};
use support::{
    SOON, create, phase,
    settle::settle,
    stage::{Stage, Subject},
    tenant,
};

const SELECTOR: &str = "konnectivity-egress-selector-configuration";

fn has_server(deployment: &Deployment) -> bool {
    let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
    pod.containers.iter().any(|container| container.name == "konnectivity-server")
}

fn ports(service: &Service) -> Vec<String> {
    let ports = service.spec.clone().unwrap().ports.unwrap_or_default();
    ports.into_iter().map(|port| port.name.unwrap()).collect()
}

async fn addons(subject: &Subject, value: Value) {
    subject.patch::<TenantControlPlane>(&subject.name, json!({"spec": {"addons": value}})).await;
}

async fn rested(stage: &Stage, subject: &Subject) {
    phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
    settle(&stage.operator, &subject.client, &subject.namespace, &[&subject.name]).await;
}

fn data(secrets: &BTreeMap<String, Secret>) -> BTreeMap<&String, &Option<BTreeMap<String, ByteString>>> {
    secrets.iter().map(|(name, secret)| (name, &secret.data)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn comes_to_a_running_tenant_with_one_rollout_and_leaves_nothing_behind() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("tunnel").await;
    subject
        .patch::<TenantControlPlane>(
            "tunnel",
            json!({"spec": {"controlPlane": {"service": {
                "additionalPorts": [{"name": "extra", "port": 9000, "targetPort": 9000}],
            }}}}),
        )
        .await;
    rested(stage, &subject).await;
    let (before, secrets) = (subject.deployment().await, subject.secrets().await);

    addons(&subject, json!({"konnectivity": {}})).await;
    subject.back::<Deployment>("tunnel", has_server).await;
    rested(stage, &subject).await;
    let service: Service = subject.api().get("tunnel").await.unwrap();
    assert_eq!(ports(&service), ["kube-apiserver", "konnectivity-server", "extra"]);
    let certificate = subject.secret("konnectivity-certificate").await;
    assert_eq!(certificate.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(certificate.data.unwrap().into_keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    let kubeconfig = subject.secret("konnectivity-kubeconfig").await;
    assert_eq!(kubeconfig.labels()["kamaji.clastix.io/certificate_lifecycle_controller"], "kubeconfig");
    assert_eq!(kubeconfig.labels()["kamaji.clastix.io/component"], "konnectivity-kubeconfig");
    assert_eq!(kubeconfig.data.unwrap().into_keys().collect::<Vec<_>>(), ["konnectivity-server.conf"]);
    let config_map: ConfigMap = subject.api().get(&format!("tunnel-{SELECTOR}")).await.unwrap();
    let reported = subject.api::<TenantControlPlane>().get("tunnel").await.unwrap();
    let reported = serde_json::to_value(reported.status.unwrap().addons.konnectivity).unwrap();
    assert_eq!(reported["enabled"], true);
    assert_eq!(reported["configMap"]["name"], config_map.name_any());
    assert_eq!(reported["configMap"]["checksum"], config_map.annotations()["kamaji.clastix.io/checksum"]);
    assert_eq!(reported["certificate"]["secretName"], "tunnel-konnectivity-certificate");
    assert_eq!(reported["kubeconfig"]["secretName"], "tunnel-konnectivity-kubeconfig");
    assert_eq!((&reported["service"]["name"], &reported["service"]["port"]), (&json!("tunnel"), &json!(8132)));
    assert_eq!(subject.templates().await, 2);

    // A change of replicas restarts nothing.
    let replicas = |count: i32| json!({"spec": {"controlPlane": {"deployment": {"replicas": count}}}});
    subject.patch::<TenantControlPlane>("tunnel", replicas(2)).await;
    subject.back::<Deployment>("tunnel", |found| found.spec.as_ref().unwrap().replicas == Some(2)).await;
    subject.patch::<TenantControlPlane>("tunnel", replicas(1)).await;
    rested(stage, &subject).await;
    assert_eq!(subject.templates().await, 2);

    addons(&subject, Value::Null).await;
    subject.back::<Deployment>("tunnel", |found| !has_server(found)).await;
    for name in ["konnectivity-certificate", "konnectivity-kubeconfig"] {
        wait_for_deletion(&subject.api::<Secret>(), &format!("tunnel-{name}"), None, SOON).await.unwrap();
    }
    wait_for_deletion(&subject.api::<ConfigMap>(), &format!("tunnel-{SELECTOR}"), None, SOON).await.unwrap();
    rested(stage, &subject).await;
    let service: Service = subject.api().get("tunnel").await.unwrap();
    assert_eq!(ports(&service), ["kube-apiserver", "extra"]);
    assert_eq!(subject.deployment().await.spec.unwrap().template, before.spec.unwrap().template);
    assert_eq!(data(&subject.secrets().await), data(&secrets));
    let reported = subject.api::<TenantControlPlane>().get("tunnel").await.unwrap();
    let reported = reported.status.unwrap().addons.konnectivity;
    assert_eq!(reported, kamaji_api::tenant_control_plane::KonnectivityStatus::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_kubeconfig_is_the_same_again_and_a_rotated_one_rolls_the_pods_once() {
    let stage = Stage::shared().await;
    let subject = stage
        .created("rotated", "default", |spec| spec["addons"] = json!({"konnectivity": {"server": {"port": 8132}}}));
    let subject = subject.await;
    rested(stage, &subject).await;
    let made = subject.secret("konnectivity-kubeconfig").await;
    let certificate = subject.secret("konnectivity-certificate").await;
    subject.delete::<Secret>("rotated-konnectivity-kubeconfig").await;
    rested(stage, &subject).await;
    assert_eq!(subject.secret("konnectivity-kubeconfig").await.data, made.data);
    assert_eq!(subject.templates().await, 1);

    let rotate = json!({"metadata": {"annotations": {"certs.kamaji.clastix.io/rotate": ""}}});
    subject.patch::<Secret>("rotated-konnectivity-kubeconfig", rotate).await;
    subject.back::<Secret>("rotated-konnectivity-kubeconfig", |found| found.data != made.data).await;
    rested(stage, &subject).await;
    assert_eq!(subject.templates().await, 2);
    assert_eq!(subject.secret("konnectivity-certificate").await.data, certificate.data);
    let told = subject.told("CertificateIssued").await;
    assert!(
        told.iter().any(|note| note.contains("rotated-konnectivity-kubeconfig: a rotation was asked for")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_no_node_port_is_told_with_its_field_and_goes_on_when_it_is_one() {
    let stage = Stage::shared().await;
    let subject = stage.created("outside", "default", |spec| {
        spec["controlPlane"]["service"]["serviceType"] = json!("NodePort");
        spec["networkProfile"] = json!({"address": "192.0.2.9", "port": 31_443});
        spec["addons"] = json!({"konnectivity": {"server": {"port": 8132}}});
    });
    let subject = subject.await;
    let message = subject.condition("Stalled", "PortOutOfRange").await;
    assert_eq!(
        message,
        "spec.addons.konnectivity.server.port: 8132 is none of the node ports of the management cluster (30000-32767), \
         which a Service of type NodePort needs; choose one of these"
    );
    addons(&subject, json!({"konnectivity": {"server": {"port": 31_132}}})).await;
    let live = wait_for(&subject.api::<Service>(), "outside", SOON, |_| true).await.unwrap();
    let ports = live.spec.unwrap().ports.unwrap();
    assert_eq!((ports[1].port, ports[1].node_port), (31_132, Some(31_132)));
    rested(stage, &subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_near_its_end_is_told_while_the_tenant_goes_on() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let namespace = stage.cluster.api_server().namespace().await.unwrap();
    let mut paused = tenant(&namespace, "ending", "default", |_| {});
    paused.annotations_mut().insert("kamaji.clastix.io/paused".to_owned(), "true".to_owned());
    create(&client, &paused).await;
    let subject = Subject { client, namespace, name: "ending".to_owned() };
    let uid = subject.api::<TenantControlPlane>().get("ending").await.unwrap().uid().unwrap();

    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let now = Timestamp::now();
    let profile = Profile {
        common_name: "kubernetes".to_owned(),
        organizations: Vec::new(),
        dns_names: vec!["kubernetes".to_owned()],
        ip_addresses: Vec::new(),
        usage: Usage::Authority,
        not_before: now - SignedDuration::from_hours(24 * 3600),
        not_after: now + SignedDuration::from_hours(24 * 20),
    };
    let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (certificate, key) = (pem(self_signed(&profile, &key).unwrap()), pem(key.to_pem()));
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {
            "name": "ending-ca",
            "labels": {
                "kamaji.clastix.io/project": "kamaji",
                "kamaji.clastix.io/name": "ending",
                "kamaji.clastix.io/component": "ca",
            },
            "ownerReferences": [{
                "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane", "name": "ending",
                "uid": uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "stringData": {"ca.crt": certificate, "ca.key": key, "tls.crt": certificate, "tls.key": key},
    }))
    .unwrap();
    subject.api::<Secret>().create(&kube::api::PostParams::default(), &secret).await.unwrap();
    let go_on = json!({"metadata": {"annotations": {"kamaji.clastix.io/paused": null}}});
    subject.patch::<TenantControlPlane>("ending", go_on).await;

    phase(&subject.client, &subject.namespace, "ending", "Ready").await;
    let message = subject.condition("Degraded", "CertificateAuthorityExpiring").await;
    assert!(message.starts_with("The certificate authority in Secret ending-ca ends at "), "{message}");
    settle(&stage.operator, &subject.client, &subject.namespace, &["ending"]).await;
    let live = subject.secret("ca").await;
    assert_eq!(live.data.unwrap()["ca.crt"].0, certificate.as_bytes());

    let rotate = json!({"metadata": {"annotations": {"certs.kamaji.clastix.io/rotate": ""}}});
    subject.patch::<Secret>("ending-ca", rotate).await;
    let well = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions::find(all, conditions::DEGRADED).is_some_and(|found| found.status == "False")
    };
    wait_for(&subject.api(), "ending", SOON, well).await.unwrap();
}
