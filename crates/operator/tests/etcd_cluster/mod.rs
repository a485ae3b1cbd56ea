//! The controller of EtcdClusters inside the test, so that its writes can be counted.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod kubelet;

use std::{sync::Arc, time::Duration};

use clap::Parser;
use kamaji_api::{EtcdCluster, conditions};
use kamaji_operator::{
    cli::manager::ManagerArgs,
    controller::{
        context::Context,
        etcd_cluster::{self, Addresses},
    },
    process::{Process, leader::Leadership, progress::Progress, shutdown::Shutdown},
    telemetry::metrics::Metrics,
};
use kamaji_testkit::wait::wait_for;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

/// Long enough for a slow machine, short enough to notice a stall.
pub const SOON: Duration = Duration::from_mins(1);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    manager: ManagerArgs,
}

/// A running controller; ended by [`Controller::stop`], or with the runtime.
pub struct Controller {
    pub context: Arc<Context>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Controller {
    /// Starts it for EtcdClusters whose objects go to `namespace`.
    pub fn start(client: &Client, namespace: &str, addresses: Option<Addresses>) -> Self {
        let namespace = format!("--pod-namespace={namespace}");
        let flags = Flags::try_parse_from(["test", &namespace, "--serviceaccount-name=kamaji"]).unwrap();
        let process = Process {
            options: Arc::new(flags.manager.validate().unwrap()),
            client: client.clone(),
            leadership: Leadership::always(),
            progress: Progress::new(),
            metrics: Metrics::new(),
            shutdown: Shutdown::new(),
        };
        let context = Arc::new(Context::new(process));
        let running = Arc::clone(&context);
        let task = tokio::spawn(async move {
            match addresses {
                Some(addresses) => etcd_cluster::run_with(running, addresses).await,
                None => etcd_cluster::run(running).await,
            }
        });
        Self { context, task }
    }

    /// Write requests so far.
    pub fn writes(&self) -> u64 {
        self.context.applier.writes().total()
    }

    /// Returns when no write was sent for a while, which is longer than any pause between the passes that follow a
    /// change.
    pub async fn rest(&self) -> u64 {
        tokio::time::timeout(SOON, async {
            loop {
                let before = self.writes();
                tokio::time::sleep(Duration::from_secs(4)).await;
                if self.writes() == before {
                    return before;
                }
            }
        })
        .await
        .expect("the controller does not come to rest")
    }

    /// Ends it as a shutdown does.
    pub async fn stop(self) {
        self.context.process.shutdown.request();
        tokio::time::timeout(SOON, self.task).await.expect("the controller drains").unwrap().unwrap();
    }
}

/// Creates an EtcdCluster.
pub async fn create(client: &Client, name: &str, spec: &Value) -> EtcdCluster {
    let object = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "EtcdCluster", "metadata": {"name": name}, "spec": spec,
    });
    let object: EtcdCluster = serde_json::from_value(object).unwrap();
    clusters(client).create(&PostParams::default(), &object).await.unwrap()
}

/// All EtcdClusters.
pub fn clusters(client: &Client) -> Api<EtcdCluster> {
    Api::all(client.clone())
}

/// Waits until a condition of the cluster has this status and reason.
pub async fn condition(client: &Client, name: &str, type_: &str, status: &str, reason: &str) -> EtcdCluster {
    let holds = |cluster: &EtcdCluster| {
        let list = cluster.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions::find(&list, type_).is_some_and(|found| found.status == status && found.reason == reason)
    };
    wait_for(&clusters(client), name, SOON, holds).await.unwrap()
}
