//! Keys, certificates and kubeconfigs of the management cluster, by kubeadm's own phases.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{NODE, NODE_IPS, POD_CIDRS, SERVICE_CIDRS, admin_kubeconfig, log_dir, state};
use crate::{command, layout};

/// A file of the PKI.
pub fn file(name: &str) -> String {
    state("pki").join(name).display().to_string()
}

/// A kubeconfig, by kubeadm's file name.
pub fn kubeconfig(name: &str) -> String {
    state("kubeconfigs").join(name).display().to_string()
}

/// Makes what is missing. Existing keys and certificates are kept.
pub fn create() -> Result<()> {
    let config = state("kubeadm.yaml");
    fs::write(&config, cluster_configuration()).with_context(|| format!("cannot write {}", config.display()))?;
    let proxy = PathBuf::from(kubeconfig("kube-proxy.conf"));
    if proxy.exists() && admin_kubeconfig().exists() {
        return Ok(());
    }
    let kubeadm = || Command::new(layout::kubernetes(layout::KUBERNETES_VERSION, "kubeadm"));
    let log = log_dir().join("kubeadm.log");
    let config = config.display().to_string();
    let phases: [&[&str]; 2] =
        [&["certs", "all"], &["kubeconfig", "all", "--kubeconfig-dir", &state("kubeconfigs").display().to_string()]];
    for phase in phases {
        let mut run = kubeadm();
        run.args(["init", "phase"]).args(phase).args(["--config", &config]);
        command::logged("creating the cluster's certificates", &mut run, &log, |_| {})?;
    }
    let mut run = kubeadm();
    run.args(["kubeconfig", "user", "--client-name", "system:kube-proxy", "--config", &config]);
    let text = command::output("creating kube-proxy's kubeconfig", &mut run)?;
    fs::write(&proxy, text)?;
    restrict(&proxy)
}

fn restrict(file: &PathBuf) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}

fn cluster_configuration() -> String {
    let [v4, v6] = NODE_IPS;
    let (services, pods) = (SERVICE_CIDRS.join(","), POD_CIDRS.join(","));
    let (version, pki) = (layout::KUBERNETES_VERSION, state("pki").display().to_string());
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {v4}, bindPort: 6443}}
nodeRegistration: {{name: {NODE}, criSocket: 'unix:///run/kamaji-local/containerd.sock'}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: {NODE}
kubernetesVersion: v{version}
certificatesDir: {pki}
controlPlaneEndpoint: {v4}:6443
encryptionAlgorithm: ECDSA-P256
networking: {{serviceSubnet: '{services}', podSubnet: '{pods}', dnsDomain: cluster.local}}
apiServer: {{certSANs: [localhost, 127.0.0.1, '{v6}']}}
"
    )
}
