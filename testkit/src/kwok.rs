//! kwok: one simulated node whose pods become ready without a kubelet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};

use crate::api_server::{self, ApiServer};
use crate::parts;
use crate::process::{self, Launch, Process};
use crate::wait::{self, wait_for};

/// Name of the simulated node.
pub const NODE: &str = "kwok-0";

/// Annotation that keeps a pod Pending while it is there; any value will do.
pub const HOLD_ANNOTATION: &str = "testkit.kamaji.clastix.io/hold";

const STAGES: &str = include_str!("kwok_stages.yaml");
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// Why no node is simulated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// No client.
    #[error(transparent)]
    ApiServer(#[from] api_server::Error),
    /// The stages could not be written.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The node was not accepted.
    #[error("the test API server refused Node {NODE}")]
    Node(#[source] Box<kube::Error>),
    /// The node did not become ready. kwok's log is in the API server's folder.
    #[error("kwok does not simulate its node: {source}. Its log ends with:\n{tail}")]
    NotReady {
        /// What was waited for.
        #[source]
        source: wait::Error,
        /// Last lines of kwok's log.
        tail: String,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Process(error) => error.category(),
            Self::ApiServer(error) => error.category(),
            Self::Write { .. } => "write",
            Self::Node(_) => "node",
            Self::NotReady { .. } => "not_ready",
        }
    }
}

/// A running kwok; ends when dropped.
#[derive(Debug)]
pub struct Kwok {
    process: Process,
}

impl Kwok {
    /// Starts kwok, adds [`NODE`], returns when it is Ready and takes pods.
    ///
    /// Needs a [`crate::controller_manager::ControllerManager`] that runs or starts beside it: it alone takes away the
    /// taint that every new node has, and creates the ServiceAccounts without which no pod is admitted.
    #[expect(clippy::disallowed_methods, reason = "a simulated kubelet registers its node; no operator writes here")]
    pub async fn start(server: &ApiServer) -> Result<Self, Error> {
        let stages = server.folder().join("kwok-stages.yaml");
        std::fs::write(&stages, STAGES).map_err(|source| Error::Write { path: stages.clone(), source })?;
        let process = Process::start(&Launch {
            name: "kwok".to_owned(),
            program: parts::kwok(),
            args: vec![
                format!("--kubeconfig={}", server.kubeconfig_path().display()),
                format!("--config={}", stages.display()),
                "--manage-all-nodes=true".to_owned(),
                "--node-ip=192.0.2.1".to_owned(),
                "--cidr=10.244.0.0/16".to_owned(),
                "--node-lease-duration-seconds=40".to_owned(),
            ],
            env: Vec::new(),
            log: server.folder().join("kwok.log"),
        })?;
        let api: Api<Node> = Api::all(server.client()?);
        api.patch(NODE, &PatchParams::apply("kamaji-testkit").force(), &Patch::Apply(node()))
            .await
            .map_err(|error| Error::Node(Box::new(error)))?;
        wait_for(&api, NODE, READY_TIMEOUT, is_ready)
            .await
            .map_err(|source| Error::NotReady { source, tail: process.tail() })?;
        Ok(Self { process })
    }

    /// Its process, to pause or resume it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn node() -> Node {
    let labels = [("kubernetes.io/hostname", NODE), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Node {
        metadata: ObjectMeta { name: Some(NODE.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Node::default()
    }
}

/// Ready, and free of the taint that a node has until the controller manager has seen it ready.
fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && node.spec.iter().all(|spec| spec.taints.iter().flatten().next().is_none())
}
