//! The process whose namespaces are a worker's machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::record::Worker;
use crate::cluster::daemon::{Daemon, Place};

/// Its name among the daemons.
pub const NAME: &str = "machine";

/// How long it may take to set itself up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Folders of the state, each in the place of one that another kubelet or containerd here may use, too.
///
/// `/var/log` as well: two kubelets that share `/var/log/pods` remove each other's logs.
const SETUP: &str = r#"set -e
state=$1
echo "$2" > /proc/sys/kernel/hostname
ip link set lo up
for setting in ipv4/ip_forward ipv6/conf/all/forwarding; do
  [ ! -e "/proc/sys/net/$setting" ] || echo 1 > "/proc/sys/net/$setting"
done
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$state/etc,workdir=$state/etc.work" /etc
for folder in kubelet containerd cni; do
  mkdir -p "/var/lib/$folder"
  mount --bind "$state/$folder" "/var/lib/$folder"
done
mount --make-rshared /var/lib/kubelet
mount --bind "$state/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/containerd /etc/kubernetes/manifests /etc/cni/net.d
: > "$state/is-set-up"
exec sleep infinity
"#;

/// Starts it and waits until it is set up.
pub fn start(worker: &Worker) -> Result<()> {
    let dir = worker.dir();
    for folder in ["etc", "etc.work", "kubelet", "containerd", "cni", "log", "logs", "patches"] {
        let folder = dir.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    worker.place().cgroup.create()?;
    let node = worker.node();
    // Slave: what the machine mounts is its own, and what is unmounted outside is unmounted here, too.
    let arguments = [
        "--net",
        "--mount",
        "--uts",
        "--propagation=slave",
        "sh",
        "-c",
        SETUP,
        NAME,
        &dir.display().to_string(),
        &node,
    ]
    .map(str::to_owned);
    let daemon = arguments.into_iter().fold(Daemon::at(worker.place(), NAME, "unshare".into()), Daemon::arg);
    daemon.ensure()?;
    wait_for(&worker.place(), NAME, &dir.join("is-set-up"))
}

/// Waits until a daemon has made a file.
pub fn wait_for(place: &Place, name: &str, file: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !file.exists() {
        place.check_alive(name)?;
        if Instant::now() > deadline {
            bail!("{name} does not set itself up\n  log: {}", place.log(name).display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Its process.
///
/// # Errors
/// When it does not run.
pub fn pid(worker: &Worker) -> Result<i32> {
    let place = worker.place();
    place.check_alive(NAME)?;
    place.pid(NAME).with_context(|| format!("worker {} does not run", worker.node()))
}

/// Arguments of `nsenter` before those of a command that is to run on the machine.
pub fn entrance(worker: &Worker) -> Result<Vec<String>> {
    let target = format!("--target={}", pid(worker)?);
    Ok([&target, "--net", "--mount", "--uts", "--"].map(str::to_owned).into())
}

/// A command that runs on the machine.
pub fn command(worker: &Worker, program: &str) -> Result<Command> {
    let mut command = Command::new("nsenter");
    command.args(entrance(worker)?).arg(program);
    Ok(command)
}
