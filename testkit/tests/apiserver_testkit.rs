//! What testkit starts, started: every test here runs real binaries.
#![allow(clippy::disallowed_methods, reason = "these tests write by themselves; no operator runs here")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "everything here is a test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::{Permission, UserAddOptions};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kamaji_testkit::api_server::{self, ApiServer};
use kamaji_testkit::dump::dump_namespace;
use kamaji_testkit::etcd::{self, Etcd};
use kamaji_testkit::fault_proxy::{FaultProxy, Mode};
use kamaji_testkit::http_get::Target;
use kamaji_testkit::load_balancer;
use kamaji_testkit::postgres;
use kamaji_testkit::probe::Probe;
use kamaji_testkit::process::Process;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}, "data": {"key": "value"}}))
}

async fn answers(client: &Client) -> bool {
    matches!(tokio::time::timeout(SHORT, client.apiserver_version()).await, Ok(Ok(_)))
}

fn alive(id: u32) -> bool {
    // A zombie waits for its parent only.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn shared_server_gives_each_test_its_namespace() {
    let begin = Instant::now();
    let server = ApiServer::shared().await.unwrap();
    println!("API server after {:?}", begin.elapsed());
    let (one, other) = (server.namespace().await.unwrap(), server.namespace().await.unwrap());
    assert_ne!(one, other);
    let again = ApiServer::shared().await.unwrap();
    assert_eq!(server.port(), again.port());
}

#[tokio::test]
async fn kubeconfig_is_one_that_kube_reads() {
    let server = ApiServer::shared().await.unwrap();
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig_path()).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    assert_eq!(format!("v{}", server.version()), client.apiserver_version().await.unwrap().git_version);
}

#[tokio::test]
async fn rbac_refuses_a_user_without_a_role() {
    let server = ApiServer::shared().await.unwrap();
    let api: Api<Secret> = Api::namespaced(server.client_as("nobody", &[]).unwrap(), "default");
    let error = api.get_opt("any").await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 403));
    let api: Api<Secret> = Api::namespaced(server.client_as("somebody", &["system:masters"]).unwrap(), "default");
    assert!(api.get_opt("any").await.unwrap().is_none());
}

#[tokio::test]
async fn serves_a_definition_when_its_installation_returns() {
    let server = ApiServer::shared().await.unwrap();
    let crd: CustomResourceDefinition = object(json!({
        "metadata": {"name": "kettles.testkit.example.com"},
        "spec": {
            "group": "testkit.example.com",
            "scope": "Namespaced",
            "names": {"kind": "Kettle", "plural": "kettles", "singular": "kettle"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"litres": {"type": "integer", "maximum": 3}}},
                }}},
            }],
        },
    }));
    server.install_crds(std::slice::from_ref(&crd)).await.unwrap();
    server.install_crds(&[crd]).await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("testkit.example.com", "v1", "Kettle"));
    let api: Api<DynamicObject> = Api::namespaced_with(server.client().unwrap(), &namespace, &resource);
    let kettle = |litres: i64| {
        let mut kettle = DynamicObject::new("k", &resource);
        kettle.data = json!({"spec": {"litres": litres}});
        kettle
    };
    let error = api.create(&PostParams::default(), &kettle(9)).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 422));
    api.create(&PostParams::default(), &kettle(2)).await.unwrap();
}

#[tokio::test]
async fn keeps_its_data_over_stop_crash_and_pause() {
    let mut server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &config_map("a")).await.unwrap();

    server.stop().await.unwrap();
    assert!(!answers(&client).await);
    server.restart().await.unwrap();
    assert_eq!(api.get("a").await.unwrap().data.unwrap()["key"], "value");

    server.kill();
    assert!(!answers(&client).await);
    server.restart().await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_some());

    server.pause().unwrap();
    assert!(!answers(&client).await);
    server.resume().unwrap();
    assert!(api.get_opt("a").await.unwrap().is_some());

    server.etcd_mut().stop().await.unwrap();
    server.etcd_mut().restart().await.unwrap();
    server.restart().await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_some());
}

#[tokio::test]
async fn serves_from_a_secure_etcd() {
    let options = api_server::Options { etcd: etcd::Options::secure(), ..api_server::Options::default() };
    let server = ApiServer::start_with(options).await.unwrap();
    assert!(answers(&server.client().unwrap()).await);
    let mut etcd = server.etcd().client().await.unwrap();
    let keys = etcd_client::GetOptions::new().with_prefix().with_keys_only();
    assert!(etcd.get("/registry/", Some(keys)).await.unwrap().count() > 0);
}

