//! containerd, kubelet and kube-proxy: the one node.

use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::daemon::{self, Daemon};
use super::kubectl::check_alive;
use super::pki::{file, kubeconfig};
use super::{DNS_IP, NODE, NODE_IPS, POD_CIDRS, REGISTRY, RUN, containerd, state};
use crate::layout;

/// How long containerd may take until it listens: it first finds again what ran before.
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts the node's daemons.
pub fn start() -> Result<()> {
    start_containerd()?;
    kube_proxy()?.ensure()?;
    kubelet()?.ensure()?;
    Ok(())
}

/// The kubelet ends when nobody answers it, so containerd has to listen first.
fn start_containerd() -> Result<()> {
    containerd()?.ensure()?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = UnixStream::connect(socket()) {
        check_alive()?;
        if Instant::now() > deadline {
            let log = daemon::log("containerd");
            bail!("containerd does not listen on {}: {error}\n  log: {}", socket().display(), log.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// containerd's socket.
pub fn socket() -> PathBuf {
    Path::new(RUN).join("containerd.sock")
}

/// Leaves a file alone that already says so: kube-proxy ends when its configuration is written again.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn containerd() -> Result<Daemon> {
    let config = state("containerd.toml");
    let configuration = containerd::Configuration {
        root: state("containerd"),
        state: Path::new(RUN).join("containerd"),
        socket: socket(),
        opt: state("containerd-opt"),
        cni: state("cni-config"),
        runc: Path::new(RUN).join("runc"),
    };
    write(&config, &configuration.text())?;
    // Every registry host is answered by ours, so that upstream's image names work unchanged.
    write(
        &containerd::registry_dir().join("_default/hosts.toml"),
        &format!(
            "server = \"http://{REGISTRY}\"\n\n[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        ),
    )?;
    let pods = containerd::network_configuration(NODE, &POD_CIDRS, &state("cni-leases"));
    write(&state("cni-config/10-kamaji-local.conflist"), &pods)?;
    Ok(Daemon::new("containerd", containerd::program())
        .arg("--config")
        .arg(config.display().to_string())
        .path(&containerd::path())
        .input(config))
}

fn kubelet() -> Result<Daemon> {
    let config = state("kubelet.yaml");
    let resolv_conf = state("resolv.conf");
    write(&resolv_conf, &resolver(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()))?;
    write(
        &config,
        &format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication: {{x509: {{clientCAFile: {ca}}}, anonymous: {{enabled: false}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: /{NODE}
clusterDNS: [{DNS_IP}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{socket}
eventRecordQPS: 0
evictionHard: {{nodefs.available: 256Mi, imagefs.available: 256Mi, memory.available: 100Mi}}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
kubeAPIQPS: 100
kubeAPIBurst: 200
makeIPTablesUtilChains: false
maxPods: 500
podLogsDir: {pod_logs}
registryPullQPS: 0
resolvConf: {resolv_conf}
serializeImagePulls: false
volumePluginDir: {plugins}
",
            address = NODE_IPS[0],
            ca = file("ca.crt"),
            socket = socket().display(),
            pod_logs = state("pod-logs").display(),
            resolv_conf = resolv_conf.display(),
            plugins = state("volume-plugins").display(),
        ),
    )?;
    Ok(Daemon::new("kubelet", layout::kubernetes(layout::KUBERNETES_VERSION, "kubelet"))
        .flags(&[
            ("config", config.display().to_string().as_str()),
            ("kubeconfig", &kubeconfig("kubelet.conf")),
            ("hostname-override", NODE),
            ("node-ip", &NODE_IPS.join(",")),
            ("root-dir", &state("kubelet").display().to_string()),
            ("cert-dir", &state("kubelet/pki").display().to_string()),
        ])
        .input(config)
        .input(state("kubeconfigs/kubelet.conf")))
}

/// The machine's name servers that a pod can reach: a stub on the loopback address is another one inside a pod.
fn resolver(machine: &str) -> String {
    let is_usable = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver")
            && words.next().and_then(|word| word.parse::<IpAddr>().ok()).is_some_and(|ip| !ip.is_loopback())
    };
    machine.lines().filter(is_usable).fold(String::new(), |text, line| text + line + "\n")
}

/// Whether pods can ask anyone about names outside the cluster.
pub fn has_upstream_dns() -> bool {
    fs::read_to_string(state("resolv.conf")).is_ok_and(|text| !text.is_empty())
}

fn kube_proxy() -> Result<Daemon> {
    let config = state("kube-proxy.yaml");
    write(
        &config,
        &format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {identity}}}
clusterCIDR: '{pods}'
hostnameOverride: {NODE}
conntrack: {{maxPerCore: 0}}
nodePortAddresses: [primary]
",
            identity = kubeconfig("kube-proxy.conf"),
            pods = POD_CIDRS.join(","),
        ),
    )?;
    Ok(Daemon::new("kube-proxy", layout::kubernetes(layout::KUBERNETES_VERSION, "kube-proxy"))
        .flags(&[("config", config.display().to_string())])
        .input(config))
}

#[cfg(test)]
mod tests {
    use super::resolver;

    #[test]
    fn a_name_server_on_the_loopback_address_is_left_out() {
        assert_eq!(resolver("search x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n"), "nameserver 192.0.2.1\n");
    }
}
