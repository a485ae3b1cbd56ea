//! What must be there before anything starts. Each missing thing is named, with the way out.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{layout, workspace};

const GIB: u64 = 1 << 30;
/// Memory of the machine, in bytes. A little less than 8 GiB, since firmware keeps some.
const MEMORY: u64 = 15 * GIB / 2;
/// Free disk space, in bytes, where there is nothing yet.
const DISK: u64 = 20 * GIB;
/// The same, once the parts are built.
const DISK_WHEN_BUILT: u64 = 4 * GIB;
/// Free disk space, in bytes, for everything that cargo builds for the tests, where it has built nothing yet.
const TARGETS: u64 = 15 * GIB;
/// The Go release that the parts' modules ask for.
const GO: (u32, u32) = (1, 26);

/// What a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Building parts.
    Parts,
    /// A local cluster.
    Cluster,
}

/// Checks everything and names all that is missing at once.
pub fn check(need: Need) -> Result<()> {
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("Linux: the real kubelet and containerd run nowhere else".to_owned());
    }
    missing.extend(go_problem(Command::new("go").args(["env", "GOVERSION", "GOTOOLCHAIN"]).output().ok()));
    let disk = if layout::kubectl().exists() { DISK_WHEN_BUILT } else { DISK };
    missing.extend(disk_problem(&layout::cache_dir(), disk));
    if need == Need::Cluster {
        if !rustix::process::geteuid().is_root() {
            missing.push("root: the node makes links, cgroups and mounts; run this as root, for example with `sudo -E env PATH=\"$PATH\"`".into());
        }
        missing.extend(memory_problem(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()));
        missing.extend(disk_problem(Path::new("/var/lib"), disk));
        if !Path::new("/sys/fs/cgroup/cgroup.procs").exists() && !Path::new("/sys/fs/cgroup/memory").exists() {
            missing.push("cgroups: nothing is mounted on /sys/fs/cgroup".into());
        }
    }
    told(&missing)
}

/// Checks that cargo's target folder has room for the tests: a full disk shows itself late, as pods that are evicted.
pub fn check_tests() -> Result<()> {
    let targets = workspace::target_dir()?;
    let wanted = if targets.join("debug/kamaji").exists() { DISK_WHEN_BUILT } else { TARGETS };
    told(&disk_problem(&targets, wanted).into_iter().collect::<Vec<_>>())
}

fn told(missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine lacks something that is needed:\n  - {}", missing.join("\n  - "))
}

fn go_problem(output: Option<std::process::Output>) -> Option<String> {
    let (major, minor) = GO;
    let Some(output) = output.filter(|output| output.status.success()) else {
        return Some(format!(
            "Go: no `go` command in PATH; install Go {major}.{minor} or newer from https://go.dev/dl"
        ));
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (version, toolchain) = text.split_once('\n').unwrap_or((&text, ""));
    // Other settings let an older Go fetch the toolchain that a module asks for.
    let is_enough = go_version(version).is_none_or(|found| found >= GO) || toolchain.trim() != "local";
    (!is_enough)
        .then(|| format!("Go {major}.{minor} or newer: found {}, and GOTOOLCHAIN=local keeps it", version.trim()))
}

fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn memory_problem(meminfo: &str) -> Option<String> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let bytes = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    (bytes < MEMORY)
        .then(|| format!("8 GiB of memory: this machine has {}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB))
}

fn disk_problem(folder: &Path, wanted: u64) -> Option<String> {
    let existing = folder.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    (free < wanted)
        .then(|| format!("{} GiB of free disk at {}: there are {} GiB", wanted / GIB, existing.display(), free / GIB))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitStatus, Output};

    use super::{disk_problem, go_problem, go_version, memory_problem};

    fn output(code: i32, text: &str) -> Output {
        Output { status: ExitStatus::from_raw(code), stdout: text.into(), stderr: Vec::new() }
    }

    #[test]
    fn a_machine_without_go_is_told_which_release_it_needs_and_where_it_is() {
        let told = "Go: no `go` command in PATH; install Go 1.26 or newer from https://go.dev/dl";
        assert_eq!(go_problem(None).as_deref(), Some(told));
        assert_eq!(go_problem(Some(output(1 << 8, ""))).as_deref(), Some(told), "one that fails is none");
    }

    #[test]
    fn an_older_go_will_do_unless_it_may_fetch_no_other() {
        assert_eq!(go_problem(Some(output(0, "go1.26.0\nlocal\n"))), None);
        assert_eq!(go_problem(Some(output(0, "go1.24.4\nauto\n"))), None);
        let told = "Go 1.26 or newer: found go1.24.4, and GOTOOLCHAIN=local keeps it";
        assert_eq!(go_problem(Some(output(0, "go1.24.4\nlocal\n"))).as_deref(), Some(told));
    }

    #[test]
    fn too_little_disk_is_named_at_the_nearest_folder_that_exists() {
        let there = std::env::temp_dir();
        let wanted = there.join("kamaji-no-such-folder/of-parts");
        assert_eq!(disk_problem(&wanted, 0), None);
        let told = disk_problem(&wanted, u64::MAX).unwrap();
        let begin = format!("17179869183 GiB of free disk at {}: there are ", there.display());
        assert!(told.starts_with(&begin) && told.ends_with(" GiB"), "{told}");
    }

    #[test]
    fn too_little_memory_is_named_in_gibibytes() {
        let problem = memory_problem("MemTotal:        4035584 kB\nMemFree: 1 kB\n").unwrap();
        assert_eq!(problem, "8 GiB of memory: this machine has 3.8 GiB");
        assert_eq!(memory_problem("MemTotal: 8035584 kB\n"), None);
    }

    #[test]
    fn reads_release_and_patch_versions_of_go() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.27rc1"), None);
    }
}
