//! The real `kubeadm`, which makes a machine a Node of a tenant.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::record::Worker;
use super::tenant::Tenant;
use super::{machine, runtime};
use crate::cluster::daemon::Place;
use crate::cluster::kubectl::Kubectl;
use crate::{command, layout};

/// kubeadm's own patience with a kubelet is four minutes.
const PATIENCE: Duration = Duration::from_mins(5);

/// Asks for a join command and runs it on the machine; starts the kubelet as soon as kubeadm has configured it, as a
/// service manager would.
pub fn join(worker: &Worker, tenant: &Tenant, kubeconfig: &Path) -> Result<()> {
    let arguments = join_arguments(tenant, kubeconfig)?;
    runtime::write_patch(worker)?;
    let place = worker.place();
    let log = place.log("kubeadm-join");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let program = layout::kubernetes(&worker.version, "kubeadm").display().to_string();
    let mut kubeadm = machine::command(worker, &program)?;
    // It looks there for the kubelet whose version it checks.
    let folders = [layout::bin_dir("kubernetes", &worker.version).display().to_string(), inherited_path()];
    kubeadm.env("PATH", folders.join(":"));
    kubeadm.args(arguments).args(["--node-name", &worker.node(), "--cri-socket", &runtime::cri_socket()]);
    // The machine has no service manager, and shares kernel settings, swap and binaries with this one.
    kubeadm.args(["--ignore-preflight-errors=all", "--patches"]).arg(runtime::patches(worker));
    kubeadm.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let mut child = kubeadm.spawn().context("cannot start kubeadm join")?;
    // Among the worker's other processes, so that it is found if this command is killed.
    let followed = place.cgroup.adopt(child.id()).and_then(|()| follow(worker, &place, &mut child));
    if followed.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    followed
}

fn inherited_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

fn follow(worker: &Worker, place: &Place, child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut is_started = false;
    loop {
        if !is_started && runtime::has_kubelet_configuration(worker) {
            runtime::start_kubelet(worker)?;
            is_started = true;
        }
        if let Some(status) = child.try_wait()? {
            return if status.success() {
                Ok(())
            } else {
                Err(command::failed("kubeadm join", &place.log("kubeadm-join")))
            };
        }
        place.check_alive(runtime::KUBELET)?;
        if Instant::now() > deadline {
            let log = place.log("kubeadm-join");
            bail!(
                "kubeadm join does not end; it said last: {}\n  log: {}",
                crate::failure::sentence(&log),
                log.display()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The arguments of the command that the tenant's kubeadm prints: `join HOST:PORT --token ...`.
fn join_arguments(tenant: &Tenant, kubeconfig: &Path) -> Result<Vec<String>> {
    let what = format!("making a bootstrap token in tenant {}", tenant.reference());
    let mut create = Command::new(layout::kubernetes(&tenant.version, "kubeadm"));
    create.args(["token", "create", "--print-join-command", "--ttl=1h", "--kubeconfig"]).arg(kubeconfig);
    parse(&command::output(&what, &mut create)?)
}

fn parse(said: &str) -> Result<Vec<String>> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("kubeadm "));
    let arguments: Vec<String> = line.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if arguments.first().is_none_or(|first| first != "join") {
        bail!("`kubeadm token create --print-join-command` printed no join command");
    }
    Ok(arguments)
}

/// Removes the Node from its tenant.
pub fn forget_node(worker: &Worker, tenant: &Kubectl) -> Result<()> {
    let arguments = ["delete", "node", &worker.node(), "--ignore-not-found", "--request-timeout=10s"];
    tenant.run("removing the Node", &arguments).map(drop)
}

/// Waits until the Node is ready; says why it is not.
pub fn wait_ready(worker: &Worker, tenant: &Kubectl) -> Result<()> {
    let node = format!("node/{}", worker.node());
    let ready = tenant.wait("waiting for the Node", &[&node], "condition=Ready", 120);
    let Err(error) = ready else { return Ok(()) };
    worker.place().check_alive(runtime::KUBELET)?;
    let template = "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    match tenant.run("asking for the Node", &["get", &node, template]) {
        Ok(message) if !message.is_empty() => bail!("{node} is not ready: {message}"),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn takes_the_join_command_from_among_warnings() {
        let said =
            "W0101 12:00:00 something\nkubeadm join h:6443 --token a.b --discovery-token-ca-cert-hash sha256:1 \n";
        assert_eq!(
            parse(said).unwrap(),
            ["join", "h:6443", "--token", "a.b", "--discovery-token-ca-cert-hash", "sha256:1"]
        );
    }

    #[test]
    fn a_failure_is_no_join_command() {
        assert!(parse("error\n").is_err());
    }
}
