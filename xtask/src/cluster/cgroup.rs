//! The cgroup that holds every process of the cluster, so that all of them can be found and ended; each worker has one
//! of its own in it.

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

/// A cgroup by its path below the root of each hierarchy, for example `kamaji-local/workers/x`.
#[derive(Debug, Clone)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The one of the whole cluster, workers included.
    pub fn cluster() -> Self {
        Self(NODE.into())
    }

    /// One below the cluster's, so that whatever ends the cluster ends it, too.
    pub fn below(name: &str) -> Self {
        Self(Path::new(NODE).join("workers").join(name))
    }

    /// The path as a kubelet wants its `cgroupRoot`.
    pub fn absolute(&self) -> String {
        format!("/{}", self.0.display())
    }

    /// Makes it, and the child for daemons, in every hierarchy.
    pub fn create(&self) -> Result<()> {
        for hierarchy in hierarchies() {
            let mut dir = hierarchy.clone();
            for name in self.0.iter().chain([DAEMONS.as_ref()]) {
                share_controllers(&dir);
                let parent = dir.clone();
                dir.push(name);
                fs::create_dir_all(&dir).with_context(|| format!("cannot create the cgroup {}", dir.display()))?;
                // A version 1 cpuset takes no process before it has processors and memory.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let from = parent.join(file);
                    if hierarchy.join("cpuset.sched_load_balance").exists() && from.exists() {
                        fs::write(dir.join(file), fs::read(from)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a daemon into it; the daemon's children follow.
    pub fn adopt(&self, pid: u32) -> Result<()> {
        for hierarchy in hierarchies() {
            let procs = hierarchy.join(&self.0).join(DAEMONS).join("cgroup.procs");
            fs::write(&procs, pid.to_string())
                .with_context(|| format!("cannot move process {pid} into {}", procs.display()))?;
        }
        Ok(())
    }

    /// Kills whatever is left in it and removes it. Absent is as good as removed.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let members = self.members();
            if members.is_empty() {
                break;
            }
            for pid in &members {
                if let Some(pid) = Pid::from_raw(*pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            if Instant::now() > deadline {
                bail!("processes {members:?} of the cgroup {} do not end", self.absolute());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for dir in self.trees() {
            remove_tree(&dir, deadline)?;
        }
        Ok(())
    }

    /// The processes in it and below it.
    fn members(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for tree in self.trees() {
            visit(&tree, &mut |dir| {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
            });
        }
        found
    }

    fn trees(&self) -> Vec<PathBuf> {
        hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.0)).filter(|dir| dir.exists()).collect()
    }
}

/// Version 2 hands a controller to children only when told; one that this kernel lacks is no loss.
fn share_controllers(dir: &Path) {
    for controller in ["+cpu", "+cpuset", "+memory", "+pids", "+io", "+hugetlb"] {
        let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
    }
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
