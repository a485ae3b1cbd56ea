//! A tenant's API server, and a session with it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::{TenantControlPlane, contract};
use kamaji_operator::{
    process::leader::Leadership,
    tenant::{Credentials, Endpoint, Planner, Rollout, Sessions, Timing, Wish},
};
use kamaji_plan::{
    status::tenant::{TenantReport, TenantState},
    tenant_cluster::TenantCluster,
};
use kamaji_testkit::api_server::ApiServer;
use kube::{Client, runtime::reflector::ObjectRef};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

/// Long enough for a slow machine.
pub const SOON: Duration = Duration::from_mins(1);

/// UID of the tenant.
pub const UID: &str = "11111111-2222-3333-4444-555555555555";

/// Quick, so that a test sees in seconds what takes minutes.
pub const TIMING: Timing = Timing { grace: Duration::from_secs(1), patience: Duration::from_millis(200) };

/// The operator's side: its sessions, and what they report.
pub struct Side {
    pub sessions: Sessions,
    woken: UnboundedReceiver<ObjectRef<TenantControlPlane>>,
}

impl Side {
    pub fn new() -> Self {
        let (wake, woken) = unbounded_channel();
        Self { sessions: Sessions::new(Arc::new(Leadership::always()), TIMING, wake), woken }
    }

    /// An operator with a session for this wish.
    pub fn keeping(wish: &Wish) -> Self {
        let side = Self::new();
        side.keep(wish);
        side
    }

    pub fn keep(&self, wish: &Wish) {
        self.keep_as(UID, wish);
    }

    /// As [`Side::keep`], as one of several tenants.
    pub fn keep_as(&self, uid: &str, wish: &Wish) {
        self.sessions.keep(uid, ObjectRef::new(uid).within("tenants"), wish.clone());
    }

    /// Waits for a report.
    pub async fn reports(&mut self, wanted: impl Fn(&TenantReport) -> bool) -> TenantReport {
        self.reports_as(UID, wanted).await
    }

    /// As [`Side::reports`], of one of several tenants.
    pub async fn reports_as(&mut self, uid: &str, wanted: impl Fn(&TenantReport) -> bool) -> TenantReport {
        let began = Instant::now();
        loop {
            let report = self.sessions.report(uid).unwrap();
            if wanted(&report) {
                return report;
            }
            let left = SOON.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("the last report is {report:?}"));
            tokio::time::timeout(left, self.woken.recv()).await.ok();
        }
    }

    /// Waits until everything is in place for a wish.
    pub async fn settled(&mut self, wish: &Wish) -> TenantReport {
        self.reports(|report| report.state == TenantState::Settled && report.generation == wish.generation).await
    }

    pub fn writes(&self) -> u64 {
        (self.sessions.writes())().total()
    }
}

/// What is wished of `server`: this plan, by the server's own administrator.
pub fn wish(server: &ApiServer, address: SocketAddr, plan: impl Fn() -> TenantCluster + Send + Sync + 'static) -> Wish {
    let plan: Planner = Arc::new(plan);
    Wish {
        generation: Some(1),
        plan,
        endpoint: Endpoint { address, server_name: "localhost".to_owned() },
        credentials: credentials(server, &server.authority().certificate(), "kubernetes-super-admin"),
        rollout: Rollout { generation: 1, ready: 1, updated: 1 },
    }
}

/// Where a server listens.
pub fn address(server: &ApiServer) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], server.port()))
}

/// Trusts `authority`, and shows a certificate of `user`.
pub fn credentials(server: &ApiServer, authority: &str, user: &str) -> Credentials {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    server.write_kubeconfig(user, &["system:masters"], server.port(), &path).unwrap();
    Credentials {
        authority: secret("one-ca", contract::keys::CA_CERT, authority.as_bytes()),
        kubeconfigs: secret("one-admin-kubeconfig", contract::keys::SUPER_ADMIN_CONF, &std::fs::read(path).unwrap()),
        key: contract::keys::SUPER_ADMIN_CONF.to_owned(),
    }
}

