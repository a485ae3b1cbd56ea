//! containerd and its pod network, as the node and every worker configure them.

use std::path::{Path, PathBuf};

use super::state;
use crate::layout;

/// The image of every pod's sandbox.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10.1";

/// Where one containerd keeps what.
#[derive(Debug)]
pub struct Configuration {
    /// State that survives a reboot.
    pub root: PathBuf,
    /// State that does not.
    pub state: PathBuf,
    /// The socket that it listens on.
    pub socket: PathBuf,
    /// Folder of its `opt` plugin, which it makes.
    pub opt: PathBuf,
    /// Folder of the pod network's configuration.
    pub cni: PathBuf,
    /// runc's state.
    pub runc: PathBuf,
}

impl Configuration {
    /// The configuration file.
    pub fn text(&self) -> String {
        let plugins = layout::bin_dir("cni-plugins", layout::CNI_PLUGINS_VERSION);
        format!(
            r#"version = 3
root = "{root}"
state = "{state}"

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
  Root = "{runc}"
"#,
            root = self.root.display(),
            state = self.state.display(),
            socket = self.socket.display(),
            opt = self.opt.display(),
            registry = registry_dir().display(),
            plugins = plugins.display(),
            cni = self.cni.display(),
            runc = self.runc.display(),
        )
    }
}

/// The binary.
pub fn program() -> PathBuf {
    layout::bin_dir("containerd", layout::CONTAINERD_VERSION).join("containerd")
}

/// Folders in which it looks for its shim and for runc.
pub fn path() -> [PathBuf; 2] {
    [layout::bin_dir("containerd", layout::CONTAINERD_VERSION), layout::bin_dir("runc", layout::RUNC_VERSION)]
}

/// Folder that says where images are pulled from.
pub fn registry_dir() -> PathBuf {
    state("registry")
}

/// The pod network's configuration file: point-to-point links rather than a bridge. All traffic between pods is
/// routed, so that Services work between pods of one node without the bridge netfilter module.
pub fn network_configuration(name: &str, ranges: &[impl AsRef<str>], leases: &Path) -> String {
    let subnets: Vec<_> = ranges.iter().map(|range| serde_json::json!([{"subnet": range.as_ref()}])).collect();
    let routes: Vec<_> = ranges
        .iter()
        .map(|range| serde_json::json!({"dst": if range.as_ref().contains(':') { "::/0" } else { "0.0.0.0/0" }}))
        .collect();
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": name,
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": leases.display().to_string(),
                    "ranges": subnets,
                    "routes": routes,
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"},
        ],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::network_configuration;

    #[test]
    fn each_range_has_a_default_route_of_its_family() {
        let text = network_configuration("n", &["10.0.0.0/24", "fd00::/64"], Path::new("/leases"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let ipam = &value["plugins"][0]["ipam"];
        assert_eq!(ipam["ranges"], serde_json::json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]));
        assert_eq!(ipam["routes"], serde_json::json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
    }
}