#[tokio::test]
async fn secure_etcd_refuses_who_has_no_certificate_or_no_permission() {
    let etcd = Etcd::start(etcd::Options::secure()).await.unwrap();
    let mut root = etcd.client().await.unwrap();
    root.user_add("tenant", "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
    root.role_add("tenant").await.unwrap();
    root.role_grant_permission("tenant", Permission::read_write("/tenant/").with_prefix()).await.unwrap();
    root.user_grant_role("tenant", "tenant").await.unwrap();

    let tls = etcd.tls().unwrap();
    let mut tenant = etcd.connect(Some(&tls.client("tenant").unwrap())).await.unwrap();
    tenant.put("/tenant/a", "1", None).await.unwrap();
    tenant.put("/other/a", "1", None).await.unwrap_err();
    let mut stranger = etcd.connect(Some(&tls.client("stranger").unwrap())).await.unwrap();
    stranger.get("/tenant/a", None).await.unwrap_err();
    match etcd.connect(None).await {
        Err(_) => {}
        Ok(mut anonymous) => assert!(anonymous.get("/tenant/a", None).await.is_err()),
    }
    let spec = etcd.data_store_spec().unwrap();
    assert_eq!(spec["driver"], "etcd");
    assert_eq!(spec["endpoints"], json!(etcd.endpoints()));
    assert!(spec["tlsConfig"]["certificateAuthority"]["privateKey"]["content"].is_string());
}

#[tokio::test]
async fn three_members_survive_the_loss_of_one() {
    let options = etcd::Options { members: 3, secure: true, ..etcd::Options::default() };
    let mut etcd = Etcd::start(options).await.unwrap();
    let mut client = etcd.client().await.unwrap();
    assert_eq!(client.member_list().await.unwrap().members().len(), 3);
    client.put("a", "1", None).await.unwrap();
    etcd.stop_member(0).await.unwrap();
    let mut client = etcd.client().await.unwrap();
    // A member that led leaves an election behind, during which etcd answers no one.
    let deadline = Instant::now() + SOON;
    while let Err(error) = client.put("b", "2", None).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    etcd.restart_member(0).await.unwrap();
    // The client remembers for a while who was away.
    let mut client = etcd.client().await.unwrap();
    assert_eq!(client.get("b", None).await.unwrap().kvs().len(), 1);
    assert_eq!(etcd.stop_member(3).await.unwrap_err().category(), "no_member");
}

#[tokio::test]
async fn fault_proxy_hides_the_server_and_shows_it_again() {
    let server = ApiServer::shared().await.unwrap();
    let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    let client = server.client_through(proxy.address().port()).unwrap();
    assert!(client.apiserver_version().await.is_ok());
    for mode in [Mode::Refuse, Mode::Hang] {
        proxy.set(mode).await.unwrap();
        assert!(!answers(&client).await, "{mode:?}");
        proxy.set(Mode::Pass).await.unwrap();
        tokio::time::timeout(SOON, client.apiserver_version()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn probe_counts_failures_only_while_the_server_is_away() {
    let mut server = ApiServer::start().await.unwrap();
    let authority = server.authority().certificate();
    let target = Target::https("127.0.0.1", server.port(), "/readyz", &authority, Some(server.admin()), None).unwrap();

    let probe = Probe::start(target.clone());
    let client = server.client().unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    for index in 0..5 {
        api.create(&PostParams::default(), &config_map(&format!("a-{index}"))).await.unwrap();
        tokio::time::sleep(SHORT / 3).await;
    }
    let report = probe.finish().await;
    assert_eq!(report.failures().count(), 0, "{report}");
    assert!(report.successes() >= 4, "{report}");

    let probe = Probe::start(target);
    server.kill();
    tokio::time::sleep(SHORT).await;
    server.restart().await.unwrap();
    let report = probe.finish().await;
    assert!(report.failures().count() >= 3, "{report}");
}

#[tokio::test]
async fn load_balancer_gives_addresses_and_takes_them_back() {
    let server = ApiServer::shared().await.unwrap();
    let client = server.client().unwrap();
    let balancer = tokio::spawn({
        let client = client.clone();
        async move { load_balancer::run(client, "203.0.113.0/30").await }
    });
    let api: Api<Service> = Api::namespaced(client, &server.namespace().await.unwrap());
    let service = |name: &str| -> Service {
        object(json!({"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 6443}]}}))
    };
    let address = |service: &Service| -> Option<String> {
        service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?.ip.clone()
    };
    let mut given = BTreeSet::new();
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &service(name)).await.unwrap();
        let seen = wait_for(&api, name, SOON, |service| address(service).is_some()).await.unwrap();
        given.insert(address(&seen).unwrap());
    }
    assert_eq!(given, BTreeSet::from(["203.0.113.1".to_owned(), "203.0.113.2".to_owned()]));

    api.create(&PostParams::default(), &service("c")).await.unwrap();
    let error = wait_for(&api, "c", SHORT, |service| address(service).is_some()).await.unwrap_err();
    assert_eq!(error.category(), "timed_out");
    api.delete("a", &DeleteParams::default()).await.unwrap();
    wait_for(&api, "c", SOON, |service| address(service).as_deref() == Some("203.0.113.1")).await.unwrap();
    assert!(!balancer.is_finished());
    balancer.abort();
}

#[tokio::test]
async fn wait_sees_what_comes_and_what_goes() {
    let server = ApiServer::shared().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client().unwrap(), &server.namespace().await.unwrap());
    let (seen, _) = tokio::join!(wait_for(&api, "a", SOON, |map| map.data.is_some()), async {
        api.create(&PostParams::default(), &config_map("a")).await.unwrap()
    });
    let uid = seen.unwrap().uid();
    let error = wait_for(&api, "a", SHORT, |map| map.data.is_none()).await.unwrap_err();
    assert!(error.to_string().contains(r#""key":"value""#), "{error}");
    let (gone, _) = tokio::join!(wait_for_deletion(&api, "a", uid.as_deref(), SOON), async {
        api.delete("a", &DeleteParams::default()).await.unwrap()
    });
    gone.unwrap();
    let error = wait_for(&api, "a", SHORT, |_| true).await.unwrap_err();
    assert!(error.to_string().ends_with("it was last: absent"), "{error}");
}

#[tokio::test]
async fn wait_outlasts_a_server_that_is_away() {
    let mut server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    server.kill();
    let (seen, ()) = tokio::join!(wait_for(&api, "a", SOON, |_| true), async {
        server.restart().await.unwrap();
        api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    });
    seen.unwrap();
}

#[tokio::test]
async fn dump_holds_objects_and_events_but_no_secret_data() {
    let server = ApiServer::shared().await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let secret: Secret = object(json!({"metadata": {"name": "s"}, "stringData": {"password": "opensesame"}}));
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &secret).await.unwrap();
    let event = object(json!({
        "metadata": {"name": "e"}, "reason": "Boiled", "message": "water boils", "type": "Normal",
        "involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": namespace},
    }));
    let api: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &event).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    dump_namespace(&client, &namespace, folder.path()).await.unwrap();
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert!(read("objects/configmaps/a.yaml").contains("key: value"));
    assert!(read("objects/secrets/s.yaml").contains("password: <16 characters>"), "{}", read("objects/secrets/s.yaml"));
    assert!(read("events.txt").contains("Normal Boiled ConfigMap/a: water boils (1x)"), "{}", read("events.txt"));
    assert!(!folder.path().join("problems.txt").exists(), "{}", read("problems.txt"));
}

#[tokio::test]
async fn dropped_server_leaves_nothing() {
    let server = ApiServer::start().await.unwrap();
    let processes: Vec<u32> = server.process().into_iter().chain(server.etcd().running()).map(Process::id).collect();
    let folders = [server.folder().to_owned(), server.etcd().folder().to_owned()];
    assert!(processes.len() == 2 && processes.iter().all(|id| alive(*id)) && folders.iter().all(|path| path.exists()));
    drop(server);
    assert!(!processes.iter().any(|id| alive(*id)));
    assert!(!folders.iter().any(|path| path.exists()));
}

const VICTIM_FILE: &str = "KAMAJI_TESTKIT_VICTIM_FILE";

#[tokio::test]
async fn killed_tests_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("victim.json");
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "only_as_the_victim_of_killed_tests_leave_nothing", "--ignored"])
        .env(VICTIM_FILE, &file)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !file.exists() {
        assert!(Instant::now() < deadline && victim.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let started: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let ids: Vec<u32> = serde_json::from_value(started["processes"].clone()).unwrap();
    let data = Path::new(started["folder"].as_str().unwrap());
    assert!(ids.len() == 2 && ids.iter().all(|id| alive(*id)) && data.exists());

    victim.kill().await.unwrap();
    let deadline = Instant::now() + SOON;
    while ids.iter().any(|id| alive(*id)) || data.exists() {
        assert!(Instant::now() < deadline, "{ids:?} or {} is still there", data.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "killed_tests_leave_nothing starts it in a process of its own, and kills that"]
async fn only_as_the_victim_of_killed_tests_leave_nothing() {
    let Some(file) = std::env::var_os(VICTIM_FILE) else { return };
    let server = ApiServer::shared().await.unwrap();
    let processes: Vec<u32> = server.process().into_iter().chain(server.etcd().running()).map(Process::id).collect();
    let folder = server.folder().parent().unwrap();
    // Written elsewhere first: the reader must not see half of it.
    let draft = Path::new(&file).with_extension("draft");
    std::fs::write(&draft, json!({"processes": processes, "folder": folder}).to_string()).unwrap();
    std::fs::rename(&draft, &file).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_paused_server_is_frozen_with_the_processes_that_serve_its_connections() {
    /// Asks PostgreSQL whether it speaks TLS; what serves the connection then waits for a handshake.
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let mut server = postgres::start().await.unwrap();
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    connection.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'S');

    server.pause().unwrap();
    connection.write_all(b"no handshake").await.unwrap();
    let mut said = Vec::new();
    assert!(tokio::time::timeout(SHORT, connection.read_to_end(&mut said)).await.is_err());
    let mut new = TcpStream::connect(server.address()).await.unwrap();
    new.write_all(&SSL_REQUEST).await.unwrap();
    assert!(tokio::time::timeout(SHORT, new.read_u8()).await.is_err());

    server.resume().unwrap();
    // A reset ends it as well as a close.
    let _ = tokio::time::timeout(SOON, connection.read_to_end(&mut said)).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, new.read_u8()).await.unwrap().unwrap(), b'S');
    server.restart().await.unwrap();
}
