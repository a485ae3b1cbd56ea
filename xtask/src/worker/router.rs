//! The router of isolated workers: a network namespace that lets their connections out, under its own address, and no
//! connection in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::machine::wait_for;
use super::network::{give, ip, on, rules};
use crate::cluster::cgroup::Cgroup;
use crate::cluster::daemon::{Daemon, Place};
use crate::cluster::{ISOLATED_CIDRS, LINK, NODE_IPS, RUN, WORKER_LINKS, log_dir};

const NAME: &str = "router";
/// The workers' side.
const BRIDGE: &str = "workers";
/// Its addresses there: the workers' gateways.
pub const GATEWAYS: [&str; 2] = ["10.77.2.1", "fd77:0:0:2::1"];
/// The node's side.
const OUTER: [&str; 2] = ["10.77.0.254", "fd77::fe"];
const INSIDE: &str = "eth0";

const SETUP: &str = r#"set -e
for setting in ipv4/ip_forward ipv6/conf/all/forwarding; do
  [ ! -e "/proc/sys/net/$setting" ] || echo 1 > "/proc/sys/net/$setting"
done
: > "$1"
exec sleep infinity
"#;

const RULES: &str = "\
table inet router {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"eth0\" masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname \"eth0\" ct state established,related accept
    iifname \"eth0\" drop
  }
}
";

fn place() -> Place {
    Place { run: Path::new(RUN).join("workers"), logs: log_dir(), cgroup: Cgroup::below(NAME) }
}

/// Starts it unless it runs. One at a time.
pub fn start() -> Result<()> {
    let place = place();
    let is_connected = place.run.join("router-is-connected");
    if place.pid(NAME).is_some() && is_connected.exists() {
        return Ok(());
    }
    stop()?;
    place.cgroup.create()?;
    let is_set_up = place.run.join("router-is-set-up");
    let arguments = ["--net", "sh", "-c", SETUP, NAME, &is_set_up.display().to_string()].map(str::to_owned);
    arguments.into_iter().fold(Daemon::at(place.clone(), NAME, "unshare".into()), Daemon::arg).ensure()?;
    wait_for(&place, NAME, &is_set_up)?;
    connect(&pid()?)?;
    Ok(fs::write(is_connected, "")?)
}

/// Plugs the outer end of a worker's link into the bridge.
pub fn plug(link: &str) -> Result<()> {
    let pid = pid()?;
    ip(&["link", "set", link, "netns", &pid])?;
    on(&pid, &["link", "set", link, "master", BRIDGE, "up"])
}

/// Stops it.
pub fn stop() -> Result<()> {
    place().cgroup.remove()?;
    for file in ["router.pid", "router-is-set-up", "router-is-connected"] {
        let _ = fs::remove_file(place().run.join(file));
    }
    for network in ISOLATED_CIDRS {
        // Absent is as good as removed.
        let _ = ip(&["route", "delete", "unreachable", network]);
    }
    Ok(())
}

fn pid() -> Result<String> {
    let place = place();
    place.check_alive(NAME)?;
    Ok(place.pid(NAME).context("the router of isolated workers does not run")?.to_string())
}

fn connect(pid: &str) -> Result<()> {
    let (host, peer) = (format!("{WORKER_LINKS}rt"), format!("{WORKER_LINKS}rtp"));
    let _ = ip(&["link", "delete", &host]);
    // The node has no way there. It says so, where its own default route would let packets vanish.
    for network in ISOLATED_CIDRS {
        ip(&["route", "replace", "unreachable", network])?;
    }
    ip(&["link", "add", &host, "type", "veth", "peer", "name", &peer])?;
    ip(&["link", "set", &peer, "netns", pid])?;
    ip(&["link", "set", &host, "master", LINK, "up"])?;
    on(pid, &["link", "set", &peer, "name", INSIDE])?;
    on(pid, &["link", "set", "lo", "up"])?;
    on(pid, &["link", "set", INSIDE, "up"])?;
    on(pid, &["link", "add", BRIDGE, "type", "bridge"])?;
    on(pid, &["link", "set", BRIDGE, "up"])?;
    for (address, gateway) in OUTER.iter().zip(NODE_IPS) {
        give(pid, INSIDE, address)?;
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        on(pid, &[family, "route", "replace", "default", "via", gateway])?;
    }
    rules(pid, "setting up the router", RULES)?;
    GATEWAYS.iter().try_for_each(|address| give(pid, BRIDGE, address))
}
