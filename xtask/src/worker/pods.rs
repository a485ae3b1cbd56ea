//! The network of a worker's pods: what a network plugin's DaemonSet would set up on a real one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::network::INSIDE;
use super::record::{self, Worker};
use super::tenant::Tenant;
use super::{machine, network};
use crate::cluster::containerd;
use crate::cluster::kubectl::Kubectl;
use crate::command;

/// How long the tenant's controller manager may take to give the Node its range.
const PATIENCE: Duration = Duration::from_secs(30);
/// File of the state with the worker's ranges, one per line.
const RANGES: &str = "pod-cidrs";

/// Configures the pod network with the Node's own ranges, and routes to those of the tenant's other workers.
pub fn connect(worker: &Worker, tenant: &Tenant, kubectl: &Kubectl) -> Result<()> {
    let ranges = ranges(worker, kubectl)?;
    fs::write(worker.dir().join(RANGES), ranges.join("\n"))?;
    let pid = machine::pid(worker)?.to_string();
    network::rules(&pid, "setting up the pods' masquerading", &masquerade(&ranges, &tenant.pod_cidrs))?;
    network::rules(&pid, "keeping the Services' addresses on the worker", &kept(&tenant.service_cidrs))?;
    for other in record::of(&worker.tenant) {
        let (Ok(other_pid), true) = (machine::pid(&other), other.isolated == worker.isolated && other != *worker)
        else {
            continue;
        };
        route(&pid, &other, &read(&other))?;
        route(&other_pid.to_string(), worker, &ranges)?;
    }
    let file = worker.dir().join("10-worker.conflist");
    fs::write(&file, containerd::network_configuration("worker", &ranges, Path::new("/var/lib/cni/networks")))
        .with_context(|| format!("cannot write {}", file.display()))?;
    // By the machine itself: what another writes into the upper folder of its overlay may stay unseen.
    let mut copy = machine::command(worker, "cp")?;
    copy.arg(&file).arg("/etc/cni/net.d");
    command::output("configuring the pod network", &mut copy).map(drop)
}

fn read(worker: &Worker) -> Vec<String> {
    let text = fs::read_to_string(worker.dir().join(RANGES)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Routes in the network of `pid` to the pods of a neighbour.
fn route(pid: &str, neighbour: &Worker, ranges: &[String]) -> Result<()> {
    let [v4, v6] = neighbour.addresses();
    ranges.iter().try_for_each(|range| {
        let gateway = if range.contains(':') { &v6 } else { &v4 };
        network::on(pid, &["route", "replace", range, "via", gateway])
    })
}

/// The Node's ranges; fixed ones if its tenant gives none to Nodes.
fn ranges(worker: &Worker, kubectl: &Kubectl) -> Result<Vec<String>> {
    // kubeadm ends when the kubelet has its certificate, a moment before it makes its Node.
    let what = "waiting for the Node to be registered";
    kubectl.run(what, &["wait", "--for=create", "--timeout=60s", &format!("node/{}", worker.node())])?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text =
            kubectl.run("asking for the Node's pod network", &["get", "node", &worker.node(), "--output=json"])?;
        let node: Value = serde_json::from_str(&text)?;
        let given = node.pointer("/spec/podCIDRs").and_then(Value::as_array).into_iter().flatten();
        let given: Vec<String> = given.filter_map(Value::as_str).map(str::to_owned).collect();
        if !given.is_empty() {
            return Ok(given);
        }
        if Instant::now() > deadline {
            return Ok(vec![format!("10.244.{}.0/24", worker.number)]);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Pods reach what is no pod under the worker's address: nobody else has a route to theirs.
fn masquerade(ranges: &[String], pods: &[String]) -> String {
    let mut rules = String::new();
    for range in ranges {
        let family = if range.contains(':') { "ip6" } else { "ip" };
        let is_same = |other: &&String| other.contains(':') == range.contains(':');
        let others: Vec<&str> = pods.iter().filter(is_same).map(String::as_str).chain([range.as_str()]).collect();
        let exceptions: Vec<String> = others.iter().map(|other| format!("{family} daddr != {other}")).collect();
        let _ = writeln!(rules, "    {family} saddr {range} {} masquerade", exceptions.join(" "));
    }
    format!(
        "table inet worker {{\n  chain postrouting {{\n    type nat hook postrouting priority srcnat; policy accept;\n{rules}  }}\n}}\n"
    )
}

/// What kube-proxy has not rewritten goes nowhere: the networks around the machine may answer at a Service's address.
fn kept(services: &[String]) -> String {
    let mut rules = String::new();
    for hook in ["forward", "output"] {
        let _ = writeln!(rules, "  chain {hook} {{\n    type filter hook {hook} priority filter; policy accept;");
        for network in services {
            let family = if network.contains(':') { "ip6" } else { "ip" };
            let _ = writeln!(rules, "    oifname \"{INSIDE}\" {family} daddr {network} drop");
        }
        rules.push_str("  }\n");
    }
    format!("table inet worker-services {{\n{rules}}}\n")
}

#[cfg(test)]
mod tests {
    use super::{kept, masquerade};

    #[test]
    fn a_packet_to_a_service_that_is_none_does_not_leave_the_worker() {
        let text = kept(&["10.96.0.0/16".into(), "fd96::/112".into()]);
        for rule in ["oifname \"eth0\" ip daddr 10.96.0.0/16 drop", "oifname \"eth0\" ip6 daddr fd96::/112 drop"] {
            assert_eq!(text.matches(rule).count(), 2, "{text}");
        }
    }

    #[test]
    fn pods_keep_their_address_among_pods_only() {
        let text = masquerade(&["10.244.1.0/24".into()], &["10.244.0.0/16".into(), "fd00::/48".into()]);
        let rule = "ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16 ip daddr != 10.244.1.0/24 masquerade";
        assert!(text.contains(rule), "{text}");
        assert!(!text.contains("fd00"), "{text}");
    }
}
