//! From the Lease to a process of this machine.

use std::fs;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kamaji_api::contract;
use kube::{Api, Client};

/// Who leads.
#[derive(Debug, Clone)]
pub struct Leader {
    /// Name of the pod, if it is one.
    pub pod: Option<String>,
    /// As the Lease names it.
    pub holder: String,
    /// Process id on this machine.
    pub pid: u32,
    /// Image of the container.
    pub image: String,
}

/// Reads the Lease, then its holder's pod, then finds the container's process.
pub async fn leader(client: &Client, namespace: &str) -> Result<Leader> {
    let name = contract::LEASE_MANAGER;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases.get_opt(name).await.with_context(|| format!("Lease {namespace}/{name} cannot be read"))?;
    let Some(lease) = lease else {
        bail!("there is no Lease {namespace}/{name}: is the operator installed there? See --operator-namespace");
    };
    let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
    let holder = holder.with_context(|| format!("nobody holds Lease {namespace}/{name}"))?;
    // `<host name>_<unique part>`, and the host name of a pod is its name.
    let pod_name = holder.rsplit_once('_').map_or(holder.as_str(), |(pod, _)| pod).to_owned();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = pods.get_opt(&pod_name).await.with_context(|| format!("Pod {namespace}/{pod_name} cannot be read"))?;
    let Some(pod) = pod else { bail!("Lease {namespace}/{name} names {holder}, but there is no Pod {pod_name}") };
    let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let Some(container) = containers.into_iter().next() else { bail!("Pod {namespace}/{pod_name} runs no container") };
    let id = container.container_id.unwrap_or_default();
    let id = id.rsplit_once("://").map(|(_, id)| id).filter(|id| !id.is_empty());
    let id = id.with_context(|| format!("Pod {namespace}/{pod_name} runs no container yet"))?;
    let pid = process_in_container(id).with_context(|| {
        format!("Pod {namespace}/{pod_name} has no process on this machine: the bench measures a local cluster")
    })?;
    Ok(Leader { pod: Some(pod_name), holder, pid, image: container.image })
}

/// The first process whose cgroup is named after the container.
fn process_in_container(id: &str) -> Option<u32> {
    let mut found: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(id)))
        .collect();
    found.sort_unstable();
    found.first().copied()
}
