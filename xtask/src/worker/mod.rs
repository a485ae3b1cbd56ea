//! `cargo xtask worker`: real workers on this machine, for people and for the e2e tests alike.
//!
//! A worker is a process with network, mount and host name namespaces of its own: the machine. containerd and the
//! kubelet enter it, and kubeadm joins it, as on any other machine. Whatever it makes goes with its processes; its
//! files, its cgroup and its link are found again by its record.

mod kubeadm;
mod machine;
mod network;
mod pods;
mod record;
mod router;
mod runtime;
mod tenant;

use anyhow::{Context, Result, bail};

use crate::cluster::kubectl::{Kubectl, check_alive};
use crate::cluster::{admin_kubeconfig, daemon};
use crate::images::{self, Image};
use crate::progress::Progress;
use crate::{kubeconfig, layout, lock, packages, parts};
use record::Worker;
use tenant::Tenant;

/// What `worker` was asked for.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Makes a worker and joins it to a tenant with the real kubeadm; ends when its Node is Ready.
    Join {
        /// NAMESPACE/NAME of a TenantControlPlane.
        tenant: String,
        /// Kubernetes version of the worker. Default: the tenant's.
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
        /// Behind a router that lets only the worker's own connections through: the control plane cannot reach it.
        #[arg(long)]
        isolated: bool,
        /// Images that its pods will need besides the tenant's own: agnhost, metrics-server.
        #[arg(long, value_delimiter = ',', value_name = "PART,...")]
        with: Vec<String>,
    },
    /// Removes a tenant's workers and their Nodes.
    Remove {
        /// NAMESPACE/NAME of a TenantControlPlane, which may be gone.
        tenant: String,
        /// Only this Node.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
    },
    /// Lists the workers of all tenants.
    List,
}

/// Runs the verb.
pub fn run(verb: &Verb, progress: &Progress) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("workers need root: they make links, cgroups and mounts");
    }
    match verb {
        Verb::Join { tenant, version, isolated, with } => join(tenant, version.as_deref(), *isolated, with, progress),
        Verb::Remove { tenant, node } => remove(tenant, node.as_deref(), progress),
        Verb::List => {
            list();
            Ok(())
        }
    }
}

fn join(tenant: &str, version: Option<&str>, isolated: bool, with: &[String], progress: &Progress) -> Result<()> {
    let kubectl = management()?;
    let _cluster = lock::share()?;
    let tenant = Tenant::read(&kubectl, tenant)?;
    let version = version.map_or(tenant.version.as_str(), |version| version.trim_start_matches('v'));
    tenant.wait_configured(&kubectl)?;
    let own = Kubectl::new(kubeconfig::write_tenant(&tenant.reference(), &kubectl)?);
    let worker = prepare(&tenant, &own, version, isolated, with, progress)?;
    let _joining = worker.hold()?;

    let step = progress.step(format!("worker {}", worker.node()));
    step.note("machine");
    machine::start(&worker)?;
    network::connect(&worker)?;
    step.note("containerd");
    runtime::start(&worker)?;
    step.note("kubeadm join");
    let joined = kubeadm::join(&worker, &tenant, own.kubeconfig())
        .and_then(|()| pods::connect(&worker, &tenant, &own))
        .and_then(|()| {
            step.note("waiting for the Node to be Ready");
            kubeadm::wait_ready(&worker, &own)
        });
    joined.with_context(|| {
        format!(
            "worker {} is left as it is, for a look at {}; `cargo xtask worker remove {}` removes it",
            worker.node(),
            worker.place().logs.display(),
            tenant.reference()
        )
    })?;
    worker.mark_joined()?;
    step.done(&format!("Ready in tenant {}, v{version}", tenant.reference()));
    say_what_next(&worker, &tenant, &own);
    Ok(())
}

