//! containerd and the kubelet of a worker.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::machine;
use super::record::Worker;
use crate::cluster::containerd::{self, Configuration};
use crate::cluster::daemon::Daemon;
use crate::cluster::{DNS_IP, state};
use crate::{command, layout};

/// The kubelet's name among the daemons.
pub const KUBELET: &str = "kubelet";
const CONTAINERD: &str = "containerd";
/// containerd's socket, as everybody on the machine finds it.
const SOCKET: &str = "/run/containerd/containerd.sock";
const PATIENCE: Duration = Duration::from_mins(1);

/// The socket as kubeadm wants it.
pub fn cri_socket() -> String {
    format!("unix://{SOCKET}")
}

/// Starts containerd, and waits until it serves the kubelet's interface.
pub fn start(worker: &Worker) -> Result<()> {
    let config = worker.dir().join("containerd.toml");
    let configuration = Configuration {
        root: "/var/lib/containerd".into(),
        state: "/run/containerd".into(),
        socket: SOCKET.into(),
        opt: "/var/lib/containerd/opt".into(),
        cni: "/etc/cni/net.d".into(),
        runc: "/run/containerd/runc".into(),
    };
    fs::write(&config, configuration.text()).with_context(|| format!("cannot write {}", config.display()))?;
    enter(worker, CONTAINERD, &containerd::program())?
        .arg("--config")
        .arg(config.display().to_string())
        .path(&containerd::path())
        .ensure()?;

    let place = worker.place();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut list = machine::command(
            worker,
            &layout::bin_dir(CONTAINERD, layout::CONTAINERD_VERSION).join("ctr").display().to_string(),
        )?;
        list.args(["--address", SOCKET, "plugins", "list"]);
        // A containerd without its CRI plugin runs, and the kubelet only says that it knows no such service.
        let plugins = command::output("asking containerd for its plugins", &mut list).unwrap_or_default();
        if let Some(state) =
            plugins.lines().find(|line| line.contains("io.containerd.grpc.v1") && line.contains(" cri "))
        {
            if state.contains(" ok") {
                return Ok(());
            }
            bail!(
                "containerd of worker {} has no CRI plugin: {state}\n  log: {}",
                worker.node(),
                place.log(CONTAINERD).display()
            );
        }
        place.check_alive(CONTAINERD)?;
        if Instant::now() > deadline {
            bail!("containerd of worker {} does not answer\n  log: {}", worker.node(), place.log(CONTAINERD).display());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the machine needs otherwise than the tenant's kubelet-config says, as a patch for kubeadm: `kubeadm join
/// --patches`, target `kubeletconfiguration`.
pub fn write_patch(worker: &Worker) -> Result<()> {
    let resolver = worker.dir().join("resolv.conf");
    let servers = fs::read_to_string(state("resolv.conf")).unwrap_or_default();
    // CoreDNS ends when its machine has no name server at all.
    let servers = if servers.is_empty() { format!("nameserver {DNS_IP}\n") } else { servers };
    fs::write(&resolver, servers).with_context(|| format!("cannot write {}", resolver.display()))?;
    let patch = json!({
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": worker.place().cgroup.absolute(),
        "evictionHard": {"nodefs.available": "256Mi", "imagefs.available": "256Mi", "memory.available": "100Mi"},
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "registryPullQPS": 0,
        "resolvConf": resolver.display().to_string(),
        "serializeImagePulls": false,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    });
    let file = patches(worker).join("kubeletconfiguration0+merge.json");
    fs::write(&file, patch.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// Folder of kubeadm's patches.
pub fn patches(worker: &Worker) -> std::path::PathBuf {
    worker.dir().join("patches")
}

/// Whether kubeadm has written what the kubelet reads when it starts.
pub fn has_kubelet_configuration(worker: &Worker) -> bool {
    let kubelet = worker.dir().join("kubelet");
    let written = [
        kubelet.join("config.yaml"),
        kubelet.join("kubeadm-flags.env"),
        worker.dir().join("etc/kubernetes/bootstrap-kubelet.conf"),
    ];
    written.iter().all(|file| fs::metadata(file).is_ok_and(|meta| meta.len() > 0))
}

/// Starts the kubelet as the unit file of kubeadm's packages does.
pub fn start_kubelet(worker: &Worker) -> Result<()> {
    let flags = fs::read_to_string(worker.dir().join("kubelet/kubeadm-flags.env")).unwrap_or_default();
    let [v4, v6] = worker.addresses();
    let address = if worker.dual_stack { format!("{v4},{v6}") } else { v4 };
    let kubelet = layout::kubernetes(&worker.version, KUBELET);
    let daemon = enter(worker, KUBELET, &kubelet)?.flags(&[
        ("bootstrap-kubeconfig", "/etc/kubernetes/bootstrap-kubelet.conf"),
        ("kubeconfig", "/etc/kubernetes/kubelet.conf"),
        ("config", "/var/lib/kubelet/config.yaml"),
        ("node-ip", &address),
    ]);
    arguments(&flags).into_iter().fold(daemon, Daemon::arg).ensure()?;
    Ok(())
}

/// A daemon on the machine.
fn enter(worker: &Worker, name: &'static str, program: &Path) -> Result<Daemon> {
    let entered = Daemon::at(worker.place(), name, "nsenter".into());
    let entered = machine::entrance(worker)?.into_iter().fold(entered, Daemon::arg);
    Ok(entered.arg(program.display().to_string()))
}

/// The flags in kubeadm's environment file, `KUBELET_KUBEADM_ARGS="..."`.
fn arguments(file: &str) -> Vec<String> {
    let value = file.lines().find_map(|line| line.strip_prefix("KUBELET_KUBEADM_ARGS=")).unwrap_or_default();
    value.trim().trim_matches('"').split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn reads_the_flags_that_kubeadm_writes() {
        let file = "KUBELET_KUBEADM_ARGS=\"--hostname-override=w --x=y\"\n";
        assert_eq!(arguments(file), ["--hostname-override=w", "--x=y"]);
        assert!(arguments("KUBELET_KUBEADM_ARGS=\"\"\n").is_empty());
    }
}