fn secret(name: &str, key: &str, value: &[u8]) -> Arc<Secret> {
    let mut secret =
        Secret { data: Some(BTreeMap::from([(key.to_owned(), ByteString(value.to_vec()))])), ..Secret::default() };
    secret.metadata.name = Some(name.to_owned());
    Arc::new(secret)
}

/// One object of each kind, as small as the API allows.
pub fn one_of_each() -> TenantCluster {
    let mut cluster = TenantCluster::default();
    let selector = json!({"matchLabels": {"k8s-app": "addon"}});
    let template = json!({
        "metadata": {"labels": {"k8s-app": "addon"}},
        "spec": {"containers": [{"name": "addon", "image": "registry.example/addon:v1"}]},
    });
    let subjects = json!([{"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}]);
    let role = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    cluster.config_maps.push(object("kube-system", "addon", json!({"data": {"key": "value"}})));
    cluster.config_maps.push(object("kube-public", "cluster-info", json!({"data": {"kubeconfig": "text"}})));
    cluster.service_accounts.push(object("kube-system", "addon", json!({})));
    cluster.roles.push(object("kube-system", "addon", json!({"rules": rules})));
    cluster.role_bindings.push(object(
        "kube-system",
        "addon",
        json!({"roleRef": role("Role", "addon"), "subjects": subjects}),
    ));
    cluster.cluster_roles.push(object("", "addon", json!({"rules": rules})));
    cluster.cluster_role_bindings.push(object(
        "",
        "addon",
        json!({"roleRef": role("ClusterRole", "addon"), "subjects": subjects}),
    ));
    cluster.created_once.push(object(
        "",
        "admins",
        json!({"roleRef": role("ClusterRole", "cluster-admin"), "subjects": subjects}),
    ));
    cluster.services.push(object(
        "kube-system",
        "addon",
        json!({"spec": {"selector": {"k8s-app": "addon"}, "clusterIP": "10.96.0.10", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}}),
    ));
    cluster.deployments.push(object(
        "kube-system",
        "coredns",
        json!({"spec": {"replicas": 2, "selector": selector, "template": template}}),
    ));
    cluster.daemon_sets.push(object(
        "kube-system",
        "kube-proxy",
        json!({"spec": {"selector": selector, "template": template}}),
    ));
    cluster
}

/// An object with our label.
pub fn object<K: serde::de::DeserializeOwned>(namespace: &str, name: &str, mut body: Value) -> K {
    let mut metadata = json!({"name": name, "labels": {"kamaji.clastix.io/project": "kamaji"}});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    body["metadata"] = metadata;
    serde_json::from_value(body).unwrap()
}

/// Passes connections on, and counts them.
pub struct Counter {
    pub address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Counter {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { address, count }
    }

    pub fn connections(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// Resource versions of everything with our label, by kind, namespace and name.
pub async fn versions(client: &Client) -> BTreeMap<String, String> {
    use k8s_openapi::api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    };
    let mut all = BTreeMap::new();
    collect::<ConfigMap>(client, &mut all).await;
    collect::<ServiceAccount>(client, &mut all).await;
    collect::<Role>(client, &mut all).await;
    collect::<RoleBinding>(client, &mut all).await;
    collect::<ClusterRole>(client, &mut all).await;
    collect::<ClusterRoleBinding>(client, &mut all).await;
    collect::<Service>(client, &mut all).await;
    collect::<Deployment>(client, &mut all).await;
    collect::<DaemonSet>(client, &mut all).await;
    all
}

async fn collect<K>(client: &Client, all: &mut BTreeMap<String, String>)
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    use kube::ResourceExt as _;
    let ours = kube::api::ListParams::default().labels("kamaji.clastix.io/project=kamaji");
    for found in kube::Api::<K>::all(client.clone()).list(&ours).await.unwrap() {
        let name = format!("{}/{}/{}", K::kind(&()), found.namespace().unwrap_or_default(), found.name_any());
        all.insert(name, found.resource_version().unwrap());
    }
}
