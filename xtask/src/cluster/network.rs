//! The node's link, routes, masquerading and the kernel settings that a node needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{
    ISOLATED_CIDRS, LINK, LOAD_BALANCER_CIDRS, NODE_CIDRS, NODE_IPS, POD_CIDRS, SERVICE_CIDRS, WORKER_LINKS, state,
};
use crate::command;

/// Kernel settings that we raise or set, with the value wanted.
const SETTINGS: [(&str, u64, Rule); 6] = [
    ("net/ipv4/ip_forward", 1, Rule::Exactly),
    ("net/ipv6/conf/all/forwarding", 1, Rule::Exactly),
    // With the usual 128 the second containerd on a machine cannot load its CRI plugin.
    ("fs/inotify/max_user_instances", 8192, Rule::AtLeast),
    ("fs/inotify/max_user_watches", 524_288, Rule::AtLeast),
    // Duplicate address detection holds up every pod for more than a second; a new network namespace starts with the
    // kernel's own defaults unless told to take ours.
    ("net/ipv6/conf/default/accept_dad", 0, Rule::Exactly),
    ("net/core/devconf_inherit_init_net", 1, Rule::Exactly),
];

/// Kernel settings that the kubelet changes by itself; they are only put back.
const KUBELET_SETTINGS: [&str; 5] =
    ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"];

/// Tables that our table, kube-proxy and the port mapping plugin leave in nftables.
const TABLES: [&str; 5] =
    ["inet kamaji-local", "ip kube-proxy", "ip6 kube-proxy", "ip cni_hostport", "ip6 cni_hostport"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Exactly,
    AtLeast,
}

/// Makes everything that is missing.
pub fn create() -> Result<()> {
    for module in ["br_netfilter", "overlay", "nf_tables", "bridge", "veth"] {
        // Built into some kernels, and then unknown to modprobe: what is really missing shows when it is used.
        let _ = Command::new("modprobe").args(["-q", module]).output();
    }
    save_settings()?;
    for (name, value, rule) in SETTINGS {
        let enough = read(name).is_some_and(|now| now == value || (rule == Rule::AtLeast && now > value));
        if !enough {
            fs::write(setting(name), value.to_string()).with_context(|| format!("cannot set the kernel's {name}"))?;
        }
    }
    link()?;
    masquerade()
}

fn link() -> Result<()> {
    if !Path::new("/sys/class/net").join(LINK).exists() {
        ip(&["link", "add", LINK, "type", "bridge"])?;
    }
    let prefix = |cidr: &str| cidr.split_once('/').map_or("", |(_, length)| length).to_owned();
    for (address, network) in NODE_IPS.iter().zip(NODE_CIDRS) {
        // Duplicate address detection never ends on a bridge without a port.
        let mut arguments = vec!["address", "replace"];
        let address = format!("{address}/{}", prefix(network));
        arguments.extend([address.as_str(), "dev", LINK]);
        if address.contains(':') {
            arguments.push("nodad");
        }
        ip(&arguments)?;
    }
    ip(&["link", "set", LINK, "up"])?;
    // kube-proxy rewrites packets to these networks, but a packet needs a route before it gets there.
    for network in LOAD_BALANCER_CIDRS.iter().chain(&SERVICE_CIDRS) {
        ip(&["route", "replace", network, "dev", LINK])?;
    }
    Ok(())
}

/// Pods and workers reach the outside under the node's address. CNI's own masquerading would need iptables.
fn masquerade() -> Result<()> {
    let [pods4, pods6] = POD_CIDRS;
    let [nodes4, nodes6] = NODE_CIDRS;
    let rules = format!(
        "add table inet kamaji-local\ndelete table inet kamaji-local\ntable inet kamaji-local {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    \
         ip saddr {{ {pods4}, {nodes4} }} ip daddr != {{ 10.77.0.0/16, {pods4} }} masquerade\n    \
         ip6 saddr {{ {pods6}, {nodes6} }} ip6 daddr != {{ fd77::/32, {pods6} }} masquerade\n  }}\n}}\n"
    );
    command::with_input("setting up masquerading", Command::new("nft").args(["-f", "-"]), &rules).map(drop)
}

/// Removes link, routes, rules, and puts the kernel's settings back.
pub fn remove() -> Result<()> {
    for table in TABLES {
        let mut arguments = vec!["delete", "table"];
        arguments.extend(table.split(' '));
        // Absent is as good as removed.
        let _ = Command::new("nft").args(arguments).output();
    }
    for name in pod_links().into_iter().chain(worker_links()) {
        let _ = Command::new("ip").args(["link", "delete", &name]).output();
    }
    for network in ISOLATED_CIDRS {
        let _ = Command::new("ip").args(["route", "delete", "unreachable", network]).output();
    }
    if Path::new("/sys/class/net").join(LINK).exists() {
        ip(&["link", "delete", LINK])?;
    }
    for (name, value) in saved_settings() {
        let _ = fs::write(setting(&name), value);
    }
    Ok(())
}

/// Host ends of the pods' links: each carries the pod network's first address.
fn pod_links() -> Vec<String> {
    let out = Command::new("ip").args(["-o", "address", "show", "to", "10.78.0.1"]).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

/// Links of workers that were not, or not yet, moved away from here.
fn worker_links() -> Vec<String> {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = links.map(|link| link.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(WORKER_LINKS)).collect()
}

fn ip(arguments: &[&str]) -> Result<()> {
    command::output(&format!("ip {}", arguments.join(" ")), Command::new("ip").args(arguments)).map(drop)
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn read(name: &str) -> Option<u64> {
    fs::read_to_string(setting(name)).ok()?.trim().parse().ok()
}

fn saved_file() -> PathBuf {
    state("kernel-settings.json")
}

/// Remembers what was set before our first start.
fn save_settings() -> Result<()> {
    let names = SETTINGS.iter().map(|(name, ..)| *name).chain(KUBELET_SETTINGS);
    let mut saved = saved_settings();
    for name in names {
        if let (false, Ok(now)) = (saved.contains_key(name), fs::read_to_string(setting(name))) {
            saved.insert(name.to_owned(), now.trim().to_owned());
        }
    }
    fs::write(saved_file(), serde_json::to_vec_pretty(&saved)?)
        .with_context(|| format!("cannot write {}", saved_file().display()))
}

fn saved_settings() -> BTreeMap<String, String> {
    fs::read(saved_file()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
