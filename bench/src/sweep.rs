//! Leaves nothing behind: neither this run nor one that was killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kamaji_api::TenantControlPlane;
use kube::{Api, Client};
use serde_json::json;

use crate::etcd::Etcd;
use crate::kubectl::Kubectl;
use crate::seen::Seen;
use crate::tenant::{self, NAMESPACE};
use crate::{copies, inventory::Inventory, inventory::Kinds};

/// On the namespace: the process that uses it.
const PROCESS: &str = "bench.kamaji.clastix.io/process";
/// How long the garbage collector and the namespace's controller may take.
const EMPTY: Duration = Duration::from_mins(2);
/// How long all tenants may take to go.
const GONE: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(250);

/// Makes the namespace, after sweeping away what an interrupted run left.
///
/// # Errors
/// When another run is under way.
pub async fn begin(client: &Client, kubectl: &Kubectl, etcd: &mut Etcd) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    if let Some(old) = api.get_opt(NAMESPACE).await.context("namespaces cannot be read")? {
        let process = old.metadata.annotations.unwrap_or_default().remove(PROCESS).unwrap_or_default();
        if process != std::process::id().to_string() && is_bench(&process) {
            bail!("process {process} runs the benchmark already; wait for it, or end it with SIGINT");
        }
        eprintln!("sweeping away what an interrupted run left");
        end(client, kubectl, etcd).await?;
    }
    etcd.sweep().await?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "annotations": {PROCESS: std::process::id().to_string()}},
    });
    kubectl.apply("creating the namespace", &[namespace]).await.map(drop)
}

/// Whether such a process runs: one that has ended but is not yet reaped has no program any more.
fn is_bench(process: &str) -> bool {
    let program = std::fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
    // A program that was built anew meanwhile is called `kamaji-bench (deleted)`.
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kamaji-bench"))
}

/// Deletes the tenants through the operator, the copies, the namespace, and the accounts and keys in the datastore.
///
/// # Errors
/// When something does not go away; the sentence names it.
pub async fn end(client: &Client, kubectl: &Kubectl, etcd: &mut Etcd) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    if api.get_opt(NAMESPACE).await.context("namespaces cannot be read")?.is_some() {
        let tenants: Api<TenantControlPlane> = Api::namespaced(client.clone(), NAMESPACE);
        let mut seen = Seen::start(tenants, tenant::is_ready).await?;
        let namespace = format!("--namespace={NAMESPACE}");
        let all = ["delete", "tenantcontrolplanes", "--all", "--wait=false", &namespace];
        kubectl.run("deleting the tenants", &all, None).await?;
        let (left, is_gone) = seen.until(GONE, |marks| marks.values().all(|one| one.gone.is_some())).await;
        if !is_gone {
            let left: Vec<&String> = left.iter().filter(|(_, one)| one.gone.is_none()).map(|(name, _)| name).collect();
            bail!(
                "tenants {left:?} in namespace {NAMESPACE} are not gone after {} s; is the operator up?",
                GONE.as_secs()
            );
        }
        copies::remove(client, kubectl).await?;
        let limit = format!("--timeout={}s", EMPTY.as_secs());
        let arguments = ["delete", "namespace", NAMESPACE, "--wait=true", &limit];
        kubectl.run("deleting the namespace", &arguments, None).await?;
    }
    etcd.sweep().await
}

/// Waits until the namespace is empty; gives what is left after two minutes.
pub async fn until_empty(client: &Client, kinds: &Kinds) -> Result<Inventory> {
    let deadline = Instant::now() + EMPTY;
    loop {
        let left = kinds.in_namespace(client, NAMESPACE).await?;
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left);
        }
        tokio::time::sleep(POLL).await;
    }
}
