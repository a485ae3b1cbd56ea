//! The Helm charts, installed into a real API server, and the operator under the rights that they give.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kamaji_testkit::api_server::ApiServer;
use kamaji_testkit::http_get::Target;
use kamaji_testkit::process::{Launch, Process};
use kamaji_testkit::wait::wait_for;
use kamaji_testkit::{parts, ports};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts");
const SOON: Duration = Duration::from_secs(30);

/// Runs a command against `server` with a home folder of its own.
fn run(server: &ApiServer, home: &Path, program: PathBuf, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", server.kubeconfig_path())
        .env("HOME", home)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .unwrap()
}

fn helm(server: &ApiServer, home: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = run(server, home, parts::helm(), arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn chart(name: &str) -> String {
    format!("{CHARTS}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "the test writes a namespace and tries out a Pod; no operator writes here"
)]
async fn the_operator_runs_under_the_rights_and_the_security_of_the_chart() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let home = TempDir::new().unwrap();
    let install = |name: &str, more: &[&str]| {
        let folder = chart(name);
        let line =
            [&["upgrade", "--install", name, &folder, "--namespace", "kamaji-system", "--create-namespace"], more];
        helm(&server, home.path(), &line.concat()).unwrap()
    };
    install("kamaji-crds", &["--set", "kamajiNamespace=kamaji-system"]);
    let notes = install("kamaji", &["--skip-crds", "--set", "etcdCluster.create=true"]);
    assert!(notes.contains("EtcdCluster default provides the DataStore") && !notes.contains("ephemeral"), "{notes}");
    // A second time changes nothing and is no error.
    install("kamaji", &["--skip-crds", "--set", "etcdCluster.create=true"]);

    let definitions = Api::<CustomResourceDefinition>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(definitions.items.len(), 4);

    let restricted = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    Api::<Namespace>::all(client.clone())
        .patch("kamaji-system", &PatchParams::default(), &Patch::Merge(restricted))
        .await
        .unwrap();
    let deployment = Api::<Deployment>::namespaced(client.clone(), "kamaji-system").get("kamaji").await.unwrap();
    let template = deployment.spec.unwrap().template;
    let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("trial".to_owned());
    let trial = PostParams { dry_run: true, ..PostParams::default() };
    Api::<Pod>::namespaced(client.clone(), "kamaji-system").create(&trial, &pod).await.unwrap();

    let folder = TempDir::new().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let user = "system:serviceaccount:kamaji-system:kamaji-controller-manager";
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kamaji-system", "system:authenticated"];
    server.write_kubeconfig(user, &groups, server.port(), &kubeconfig).unwrap();
    let (health, metrics) = (ports::free().unwrap(), ports::free().unwrap());
    // The very arguments of the Deployment, with addresses that are free here.
    let mut args: Vec<String> = pod.spec.unwrap().containers[0].args.clone().unwrap();
    args.extend([
        format!("--health-probe-bind-address=127.0.0.1:{health}"),
        format!("--metrics-bind-address=127.0.0.1:{metrics}"),
        format!("--kubeconfig={}", kubeconfig.display()),
    ]);
    let env = [("POD_NAMESPACE", "kamaji-system"), ("SERVICE_ACCOUNT", "kamaji-controller-manager")];
    let launch = Launch {
        name: "kamaji".to_owned(),
        program: parts::operator(env!("CARGO_BIN_EXE_kamaji")),
        args,
        env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        log: folder.path().join("kamaji.log"),
    };
    let mut operator = Process::start(&launch).unwrap();
    let ready = Target::http("127.0.0.1", health, "/readyz");
    if let Err(error) = operator.wait_ready(SOON, || ready.ready()).await {
        panic!("{error}\n{}", std::fs::read_to_string(&launch.log).unwrap());
    }
    assert_eq!(Target::http("127.0.0.1", health, "/healthz").get().await.unwrap(), 200);
    assert_eq!(Target::http("127.0.0.1", metrics, "/metrics").get().await.unwrap(), 200);

    let leases = Api::<Lease>::namespaced(client.clone(), "kamaji-system");
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    wait_for(&leases, "kamaji.clastix.io", SOON, |lease: &Lease| !holder(lease).is_empty()).await.unwrap();
    let began = std::time::Instant::now();
    operator.stop(Duration::from_secs(10)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(9), "stopped after {:?}", began.elapsed());
    assert_eq!(holder(&leases.get("kamaji.clastix.io").await.unwrap()), "", "the Lease is released on SIGTERM");
    let log = std::fs::read_to_string(&launch.log).unwrap();
    assert!(!log.contains("forbidden"), "{log}");
    assert!(log.contains(r#""msg":"stopped""#), "{log}");
}

/// A chart that bundles etcd under the names of the Go operator's chart.
const BUNDLED: &str = r"
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: kamaji-etcd
  namespace: {{ .Release.Namespace }}
spec:
  serviceName: kamaji-etcd
  selector: {matchLabels: {app.kubernetes.io/name: kamaji-etcd}}
  template:
    metadata: {labels: {app.kubernetes.io/name: kamaji-etcd}}
    spec: {containers: [{name: etcd, image: etcd}]}
---
apiVersion: v1
kind: Secret
metadata: {name: kamaji-etcd-certs}
---
apiVersion: kamaji.clastix.io/v1alpha1
kind: DataStore
metadata: {name: default}
spec:
  driver: etcd
  endpoints: ['kamaji-etcd:2379']
  tlsConfig:
    certificateAuthority:
      certificate: {secretReference: {name: kamaji-etcd-certs, namespace: default, keyPath: ca.crt}}
      privateKey: {secretReference: {name: kamaji-etcd-certs, namespace: default, keyPath: ca.key}}
    clientCertificate:
      certificate: {secretReference: {name: kamaji-etcd-certs, namespace: default, keyPath: tls.crt}}
      privateKey: {secretReference: {name: kamaji-etcd-certs, namespace: default, keyPath: tls.key}}
";

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_would_delete_a_bundled_etcd_is_refused_until_its_command_was_run() {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let home = TempDir::new().unwrap();
    let before = home.path().join("before");
    std::fs::create_dir_all(before.join("templates")).unwrap();
    std::fs::write(before.join("Chart.yaml"), "apiVersion: v2\nname: kamaji\nversion: 0.0.1\n").unwrap();
    std::fs::write(before.join("templates/etcd.yaml"), BUNDLED).unwrap();
    let upgrade = |folder: &str| {
        let line = ["upgrade", "--install", "kamaji", folder, "--namespace", "default", "--skip-crds"];
        helm(&server, home.path(), &line)
    };
    upgrade(before.to_str().unwrap()).unwrap();

    let refusal = upgrade(&chart("kamaji")).unwrap_err();
    let command =
        refusal.lines().find_map(|line| line.trim().strip_prefix("kubectl ")).unwrap_or_else(|| panic!("{refusal}"));
    for object in ["statefulset/kamaji-etcd", "secret/kamaji-etcd-certs", "datastore/default"] {
        assert!(command.contains(object), "{command}");
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = run(&server, home.path(), parts::kubectl(), &words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    upgrade(&chart("kamaji")).unwrap();
    let client = server.client().unwrap();
    Api::<StatefulSet>::namespaced(client.clone(), "default").get("kamaji-etcd").await.unwrap();
    Api::<kamaji_api::DataStore>::all(client).get("default").await.unwrap();
}

/// The objects that the chart renders with one of the files beside this one, and what Helm says when it refuses.
fn rendered(values: &str, more: &[&str]) -> Result<Vec<Value>, String> {
    let home = TempDir::new().unwrap();
    let values = format!("{}/tests/chart/{values}.yaml", env!("CARGO_MANIFEST_DIR"));
    let folder = chart("kamaji");
    let line = ["template", "kamaji", &folder, "--namespace", "kamaji-system", "--values", &values];
    let output = Command::new(parts::helm())
        .args(line)
        .args(["--kube-version", "1.36.0", "--api-versions", "monitoring.coreos.com/v1"])
        .args(more)
        .env("HOME", home.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if !output.status.success() {
        return Err(text(output.stderr));
    }
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text(output.stdout)).unwrap();
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

fn of_kind(objects: &[Value], kind: &str) -> Vec<Value> {
    objects.iter().filter(|object| object["kind"] == kind).cloned().collect()
}

/// The only one of its kind.
fn only(objects: &[Value], kind: &str) -> Value {
    let mut found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    found.remove(0)
}

#[test]
fn every_key_of_the_go_operators_chart_is_accepted() {
    let objects = rendered("go_values", &[]).unwrap();
    let deployment = only(&objects, "Deployment");
    assert_eq!((&deployment["metadata"]["name"], &deployment["spec"]["replicas"]), (&json!("kamaji"), &json!(1)));
    let pod = &deployment["spec"]["template"]["spec"];
    let manager = &pod["containers"][0];
    let version = manager["image"].as_str().unwrap().strip_prefix("clastix/kamaji:").unwrap();
    assert!(!version.is_empty(), "{manager}");
    assert_eq!(pod["serviceAccountName"], "kamaji-controller-manager");
    assert_eq!(manager["resources"]["limits"], json!({"cpu": "200m", "memory": "100Mi"}));
    assert!(manager["args"].as_array().unwrap().contains(&json!("--datastore=default")), "{manager}");
    for kind in ["StatefulSet", "DataStore", "EtcdCluster", "Certificate", "Issuer"] {
        assert!(of_kind(&objects, kind).is_empty(), "etcd is not bundled, and nothing takes its place: {kind}");
    }
    let refusal = rendered("go_values", &["--set", "kubeconfigGenerator.enabled=true"]).unwrap_err();
    assert!(refusal.contains("kubeconfigGenerator.enabled: "), "{refusal}");
    let refusal = rendered("go_values", &["--set", "replicas=2"]).unwrap_err();
    assert!(refusal.contains("replicas"), "{refusal}");
}

#[test]
fn what_is_set_in_the_go_operators_chart_counts_here() {
    let read = |file: &str| -> Value {
        let path = format!("{}/tests/chart/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let keys = |values: Value| values.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(read("go_values")), keys(read("go_values_changed")), "both files have every key");

    let objects = rendered("go_values_changed", &[]).unwrap();
    let deployment = only(&objects, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let manager = &pod["containers"][0];
    let args = manager["args"].as_array().unwrap();
    for argument in [
        "--health-probe-bind-address=:9081",
        "--metrics-bind-address=:9080",
        "--tmp-directory=/tmp/other",
        "--datastore=other",
        "--zap-devel",
        "--zap-log-level=debug",
    ] {
        assert!(args.contains(&json!(argument)), "{argument}: {args:?}");
    }
    for (found, wanted) in [
        (&deployment["metadata"]["name"], json!("renamed")),
        (&deployment["metadata"]["labels"]["app.kubernetes.io/name"], json!("named")),
        (&deployment["spec"]["replicas"], json!(3)),
        (&deployment["spec"]["template"]["metadata"]["annotations"], json!({"note": "text"})),
        (&pod["affinity"], json!({"nodeAffinity": {}})),
        (&pod["imagePullSecrets"], json!([{"name": "pull"}])),
        (&pod["nodeSelector"], json!({"disk": "fast"})),
        (&pod["securityContext"]["runAsUser"], json!(1001)),
        (&pod["serviceAccountName"], json!("account")),
        (&pod["tolerations"], json!([{"operator": "Exists"}])),
        (&manager["image"], json!("mirror.example/kamaji:v9")),
        (&manager["imagePullPolicy"], json!("IfNotPresent")),
        (&manager["livenessProbe"]["periodSeconds"], json!(21)),
        (&manager["readinessProbe"]["periodSeconds"], json!(11)),
        (&manager["resources"]["limits"]["memory"], json!("1Gi")),
        (&manager["securityContext"]["runAsGroup"], json!(1002)),
    ] {
        assert_eq!(*found, wanted, "{deployment}");
    }
    let account = only(&objects, "ServiceAccount");
    assert_eq!(account["metadata"]["name"], "account");
    assert_eq!(account["metadata"]["annotations"], json!({"role": "r"}));
    assert_eq!(of_kind(&objects, "ServiceMonitor").len(), 1);
}
