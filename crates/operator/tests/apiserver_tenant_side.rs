//! The operator as a process beside a tenant's real API server: from the specification to the objects in the tenant's
//! own cluster, and back into the status.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod session;
mod support;

use std::{net::SocketAddr, path::Path, time::Duration};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{TenantControlPlane, conditions, tenant_control_plane::KonnectivityAgentMode};
use kamaji_testkit::{
    api_server::{ApiServer, Options},
    etcd::Etcd,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use session::versions;
use support::{
    Operator, SOON, create, data_store,
    settle::{Counts, counted, counts, settle},
    tenant,
};

/// A management cluster whose Services have loopback addresses, so that a test can answer on them, and a tenant.
struct Stage {
    server: ApiServer,
    client: Client,
    namespace: String,
    operator: Operator,
    _etcd: Etcd,
}

impl Stage {
    async fn start(change: impl FnOnce(&mut Value)) -> Self {
        let options =
            Options { extra_args: vec!["--service-cluster-ip-range=127.96.0.0/16".to_owned()], ..Options::default() };
        let server = ApiServer::start_with(options).await.unwrap();
        server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
        let client = server.client().unwrap();
        let namespace = server.namespace().await.unwrap();
        let etcd = data_store(&client, "default").await;
        let operator = Operator::start(&server, &[]);
        create(&client, &tenant(&namespace, "one", "default", change)).await;
        Self { server, client, namespace, operator, _etcd: etcd }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Starts the tenant's API server with the tenant's own certificates, answering where its Service points to.
    async fn serve_tenant(&self) -> ApiServer {
        let deployments: Api<Deployment> = self.api();
        wait_for(&deployments, "one", SOON, |_: &Deployment| true).await.unwrap_or_else(|error| {
            panic!("{error}\n{}", self.operator.log());
        });
        let folder = tempfile::tempdir().unwrap().keep();
        let secret = |name: &str| {
            let api: Api<Secret> = self.api();
            let name = format!("one-{name}");
            async move { api.get(&name).await.unwrap().data.unwrap() }
        };
        let serving = secret("api-server-certificate").await;
        write(&folder.join("tls.crt"), &serving["apiserver.crt"].0);
        write(&folder.join("tls.key"), &serving["apiserver.key"].0);
        let shown = |name: &str| folder.join(name).display().to_string();
        let name = format!("one.{}.svc", self.namespace);
        let options = Options {
            extra_args: vec![format!("--tls-sni-cert-key={},{}:{name}", shown("tls.crt"), shown("tls.key"))],
            ..Options::default()
        };
        let tenant = ApiServer::start_with(options).await.unwrap();
        // Beside the test's own; the API server notices that the file changes.
        let clients = [secret("ca").await["ca.crt"].0.clone(), tenant.authority().certificate().into_bytes()].concat();
        write(&tenant.folder().join("ca.crt"), &clients);
        let service = self.api::<Service>().get("one").await.unwrap();
        let address: std::net::IpAddr = service.spec.unwrap().cluster_ip.unwrap().parse().unwrap();
        forward(SocketAddr::new(address, 6443), session::address(&tenant)).await;
        self.pods(1).await;
        tenant
    }

    /// Plays the part of the Deployment's controller.
    async fn pods(&self, ready: i32) {
        let api: Api<Deployment> = self.api();
        let live = api.get("one").await.unwrap();
        let status = json!({"status": {
            "observedGeneration": live.metadata.generation, "replicas": ready, "updatedReplicas": ready,
            "readyReplicas": ready, "availableReplicas": ready,
        }});
        api.patch_status("one", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    async fn change(&self, patch: Value) {
        let api: Api<TenantControlPlane> = self.api();
        api.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Waits until the tenant is reported so.
    async fn reported(&self, wanted: impl Fn(&TenantControlPlane) -> bool) -> TenantControlPlane {
        let api: Api<TenantControlPlane> = self.api();
        wait_for(&api, "one", SOON, wanted).await.unwrap_or_else(|error| panic!("{error}\n{}", self.operator.log()))
    }

    async fn configured(&self) -> TenantControlPlane {
        self.reported(|tenant| {
            let found = condition(tenant, conditions::TENANT_CONFIGURED);
            found.is_some_and(|found| found.status == "True" && found.observed_generation == tenant.metadata.generation)
        })
        .await
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn condition<'a>(
    tenant: &'a TenantControlPlane,
    kind: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    conditions::find(tenant.status.as_ref()?.conditions.as_deref()?, kind)
}

/// Passes on what comes to `address`.
async fn forward(address: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_configured_stays_so_over_a_restart_and_follows_its_specification() {
    let mut stage = Stage::start(|spec| {
        spec["addons"] =
            json!({"coreDNS": {}, "kubeProxy": {}, "konnectivity": {"server": {"port": 8132}, "agent": {}}});
    })
    .await;
    let tenant = stage.serve_tenant().await;
    let inside = tenant.client().unwrap();
    let reported = stage.configured().await;
    let status = reported.status.clone().unwrap();
    assert!(status.addons.core_dns.enabled && status.addons.kube_proxy.enabled && status.addons.konnectivity.enabled);
    assert_eq!(status.addons.konnectivity.agent.mode, Some(KonnectivityAgentMode::DaemonSet));
    assert!(status.kubeadm_phase.bootstrap_token.checksum.is_some());
    assert_eq!(condition(&reported, conditions::READY).unwrap().status, "True");
    assert_eq!(condition(&reported, conditions::DEGRADED).unwrap().status, "False");
    let all = versions(&inside).await;
    for name in [
        "ConfigMap/kube-system/kubeadm-config",
        "ConfigMap/kube-system/kubelet-config",
        "ConfigMap/kube-public/cluster-info",
        "ClusterRoleBinding//kubeadm:cluster-admins",
        "DaemonSet/kube-system/konnectivity-agent",
        "DaemonSet/kube-system/kube-proxy",
        "Deployment/kube-system/coredns",
        "Service/kube-system/kube-dns",
    ] {
        assert!(all.contains_key(name), "{name} is missing: {all:#?}");
    }

    // At rest nothing is written; nor by another process.
    settle(&stage.operator, &stage.client, &stage.namespace, &["one"]).await;
    stage.operator.kill();
    stage.operator.resume();
    settle(&stage.operator, &stage.client, &stage.namespace, &["one"]).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(inside.clone(), "kube-system");
    config_maps.delete("kubelet-config", &kube::api::DeleteParams::default()).await.unwrap();
    wait_for(&config_maps, "kubelet-config", SOON, |_: &ConfigMap| true).await.unwrap();
    let mut after = versions(&inside).await;
    assert_ne!(after.remove("ConfigMap/kube-system/kubelet-config"), None);
    let mut before = all;
    before.remove("ConfigMap/kube-system/kubelet-config");
    assert_eq!(after, before, "a restart changes nothing");
    let total = |counts: &Counts| counts.writes.values().sum::<u64>();
    let counts = counted(&stage.operator, |counts| total(counts) > 0).await;
    assert_eq!(total(&counts), 1, "what was deleted, and nothing more: {counts:?}");

    let agent = json!({"mode": "Deployment", "replicas": 2});
    stage.change(json!({"spec": {"addons": {"konnectivity": {"agent": agent}}}})).await;
    let reported = stage.configured().await;
    let agent = reported.status.unwrap().addons.konnectivity.agent;
    assert_eq!(agent.mode, Some(KonnectivityAgentMode::Deployment));
    let there = versions(&inside).await;
    assert!(there.contains_key("Deployment/kube-system/konnectivity-agent"), "{there:#?}");
    assert!(!there.contains_key("DaemonSet/kube-system/konnectivity-agent"), "{there:#?}");

    stage.change(json!({"spec": {"addons": {"coreDNS": null, "konnectivity": null}}})).await;
    let reported = stage.configured().await;
    let addons = reported.status.unwrap().addons;
    assert!(!addons.core_dns.enabled && addons.konnectivity.agent.name.is_none());
    let left = versions(&inside).await;
    let gone = ["coredns", "kube-dns", "konnectivity"];
    assert!(left.keys().all(|name| gone.iter().all(|part| !name.contains(part))), "{left:#?}");
    assert!(left.contains_key("DaemonSet/kube-system/kube-proxy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_paused_sleeps_or_goes_is_left_alone() {
    let stage = Stage::start(|spec| spec["addons"] = json!({"kubeProxy": {}})).await;
    let tenant = stage.serve_tenant().await;
    let inside = tenant.client().unwrap();
    stage.configured().await;
    let daemon_sets: Api<DaemonSet> = Api::namespaced(inside.clone(), "kube-system");
    let deleted_and_left = || async {
        daemon_sets.delete("kube-proxy", &kube::api::DeleteParams::default()).await.unwrap();
        wait_for_deletion(&daemon_sets, "kube-proxy", None, SOON).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(daemon_sets.get_opt("kube-proxy").await.unwrap().is_none(), "{}", stage.operator.log());
    };

    settle(&stage.operator, &stage.client, &stage.namespace, &["one"]).await;
    let passes = counts(&stage.operator).await.passes;
    stage.change(json!({"metadata": {"annotations": {"kamaji.clastix.io/paused": ""}}})).await;
    counted(&stage.operator, |counts| counts.passes > passes).await;
    deleted_and_left().await;
    stage.change(json!({"metadata": {"annotations": {"kamaji.clastix.io/paused": null}}})).await;
    wait_for(&daemon_sets, "kube-proxy", SOON, |_: &DaemonSet| true).await.unwrap();

    stage.change(json!({"spec": {"controlPlane": {"deployment": {"replicas": 0}}}})).await;
    stage.reported(|tenant| condition(tenant, conditions::READY).is_some_and(|found| found.reason == "Sleeping")).await;
    deleted_and_left().await;
    stage.change(json!({"spec": {"controlPlane": {"deployment": {"replicas": 1}}}})).await;
    wait_for(&daemon_sets, "kube-proxy", SOON, |_: &DaemonSet| true).await.unwrap();

    stage.api::<TenantControlPlane>().delete("one", &kube::api::DeleteParams::default()).await.unwrap();
    wait_for_deletion(&stage.api::<TenantControlPlane>(), "one", None, SOON).await.unwrap();
    deleted_and_left().await;
    assert_eq!(stage.server.version(), tenant.version());
}

/// `admin.conf` has rights only once the other one has given them to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_that_the_annotation_names_is_used() {
    const KEY: &str = "kamaji.clastix.io/kubeconfig-secret-key";
    let stage = Stage::start(|spec| spec["addons"] = json!({"kubeProxy": {}})).await;
    stage.change(json!({"metadata": {"annotations": {KEY: "admin.conf"}}})).await;
    let tenant = stage.serve_tenant().await;
    let inside = tenant.client().unwrap();
    let refused = stage
        .reported(|tenant| {
            let found = condition(tenant, conditions::TENANT_CONFIGURED);
            found.is_some_and(|found| found.status == "False" && found.message.contains("\"kubernetes-admin\""))
        })
        .await;
    println!("{}", condition(&refused, conditions::TENANT_CONFIGURED).unwrap().message);
    assert!(versions(&inside).await.is_empty());

    stage.change(json!({"metadata": {"annotations": {KEY: null}}})).await;
    stage.configured().await;
    stage.change(json!({"metadata": {"annotations": {KEY: "admin.conf"}}})).await;
    settle(&stage.operator, &stage.client, &stage.namespace, &["one"]).await;
    let daemon_sets: Api<DaemonSet> = Api::namespaced(inside, "kube-system");
    daemon_sets.delete("kube-proxy", &kube::api::DeleteParams::default()).await.unwrap();
    wait_for(&daemon_sets, "kube-proxy", SOON, |_: &DaemonSet| true).await.unwrap();
    stage.configured().await;
}
