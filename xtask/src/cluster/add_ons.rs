//! What a cloud or a distribution would bring: load balancer addresses, volumes, a registry, cluster DNS.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::daemon::Daemon;
use super::kubectl::Kubectl;
use super::{DNS_IP, LOAD_BALANCER_CIDRS, REGISTRY, admin_kubeconfig, node, pki, state};
use crate::{images, layout};

const COREDNS: &str = include_str!("../../manifests/coredns.yaml");
const STORAGE_CLASS: &str = include_str!("../../manifests/storage-class.yaml");
const ROLES: &str = include_str!("../../manifests/roles.yaml");

/// Starts the add-ons process from `binary`. It runs from a copy, so that a rebuild does not disturb it.
pub fn start(binary: &Path) -> Result<()> {
    let copy = state("bin/local-cluster-addons");
    let new = fs::read(binary).with_context(|| format!("{} is not built", binary.display()))?;
    if fs::read(&copy).ok().as_ref() != Some(&new) {
        fs::create_dir_all(state("bin"))?;
        // The running copy's file cannot be written, but its name can be given to another.
        let fresh = copy.with_extension("new");
        fs::copy(binary, &fresh)?;
        fs::rename(&fresh, &copy)?;
    }
    let volumes = state("volumes").display().to_string();
    Daemon::new("add-ons", copy)
        .flags(&[
            ("kubeconfig", admin_kubeconfig().display().to_string().as_str()),
            ("images", &images::dir().display().to_string()),
            ("registry", REGISTRY),
            ("volumes", &volumes),
            ("load-balancer-cidrs", &LOAD_BALANCER_CIDRS.join(",")),
        ])
        .ensure()?;
    Ok(())
}

/// Applies what the API server holds of the add-ons.
pub fn apply(kubectl: &Kubectl) -> Result<()> {
    let forward = if node::has_upstream_dns() { "forward . /etc/resolv.conf" } else { "" };
    let coredns =
        COREDNS.replace("$VERSION", layout::COREDNS_VERSION).replace("$DNS_IP", DNS_IP).replace("$FORWARD", forward);
    // The administrator is one only by the first of these.
    let super_admin = Kubectl::new(pki::kubeconfig("super-admin.conf").into());
    super_admin.apply("granting the administrator's role", ROLES)?;
    kubectl.apply("applying the cluster's add-ons", &format!("{STORAGE_CLASS}\n---\n{coredns}"))
}

/// Waits until the node is ready and cluster names resolve.
pub fn wait(kubectl: &Kubectl) -> Result<()> {
    kubectl.wait("waiting for the node", &[&format!("node/{}", super::NODE)], "condition=Ready", 120)?;
    let dns = ["--namespace=kube-system", "deployment/coredns"];
    kubectl.wait("waiting for CoreDNS", &dns, "condition=Available", 120)
}
