//! One user story: a namespace, and what happens to it at the end.

use std::{future::Future, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kamaji_testkit::dump::dump_namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};

/// Kubeconfig of the local cluster, unless `$KUBECONFIG` names another.
const LOCAL: &str = "/var/lib/kamaji-local/kubeconfigs/admin.conf";

/// A running story.
#[derive(Clone)]
pub struct Story {
    /// Client of the management cluster.
    pub client: Client,
    /// The story's namespace.
    pub namespace: String,
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
        // A second provider in the tree would make the choice ambiguous; the first installation counts.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = client().await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some(format!("e2e-{name}-"));
        #[expect(clippy::disallowed_methods, reason = "a test makes its own namespace")]
        let created =
            namespaces.create(&PostParams::default(), &namespace).await.context("no namespace for the story")?;
        let namespace = created.metadata.name.context("a namespace without a name")?;
        let told = story(Self { client: client.clone(), namespace: namespace.clone() }).await;
        if told.is_err() {
            let folder = dump_folder().join(&namespace);
            match dump_namespace(&client, &namespace, &folder).await {
                Ok(()) => eprintln!("the namespace {namespace} is dumped to {}", folder.display()),
                Err(error) => eprintln!("the namespace {namespace} could not be dumped: {error}"),
            }
        }
        if std::env::var_os("KAMAJI_E2E_KEEP").is_none() {
            #[expect(clippy::disallowed_methods, reason = "a test removes its own namespace")]
            let deleted = namespaces.delete(&namespace, &DeleteParams::background()).await;
            deleted.context("the story's namespace could not be deleted")?;
        }
        told
    }
}

/// Where what a failed story leaves for a look is put: `$KAMAJI_E2E_DUMP`.
pub fn dump_folder() -> PathBuf {
    std::env::var_os("KAMAJI_E2E_DUMP").map_or_else(|| std::env::temp_dir().join("kamaji-e2e"), PathBuf::from)
}

async fn client() -> Result<Client> {
    let path = std::env::var_os("KUBECONFIG").map_or_else(|| PathBuf::from(LOCAL), PathBuf::from);
    let kubeconfig = Kubeconfig::read_from(&path)
        .with_context(|| format!("{} cannot be read; `cargo xtask up` starts a cluster", path.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A watch is quiet for as long as nothing happens.
    config.read_timeout = Some(Duration::from_secs(320));
    Ok(Client::try_from(config)?)
}
