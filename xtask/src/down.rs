//! `cargo xtask down`: no process, mount, namespace, link, cgroup or file of the local cluster is left.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::cluster::cgroup::Cgroup;
use crate::cluster::{NODE, RUN, STATE, daemon, network};
use crate::progress::Progress;

/// Folders that they make and leave empty.
const FOLDERS: [&str; 10] = [
    "/run/containerd/s",
    "/run/containerd",
    "/var/log/containers",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/plugins_registry",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/lib/modules",
];

/// Takes everything down. Works on what a crash has left, too.
pub fn run(progress: &Progress) -> Result<()> {
    let step = progress.step("local cluster");
    for name in daemon::NAMES.iter().rev() {
        step.note(&format!("stopping {name}"));
        daemon::kill(name)?;
    }
    step.note("stopping pods and workers");
    Cgroup::cluster().remove()?;
    step.note("unmounting");
    for mount in mounts(&fs::read_to_string("/proc/self/mountinfo")?).iter().rev() {
        // A pod's mounts may be gone by now, together with its namespace.
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
    step.note("removing the network");
    network::remove()?;
    step.note("removing files");
    for folder in [RUN, STATE] {
        if Path::new(folder).exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {folder}"))?;
        }
    }
    remove_traces()?;
    step.done("removed; what was built stays in the cache");
    Ok(())
}

/// What the kubelet and the network plugins write outside of our folders, whatever they are told.
fn remove_traces() -> Result<()> {
    let points_to_us = |path: &Path| fs::read_link(path).is_ok_and(|target| target.starts_with(STATE));
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if points_to_us(&entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    let is_ours = |name: &OsStr| name.as_bytes().starts_with(format!("{NODE}-").as_bytes());
    for entry in fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten() {
        if is_ours(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    let shims = fs::read_dir("/run/containerd/s").into_iter().flatten().flatten().map(|entry| entry.path());
    for socket in shims.chain([PathBuf::from("/var/lib/kubelet/device-plugins/kubelet.sock")]) {
        // Nobody listens on those of processes that were killed above.
        if UnixStream::connect(&socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            fs::remove_file(&socket)?;
        }
    }
    for folder in FOLDERS {
        // One that someone else uses is not empty, and stays.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Mount points below our folders, outermost first. See proc_pid_mountinfo(5), field 5.
fn mounts(mountinfo: &str) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    points.filter(|point| point.starts_with(STATE) || point.starts_with(RUN)).collect()
}

/// The kernel writes a space as `\040`.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::mounts;

    #[test]
    fn only_mounts_below_our_folders_are_taken_down() {
        let text = "1 0 8:1 / / rw - ext4 x rw\n\
                    2 1 0:5 / /run/kamaji-local/containerd/a\\040b rw - overlay o rw\n\
                    3 1 0:6 / /var/lib/kamaji-local-other rw - tmpfs t rw\n";
        let found: Vec<_> = mounts(text).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, ["/run/kamaji-local/containerd/a b"]);
    }
}
