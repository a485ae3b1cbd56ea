//! The cgroup that holds every process of the cluster, so that all of them can be found and ended.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::NODE;

const ROOT: &str = "/sys/fs/cgroup";
/// Child for the daemons; the kubelet makes `kubepods` beside it. A version 2 cgroup with children holds no process.
const DAEMONS: &str = "system";

/// Makes the cgroup in every hierarchy.
pub fn create() -> Result<()> {
    for hierarchy in hierarchies() {
        for dir in [hierarchy.join(NODE), hierarchy.join(NODE).join(DAEMONS)] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create the cgroup {}", dir.display()))?;
            // A version 1 cpuset takes no process before it has processors and memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let parent = dir.parent().unwrap_or(&hierarchy).join(file);
                if hierarchy.join("cpuset.sched_load_balance").exists() && parent.exists() {
                    fs::write(dir.join(file), fs::read(parent)?)?;
                }
            }
        }
        // Version 2 hands a controller to children only when told; one that this kernel lacks is no loss.
        for dir in [hierarchy.clone(), hierarchy.join(NODE)] {
            for controller in ["+cpu", "+cpuset", "+memory", "+pids", "+io", "+hugetlb"] {
                let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
            }
        }
    }
    Ok(())
}

/// Moves a daemon into the cgroup; its children follow.
pub fn adopt(pid: u32) -> Result<()> {
    for hierarchy in hierarchies() {
        let procs = hierarchy.join(NODE).join(DAEMONS).join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .with_context(|| format!("cannot move process {pid} into {}", procs.display()))?;
    }
    Ok(())
}

/// Kills whatever is left in the cgroup and removes it.
pub fn remove() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let members = members();
        if members.is_empty() {
            break;
        }
        for pid in &members {
            if let Some(pid) = Pid::from_raw(*pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if Instant::now() > deadline {
            bail!("processes {members:?} of the local cluster do not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for dir in trees() {
        remove_tree(&dir, deadline)?;
    }
    Ok(())
}

/// The processes in the cgroup and below it.
fn members() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for tree in trees() {
        visit(&tree, &mut |dir| {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
        });
    }
    found
}

fn remove_tree(tree: &Path, deadline: Instant) -> Result<()> {
    let mut dirs = Vec::new();
    visit(tree, &mut |dir| dirs.push(dir.to_owned()));
    for dir in dirs.iter().rev() {
        // A process that has just died may hold its cgroup for a moment.
        while let Err(error) = fs::remove_dir(dir) {
            if error.kind() == std::io::ErrorKind::NotFound {
                break;
            }
            if Instant::now() > deadline {
                bail!("cannot remove the cgroup {}: {error}", dir.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn visit(dir: &Path, each: &mut dyn FnMut(&Path)) {
    each(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), each);
        }
    }
}

fn trees() -> Vec<PathBuf> {
    hierarchies().into_iter().map(|hierarchy| hierarchy.join(NODE)).filter(|dir| dir.exists()).collect()
}

/// The one hierarchy of version 2, or each of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    real.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}
