//! Debian packages that the build and the node need, installed only if missing.

use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::Progress;
use crate::{command, parts};

/// Each with why it is needed.
const PACKAGES: [(&str, &str); 11] = [
    ("ca-certificates", "kube-apiserver's image"),
    ("gcc", "pause, and C parts of Rust crates"),
    ("libc6-dev", "pause, and C parts of Rust crates"),
    ("pkg-config", "runc"),
    ("libseccomp-dev", "runc"),
    ("protobuf-compiler", "the etcd client"),
    ("libprotobuf-dev", "the etcd client"),
    ("iproute2", "the node's link"),
    ("nftables", "kube-proxy"),
    ("iptables", "kube-proxy's image"),
    ("busybox-static", "the images of busybox and kine"),
];

/// What is needed only for something that is named: the image of a part, or [`DATABASES`].
const NAMED: [(&str, &[&str]); 2] =
    [("agnhost", &["bind9-dnsutils", "curl", "netcat-openbsd"]), (DATABASES, &["postgresql", "mariadb-server"])];

/// Names the database servers that the tests of the datastore drivers start.
pub const DATABASES: &str = "databases";

/// Installs what is missing with apt-get.
pub fn ensure(progress: &Progress) -> Result<()> {
    ensure_with(&[], progress)
}

/// As [`ensure`], with what these named things need.
pub fn ensure_with(parts: &[String], progress: &Progress) -> Result<()> {
    let wanted = PACKAGES.iter().map(|(name, _)| *name);
    let named = NAMED.iter().filter(|(part, _)| parts.iter().any(|wanted| wanted == part));
    let wanted = wanted.chain(named.flat_map(|(_, packages)| packages.iter().copied()));
    let missing: Vec<&str> = wanted.filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        bail!(
            "this machine lacks packages and has no apt-get; install what its distribution calls {}",
            missing.join(", ")
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("system packages are missing; run as root: apt-get install --yes {}", missing.join(" "));
    }
    let step = progress.step("system packages");
    let log = parts::log_dir().join("packages.log");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    // Stale lists are no failure if the packages can still be had.
    let _ = command::logged("updating package lists", apt().arg("update"), &log, |line| step.note(line));
    let mut install = apt();
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    command::logged("installing system packages", &mut install, &log, |line| step.note(line))?;
    step.done(&missing.join(" "));
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).output();
    query.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).ends_with(" installed"))
}
