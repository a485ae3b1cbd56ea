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
use super::{DNS_IP, NODE, NODE_IPS, POD_CIDRS, REGISTRY, RUN, state};
use crate::layout;

/// The image of every pod's sandbox.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10.1";

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
    let bin = layout::bin_dir("containerd", layout::CONTAINERD_VERSION);
    let runc = layout::bin_dir("runc", layout::RUNC_VERSION);
    let plugins = layout::bin_dir("cni-plugins", layout::CNI_PLUGINS_VERSION);
    let config = state("containerd.toml");
    let socket = socket();
    write(
        &config,
        &format!(
            r#"version = 3
root = "{root}"
state = "{RUN}/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{registry}"

[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE, as in many a container, no sandbox would start.
  restrict_oom_score_adj = true
  # Not in the machine's own folder, which `ip netns` and other runtimes share.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
  use_internal_loopback = true
  bin_dirs = ["{plugins}"]
  conf_dir = "{cni}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  sandboxer = "podsandbox"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = "{RUN}/runc"
"#,
            root = state("containerd").display(),
            socket = socket.display(),
            opt = state("containerd-opt").display(),
            registry = state("registry").display(),
            plugins = plugins.display(),
            cni = state("cni-config").display(),
        ),
    )?;
    // Every registry host is answered by ours, so that upstream's image names work unchanged.
    write(
        &state("registry/_default/hosts.toml"),
        &format!(
            "server = \"http://{REGISTRY}\"\n\n[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        ),
    )?;
    write(&state("cni-config/10-kamaji-local.conflist"), &network_configuration())?;
    Ok(Daemon::new("containerd", bin.join("containerd"))
        .arg("--config")
        .arg(config.display().to_string())
        .path(&[bin, runc])
        .input(config))
}

/// Point-to-point links rather than a bridge: all traffic between pods is routed, so that Services work between
/// pods of one node without the bridge netfilter module.
fn network_configuration() -> String {
    let [v4, v6] = POD_CIDRS;
    let leases = state("cni-leases").display().to_string();
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": NODE,
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": leases,
                    "ranges": [[{"subnet": v4}], [{"subnet": v6}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"},
        ],
    })
    .to_string()
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
evictionHard: {{nodefs.available: '1%', imagefs.available: '1%', memory.available: 100Mi}}
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
