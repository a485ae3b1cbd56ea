//! One user story: a namespace, and what happens to it at the end.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kamaji_testkit::dump::dump_namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};

/// Kubeconfig of the local cluster. Stories are told there, unless `$KUBECONFIG` names another.
pub const LOCAL: &str = "/var/lib/kamaji-local/kubeconfigs/admin.conf";

use crate::{etcd, server::Server, tenant};

/// The node's address on its bridge: pods reach what listens there.
pub const NODE: &str = "10.77.0.1";

/// A running story.
#[derive(Clone)]
pub struct Story {
    /// Client of the management cluster.
    pub client: Client,
    /// The story's namespace.
    pub namespace: String,
    servers: Arc<Mutex<Vec<Arc<Server>>>>,
}

impl Story {
    /// Tells a story in a fresh namespace. When it fails, the namespace is dumped and named; it is deleted either way,
    /// unless `$KAMAJI_E2E_KEEP` is set.
    ///
    /// # Errors
    /// Whatever the story returns.
    pub async fn tell<F, T>(name: &str, story: F) -> Result<()>
    where
        F: FnOnce(Self) -> T,
        T: Future<Output = Result<()>>,
    {
        let kubeconfig = std::env::var_os("KUBECONFIG").map_or_else(|| PathBuf::from(LOCAL), PathBuf::from);
        Self::tell_on(&kubeconfig, name, story).await
    }

    /// As [`Story::tell`], on the cluster of this kubeconfig.
    ///
    /// # Errors
    /// As [`Story::tell`].
    pub async fn tell_on<F, T>(kubeconfig: &Path, name: &str, story: F) -> Result<()>
    where
        F: FnOnce(Self) -> T,
        T: Future<Output = Result<()>>,
    {
        // A second provider in the tree would make the choice ambiguous; the first installation counts.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = client(kubeconfig).await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some(format!("e2e-{name}-"));
        #[expect(clippy::disallowed_methods, reason = "a test makes its own namespace")]
        let created =
            namespaces.create(&PostParams::default(), &namespace).await.context("no namespace for the story")?;
        let namespace = created.metadata.name.context("a namespace without a name")?;
        let running = Self { client: client.clone(), namespace: namespace.clone(), servers: Arc::default() };
        // A story is a large future, and so would be whatever tells it.
        let told = Box::pin(story(running.clone())).await;
        if told.is_err() {
            let folder = dump_folder().join(&namespace);
            dump(&client, &namespace, &folder).await;
            dump(&client, etcd::NAMESPACE, &folder.join(etcd::NAMESPACE)).await;
            name_pressures(&client).await;
        }
        if std::env::var_os("KAMAJI_E2E_KEEP").is_none() {
            if told.is_err() {
                running.leave_servers().await;
            }
            #[expect(clippy::disallowed_methods, reason = "a test removes its own namespace")]
            let deleted = namespaces.delete(&namespace, &DeleteParams::background()).await;
            deleted.context("the story's namespace could not be deleted")?;
        }
        for server in running.servers() {
            // What is killed may leave something of itself on the machine.
            let _ = server.stop().await;
        }
        told
    }

    /// Keeps a server running until the story is over, and what is left of its tenants on it gone.
    pub(crate) fn keep(&self, server: Arc<Server>) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the tenants of a story that has failed away from its servers: without them they could not be deleted.
    async fn leave_servers(&self) {
        let servers = self.servers();
        for server in &servers {
            if let Err(error) = server.wake().await {
                eprintln!("a server of {} does not come back: {error:#}", self.namespace);
            }
        }
        if !servers.is_empty()
            && let Err(error) = tenant::remove_all(self).await
        {
            eprintln!("tenants of {} are left: {error:#}", self.namespace);
        }
    }
}

/// Where what a failed story leaves for a look is put: `$KAMAJI_E2E_DUMP`.
pub fn dump_folder() -> PathBuf {
    std::env::var_os("KAMAJI_E2E_DUMP").map_or_else(|| std::env::temp_dir().join("kamaji-e2e"), PathBuf::from)
}

async fn dump(client: &Client, namespace: &str, folder: &Path) {
    match dump_namespace(client, namespace, folder).await {
        Ok(()) => eprintln!("the namespace {namespace} is dumped to {}", folder.display()),
        Err(error) => eprintln!("the namespace {namespace} could not be dumped: {error}"),
    }
}

/// Says which nodes lack something: a machine whose disk is full evicts the operator, and every story fails for that.
async fn name_pressures(client: &Client) {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    for node in nodes.into_iter().flatten() {
        let name = node.metadata.name.unwrap_or_default();
        for condition in node.status.and_then(|status| status.conditions).unwrap_or_default() {
            if condition.type_ != "Ready" && condition.status == "True" {
                let said = condition.message.unwrap_or_default();
                eprintln!("node {name} has {}: {said}", condition.type_);
            }
        }
    }
}

async fn client(path: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(path)
        .with_context(|| format!("{} cannot be read; `cargo xtask up` starts a cluster", path.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A watch is quiet for as long as nothing happens.
    config.read_timeout = Some(Duration::from_secs(320));
    Ok(Client::try_from(config)?)
}
