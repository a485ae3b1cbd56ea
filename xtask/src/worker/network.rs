//! A worker's link: plugged into the node's bridge, or into the router's.

use std::process::Command;

use anyhow::Result;

use super::record::Worker;
use super::{machine, router};
use crate::cluster::{LINK, NODE_IPS, WORKER_LINKS};
use crate::command;

/// Name of the link inside of the machine.
pub const INSIDE: &str = "eth0";

/// Gives the worker its link, addresses and default routes.
pub fn connect(worker: &Worker) -> Result<()> {
    let (host, peer) = links(worker);
    let pid = machine::pid(worker)?.to_string();
    let gateways = if worker.isolated { router::GATEWAYS } else { NODE_IPS };
    disconnect(worker);
    ip(&["link", "add", &host, "type", "veth", "peer", "name", &peer])?;
    ip(&["link", "set", &peer, "netns", &pid])?;
    if worker.isolated {
        router::plug(&host)?;
    } else {
        ip(&["link", "set", &host, "master", LINK, "up"])?;
    }
    let inside = |arguments: &[&str]| on(&pid, arguments);
    inside(&["link", "set", &peer, "name", INSIDE])?;
    inside(&["link", "set", INSIDE, "up"])?;
    for (address, gateway) in worker.addresses().iter().zip(gateways) {
        give(&pid, INSIDE, address)?;
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        inside(&[family, "route", "replace", "default", "via", gateway])?;
    }
    Ok(())
}

/// Removes a link that was made and not moved away. One that was goes with the machine.
pub fn disconnect(worker: &Worker) {
    let (host, _) = links(worker);
    // Absent is as good as removed.
    let _ = Command::new("ip").args(["link", "delete", &host]).output();
}

fn links(worker: &Worker) -> (String, String) {
    let host = format!("{WORKER_LINKS}{}", worker.number);
    let peer = format!("{host}p");
    (host, peer)
}

/// Gives a link an address of a network of the usual size.
pub fn give(pid: &str, link: &str, address: &str) -> Result<()> {
    if address.contains(':') {
        on(pid, &["address", "replace", &format!("{address}/64"), "dev", link, "nodad"])
    } else {
        on(pid, &["address", "replace", &format!("{address}/24"), "dev", link])
    }
}

/// `ip` on the node.
pub fn ip(arguments: &[&str]) -> Result<()> {
    command::output(&format!("ip {}", arguments.join(" ")), Command::new("ip").args(arguments)).map(drop)
}

/// `ip` in the network namespace of a process.
pub fn on(pid: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args([&format!("--target={pid}"), "--net", "--", "ip"]).args(arguments);
    command::output(&format!("ip {}", arguments.join(" ")), &mut command).map(drop)
}

/// `nft` with these rules in the network namespace of a process.
pub fn rules(pid: &str, what: &str, rules: &str) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args([&format!("--target={pid}"), "--net", "--", "nft", "-f", "-"]);
    command::with_input(what, &mut command, rules).map(drop)
}
