//! CPU time and memory of a process, as its kernel counts them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// CPU time since it started.
    pub cpu: Duration,
    /// Bytes of memory of its own, not backed by a file: `RssAnon`.
    pub anonymous_bytes: u64,
}

/// Clock ticks per second in `/proc/<pid>/stat`: a constant of Linux's ABI to user space (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Reads both; `None` when the process has ended.
pub fn of(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu: cpu(pid)?, anonymous_bytes: anonymous_bytes(&status)? })
}

/// The cgroup counts in nanoseconds or microseconds and forgets no thread, but only of the process when it is alone in
/// there. Else the clock ticks of the process.
fn cpu(pid: u32) -> Option<Duration> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let counted = cgroup_folders(&cgroups).into_iter().find_map(|folder| {
        let members = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
        if members.trim() == pid.to_string() { cpu_of(&folder) } else { None }
    });
    counted.or_else(|| ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
}

/// CPU time of all processes in a cgroup and below it.
pub fn cpu_of(folder: &Path) -> Option<Duration> {
    let nanoseconds = fs::read_to_string(folder.join("cpuacct.usage")).ok();
    nanoseconds.and_then(|text| text.trim().parse().ok().map(Duration::from_nanos)).or_else(|| {
        let stat = fs::read_to_string(folder.join("cpu.stat")).ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        line.trim().parse().ok().map(Duration::from_micros)
    })
}

/// The outermost cgroup that holds the process: of the whole cluster, where that has one.
pub fn outermost_cgroup(pid: u32) -> Option<PathBuf> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let outermost = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.rsplit_once(':')?;
        let first = path.trim_start_matches('/').split('/').next().filter(|first| !first.is_empty())?;
        Some(format!("{controllers}:/{first}\n"))
    });
    cgroup_folders(&outermost.collect::<String>()).into_iter().find(|folder| cpu_of(folder).is_some())
}

/// Folders of the process's CPU accounting: version 1 names its controller, version 2 is line `0::`.
fn cgroup_folders(cgroups: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut folders = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "cpuacct") {
            folders.push(root.join(controllers).join(path));
            folders.push(root.join("cpuacct").join(path));
        } else if controllers.is_empty() {
            folders.push(root.join(path));
        }
    }
    folders
}

/// User and system time: fields 14 and 15, counted behind the command's name, which may hold anything.
fn ticks(stat: &str) -> Option<Duration> {
    let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_user_and_system_time_behind_a_hostile_command_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 126 0 0 0 250 125 0 0 20 0 9 0 203604 3133440 410";
        assert_eq!(ticks(stat), Some(Duration::from_millis(3750)));
        assert_eq!(anonymous_bytes("VmRSS:\t 2140 kB\nRssAnon:\t     148 kB\n"), Some(148 * 1024));
    }

    #[test]
    fn finds_the_accounting_of_both_cgroup_versions() {
        let folders = cgroup_folders("4:cpu,cpuacct:/a/b\n3:memory:/a/b\n0::/c\n");
        let expected = ["/sys/fs/cgroup/cpu,cpuacct/a/b", "/sys/fs/cgroup/cpuacct/a/b", "/sys/fs/cgroup/c"];
        assert_eq!(folders, expected.map(PathBuf::from));
    }

    #[test]
    fn reads_this_very_process() {
        let usage = of(std::process::id()).unwrap();
        assert!(usage.anonymous_bytes > 10_000);
    }
}
