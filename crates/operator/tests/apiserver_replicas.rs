//! Two replicas of the operator as processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]
#![cfg(test)]

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kamaji_testkit::api_server::ApiServer;
use kamaji_testkit::parts;
use kamaji_testkit::process::{Launch, Process};
use kamaji_testkit::wait::wait_for;
use kube::Api;
use tempfile::TempDir;

const NAME: &str = "kamaji.clastix.io";
const SOON: Duration = Duration::from_secs(30);

fn launch(server: &ApiServer, namespace: &str, folder: &TempDir, name: &str) -> Launch {
    Launch {
        name: name.to_owned(),
        program: parts::operator(env!("CARGO_BIN_EXE_kamaji")),
        args: [
            "manager",
            "--metrics-bind-address=127.0.0.1:0",
            "--health-probe-bind-address=127.0.0.1:0",
            "--serviceaccount-name=kamaji",
            "--pod-namespace",
            namespace,
            "--kubeconfig",
            server.kubeconfig_path().to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec(),
        env: Vec::new(),
        log: folder.path().join(format!("{name}.log")),
    }
}

fn holder(lease: &Lease) -> String {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
}

async fn exit_code(process: &mut Process) -> Option<i32> {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if let Some(status) = process.exited().unwrap() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_suspended_finds_itself_replaced_and_ends() {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let leases: Api<Lease> = Api::namespaced(server.client().unwrap(), &namespace);
    let folder = TempDir::new().unwrap();

    let launches = ["first", "second"].map(|name| launch(&server, &namespace, &folder, name));
    let mut first = Process::start(&launches[0]).unwrap();
    let before = wait_for(&leases, NAME, SOON, |lease: &Lease| !holder(lease).is_empty()).await.unwrap();
    let _second = Process::start(&launches[1]).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;

    first.pause().unwrap();
    let began = Instant::now();
    let taken = wait_for(&leases, NAME, SOON, |lease: &Lease| holder(lease) != holder(&before)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "took over after {:?}", began.elapsed());
    first.resume().unwrap();
    assert_eq!(exit_code(&mut first).await, Some(1));
    let log = std::fs::read_to_string(&launches[0].log).unwrap();
    assert!(log.contains("was lost"), "{log}");
    assert_eq!(holder(&leases.get(NAME).await.unwrap()), holder(&taken), "the late one took nothing back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_an_api_server_is_alive_but_not_ready_and_ends_on_request() {
    let folder = TempDir::new().unwrap();
    let server = ApiServer::shared().await.unwrap();
    let nowhere = folder.path().join("kubeconfig");
    let closed = kamaji_testkit::ports::free().unwrap();
    server.write_kubeconfig("kamaji", &["system:masters"], closed, &nowhere).unwrap();
    let health = kamaji_testkit::ports::free().unwrap();
    let mut launch = launch(server, "default", &folder, "alone");
    launch.args.push(format!("--kubeconfig={}", nowhere.display()));
    launch.args.push(format!("--health-probe-bind-address=127.0.0.1:{health}"));
    let mut process = Process::start(&launch).unwrap();
    let alive = kamaji_testkit::http_get::Target::http("127.0.0.1", health, "/healthz");
    process.wait_ready(SOON, || alive.ready()).await.unwrap();
    let ready = kamaji_testkit::http_get::Target::http("127.0.0.1", health, "/readyz").get().await.unwrap();
    assert_eq!(ready, 503);
    let began = Instant::now();
    process.stop(SOON).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "stopped after {:?}", began.elapsed());
    let log = std::fs::read_to_string(&launch.log).unwrap();
    assert!(log.contains(r#""msg":"stopped""#), "{log}");
}
