//! The operator as a process, against real parts.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod settle;
pub mod stage;
pub mod witness;

use std::{process::ExitStatus, time::Duration};

use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_testkit::{
    api_server::ApiServer,
    etcd::{self, Etcd},
    http_get::Target,
    parts, ports,
    process::{Launch, Process},
    wait::wait_for,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

/// Long enough for a slow machine, short enough to notice a stall.
pub const SOON: Duration = Duration::from_mins(1);

/// A running `kamaji manager`; ended on drop.
pub struct Operator {
    pub process: Option<Process>,
    launch: Launch,
    health: u16,
    metrics: u16,
}

impl Operator {
    /// Starts it against `server`, with the given extra flags.
    pub fn start(server: &ApiServer, extra: &[&str]) -> Self {
        Self::start_through(server, server.port(), extra)
    }

    /// As [`Operator::start`], as one of several replicas.
    pub fn start_electing(server: &ApiServer, extra: &[&str]) -> Self {
        Self::launch(server, server.port(), &[&["--leader-elect"], extra].concat())
    }

    /// As [`Operator::start`], reaching the server by this port of 127.0.0.1, for example a proxy's.
    pub fn start_through(server: &ApiServer, port: u16, extra: &[&str]) -> Self {
        Self::launch(server, port, &[&["--leader-elect=false"], extra].concat())
    }

    fn launch(server: &ApiServer, port: u16, extra: &[&str]) -> Self {
        // Its log outlives the test: whoever looks into a failure wants it.
        let logs = parts::operator_logs();
        std::fs::create_dir_all(&logs).unwrap();
        let folder = tempfile::Builder::new().prefix(env!("CARGO_CRATE_NAME")).tempdir_in(logs).unwrap().keep();
        let kubeconfig = folder.join("kubeconfig");
        server.write_kubeconfig("kamaji", &["system:masters"], port, &kubeconfig).unwrap();
        let (metrics, health) = (ports::free().unwrap(), ports::free().unwrap());
        let mut args = vec![
            "manager".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
            "--pod-namespace=default".to_owned(),
            "--serviceaccount-name=default".to_owned(),
        ];
        args.extend(extra.iter().map(|&flag| flag.to_owned()));
        let launch = Launch {
            name: "kamaji".to_owned(),
            program: parts::operator(env!("CARGO_BIN_EXE_kamaji")),
            args,
            env: Vec::new(),
            log: folder.join("kamaji.log"),
        };
        let mut operator = Self { process: None, launch, health, metrics };
        operator.resume();
        operator
    }

    /// Starts the same process again.
    pub fn resume(&mut self) {
        self.process = Some(Process::start(&self.launch).unwrap());
    }

    /// Kills it without a chance to tidy up.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to end, and returns at once.
    pub fn terminate(&self) {
        self.process.as_ref().unwrap().terminate().unwrap();
    }

    /// How it ended; nothing while it runs on for `within`.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let process = self.process.as_mut().unwrap();
        let ended = async {
            loop {
                if let Some(status) = process.exited().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(within, ended).await.ok()
    }

    /// Port of 127.0.0.1 that its metrics are served on.
    pub fn metrics_port(&self) -> u16 {
        self.metrics
    }

    /// What `/readyz` answers: the status code.
    pub async fn readyz(&self) -> Option<u16> {
        Target::http("127.0.0.1", self.health, "/readyz").get().await.ok()
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }
}

/// A secure etcd and a DataStore for it.
pub async fn data_store(client: &Client, name: &str) -> Etcd {
    let etcd = Etcd::start(etcd::Options::secure()).await.unwrap();
    let object: DataStore = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "DataStore",
        "metadata": {"name": name},
        "spec": etcd.data_store_spec().unwrap(),
    }))
    .unwrap();
    Api::<DataStore>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
    etcd
}

/// The JSON of a small tenant; `change` may edit its specification.
pub fn tenant(namespace: &str, name: &str, data_store: &str, change: impl FnOnce(&mut Value)) -> TenantControlPlane {
    let mut spec = json!({
        "dataStore": data_store,
        "controlPlane": {"deployment": {"replicas": 1}, "service": {"serviceType": "ClusterIP"}},
        // Eleven RSA keys take as long as all else that a tenant needs from the operator.
        "kubernetes": {"version": "v1.36.3", "kubelet": {}, "encryptionAlgorithm": "ECDSA-P256"},
        "networkProfile": {"port": 6443},
    });
    change(&mut spec);
    serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
    .unwrap()
}

/// Creates a tenant.
pub async fn create(client: &Client, tenant: &TenantControlPlane) {
    let namespace = tenant.metadata.namespace.clone().unwrap();
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), tenant).await.unwrap();
}

/// Waits until the tenant reports a phase.
pub async fn phase(client: &Client, namespace: &str, name: &str, wanted: &str) -> TenantControlPlane {
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), namespace);
    wait_for(&api, name, SOON, |tenant: &TenantControlPlane| {
        let status = tenant.status.clone().unwrap_or_default();
        status.kubernetes_resources.version.status.is_some_and(|phase| phase.as_str() == wanted)
    })
    .await
    .unwrap()
}