/// Parts, images and a number for the worker. One at a time: the cache and the numbers are shared.
fn prepare(
    tenant: &Tenant,
    own: &Kubectl,
    version: &str,
    isolated: bool,
    with: &[String],
    progress: &Progress,
) -> Result<Worker> {
    let _turn = lock::workers()?;
    packages::ensure_with(with, progress)?;
    let mut wanted = vec![format!("kubernetes@{version}"), format!("kubernetes@{}", tenant.version)];
    if tenant.konnectivity {
        wanted.push("konnectivity".into());
    }
    wanted.extend_from_slice(with);
    parts::ensure(&parts::select(&wanted)?, progress)?;
    images::pause::ensure()?;
    images::ensure(&wanted_images(tenant, with)?, progress)?;
    for abandoned in record::of(&tenant.reference()).into_iter().filter(Worker::is_abandoned) {
        // kubeadm refuses a name that has a Node which was ready a moment ago.
        kubeadm::forget_node(&abandoned, own)?;
        demolish(&abandoned)?;
    }
    if isolated {
        router::start()?;
    }
    Worker::allocate(tenant, version, isolated)
}

fn wanted_images(tenant: &Tenant, with: &[String]) -> Result<Vec<Image>> {
    let mut wanted = images::standard()?;
    wanted.push(images::kube_proxy(&tenant.version)?);
    if tenant.konnectivity {
        wanted.extend(images::konnectivity());
    }
    wanted.extend(images::named(with)?);
    Ok(wanted)
}

fn remove(tenant: &str, node: Option<&str>, progress: &Progress) -> Result<()> {
    let _cluster = lock::share()?;
    let _turn = lock::workers()?;
    let mut workers = record::of(tenant);
    workers.retain(|worker| node.is_none_or(|node| worker.node() == node));
    if workers.is_empty() {
        println!("tenant {tenant} has no such worker here");
        return Ok(());
    }
    let own = management().and_then(|kubectl| kubeconfig::write_tenant(tenant, &kubectl)).map(Kubectl::new);
    for worker in workers {
        let step = progress.step(format!("worker {}", worker.node()));
        step.note("Node");
        // A tenant that is gone, or asleep, has no Node to remove.
        let is_gone = own.as_ref().is_ok_and(|own| kubeadm::forget_node(&worker, own).is_ok());
        step.note("processes and files");
        demolish(&worker)?;
        step.done(if is_gone { "removed" } else { "removed; the tenant was not asked to forget its Node" });
    }
    Ok(())
}

/// Ends a worker's processes and removes what they leave. The router goes with the last that needs it.
fn demolish(worker: &Worker) -> Result<()> {
    worker.place().cgroup.remove()?;
    network::disconnect(worker);
    worker.forget()?;
    if worker.isolated && !record::all().iter().any(|worker| worker.isolated) {
        router::stop()?;
    }
    Ok(())
}

fn list() {
    for worker in record::all() {
        let state = match (worker.place().pid(machine::NAME), worker.is_joined()) {
            (None, _) => "stopped",
            (Some(_), false) => "not joined",
            (Some(_), true) => "joined",
        };
        println!(
            "{:24} {:12} v{:10} {:16} {state}",
            worker.tenant,
            worker.node(),
            worker.version,
            worker.addresses()[0]
        );
    }
}

fn management() -> Result<Kubectl> {
    let kubeconfig = admin_kubeconfig();
    if !kubeconfig.exists() {
        bail!("there is no local cluster; `cargo xtask up` starts one");
    }
    check_alive()?;
    if daemon::Place::node().pid("kube-apiserver").is_none() {
        bail!("the local cluster does not run; `cargo xtask up` starts it");
    }
    Ok(Kubectl::new(kubeconfig))
}

fn say_what_next(worker: &Worker, tenant: &Tenant, own: &Kubectl) {
    let (command, config) = (layout::kubectl().display().to_string(), own.kubeconfig().display().to_string());
    let pid = worker.place().pid(machine::NAME).unwrap_or_default();
    let (node, logs, reference) = (worker.node(), worker.place().logs.display().to_string(), tenant.reference());
    println!(
        "\nA worker has joined. Try next:\n\
         \n  {command} --kubeconfig {config} get nodes,pods --all-namespaces -o wide\
         \n  nsenter --target {pid} --net --mount --uts    # a shell on {node}; its logs are in {logs}\
         \n  cargo xtask worker remove {reference}"
    );
    if let Some(advice) = tenant.kube_proxy_advice() {
        println!("\n{advice}");
    }
}
