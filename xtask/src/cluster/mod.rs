//! The local management cluster: one dual-stack node from the real parts, on this machine, without a container engine.
//!
//! Everything it makes is found again without a memory of it: processes by pid files and by one cgroup, mounts and
//! files by [`STATE`] and [`RUN`], the link, the nftables table and the containerd namespace by name.

pub mod add_ons;
pub mod cgroup;
pub mod containerd;
pub mod control_plane;
pub mod daemon;
pub mod kubectl;
pub mod network;
pub mod node;
pub mod pki;

use std::path::{Path, PathBuf};

/// State that survives a reboot: etcd's data, keys, images, volumes, logs.
pub const STATE: &str = "/var/lib/kamaji-local";
/// State that does not: sockets, container file systems, pid files.
pub const RUN: &str = "/run/kamaji-local";
/// Name of the node and of its cgroup.
pub const NODE: &str = "kamaji-local";
/// The node's bridge. Workers of tenants are plugged into it.
pub const LINK: &str = "kamaji0";
/// The node's addresses on its bridge.
pub const NODE_IPS: [&str; 2] = ["10.77.0.1", "fd77::1"];
/// Networks of the bridge.
pub const NODE_CIDRS: [&str; 2] = ["10.77.0.0/24", "fd77::/64"];
/// Addresses given to Services of type `LoadBalancer`.
pub const LOAD_BALANCER_CIDRS: [&str; 2] = ["10.77.1.0/24", "fd77:0:0:1::/112"];
/// Networks of isolated workers: the node has no way to them, they have one to it.
pub const ISOLATED_CIDRS: [&str; 2] = ["10.77.2.0/24", "fd77:0:0:2::/64"];
/// How the links of workers begin.
pub const WORKER_LINKS: &str = "kamajiw";
/// Networks of the pods. Different from kubeadm's defaults, so that an address tells management from tenant.
pub const POD_CIDRS: [&str; 2] = ["10.78.0.0/16", "fd78::/64"];
/// Networks of the Services.
pub const SERVICE_CIDRS: [&str; 2] = ["10.79.0.0/16", "fd79::/112"];
/// Address of the cluster's DNS Service.
pub const DNS_IP: &str = "10.79.0.10";
/// Where the registry with the locally built images listens.
pub const REGISTRY: &str = "10.77.0.1:5000";

/// A path below [`STATE`].
pub fn state(path: impl AsRef<Path>) -> PathBuf {
    Path::new(STATE).join(path)
}

/// Folder with one log per part.
pub fn log_dir() -> PathBuf {
    state("logs")
}

/// Kubeconfig of the cluster's administrator.
pub fn admin_kubeconfig() -> PathBuf {
    state("kubeconfigs/admin.conf")
}
