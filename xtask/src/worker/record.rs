//! What is remembered of a worker. Written before anything else of it is made, removed after everything else.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::tenant::Tenant;
use crate::cluster::cgroup::Cgroup;
use crate::cluster::daemon::Place;
use crate::cluster::{RUN, state};

/// As many as addresses that are set aside for them.
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=200;
/// The first worker's address ends with the next number.
const FIRST_ADDRESS: u8 = 10;

const RECORD: &str = "worker.json";
/// Exists once the Node was Ready.
const JOINED: &str = "joined";

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Different from that of every other worker here.
    pub number: u8,
    /// NAMESPACE/NAME of the TenantControlPlane.
    pub tenant: String,
    /// Kubernetes version, without a leading `v`.
    pub version: String,
    /// Whether it is behind the router.
    pub isolated: bool,
    /// Whether its pods have IPv6 addresses, too.
    pub dual_stack: bool,
}

impl Worker {
    /// Takes a free number and writes the record.
    ///
    /// # Errors
    /// When there are as many workers as can be, or the record cannot be written.
    pub fn allocate(tenant: &Tenant, version: &str, isolated: bool) -> Result<Self> {
        let taken: Vec<u8> = all().iter().map(|worker| worker.number).collect();
        let Some(number) = NUMBERS.into_iter().find(|number| !taken.contains(number)) else {
            bail!("there are {} workers; remove one with `cargo xtask worker remove`", taken.len());
        };
        let worker = Self {
            number,
            tenant: tenant.reference(),
            version: version.to_owned(),
            isolated,
            dual_stack: tenant.pod_cidrs.iter().any(|cidr| cidr.contains(':')),
        };
        // What a crash left of an earlier one without a record.
        worker.forget()?;
        let dir = worker.dir();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(dir.join("worker.json.new"), worker.to_json().to_string())?;
        fs::rename(dir.join("worker.json.new"), dir.join(RECORD))?;
        Ok(worker)
    }

    /// Name of its Node.
    pub fn node(&self) -> String {
        format!("worker-{}", self.number)
    }

    /// Folder of its state.
    pub fn dir(&self) -> PathBuf {
        state("workers").join(self.id())
    }

    /// Where its daemons are.
    pub fn place(&self) -> Place {
        let run = Path::new(RUN).join("workers").join(self.id());
        Place { run, logs: self.dir().join("logs"), cgroup: Cgroup::below(&self.id()) }
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> [String; 2] {
        let host = self.number + FIRST_ADDRESS;
        if self.isolated {
            [format!("10.77.2.{host}"), format!("fd77:0:0:2::{host}")]
        } else {
            [format!("10.77.0.{host}"), format!("fd77::{host}")]
        }
    }

    /// Remembers that it has joined.
    pub fn mark_joined(&self) -> Result<()> {
        Ok(fs::write(self.dir().join(JOINED), "")?)
    }

    /// Whether it has joined.
    pub fn is_joined(&self) -> bool {
        self.dir().join(JOINED).exists()
    }

    /// Says, as long as the value lives, that a command is making this worker.
    pub fn hold(&self) -> Result<File> {
        let file = self.lock_file()?;
        file.try_lock().with_context(|| format!("worker {} is being made by another command", self.node()))?;
        Ok(file)
    }

    /// Whether the command that made it ended before it had joined.
    pub fn is_abandoned(&self) -> bool {
        let is_held = || matches!(self.lock_file().map(|file| file.try_lock()), Ok(Err(TryLockError::WouldBlock)));
        !self.is_joined() && !is_held()
    }

    /// Removes its files.
    pub fn forget(&self) -> Result<()> {
        for folder in [self.place().run, self.dir()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        Ok(())
    }

    fn id(&self) -> String {
        format!("{}-{}", self.tenant.replace('/', "-"), self.number)
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.dir().join("lock");
        let file = File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("cannot open {}", path.display()))
    }

    fn to_json(&self) -> Value {
        json!({
            "number": self.number,
            "tenant": self.tenant,
            "version": self.version,
            "isolated": self.isolated,
            "dualStack": self.dual_stack,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let flag = |key: &str| value.get(key)?.as_bool();
        Some(Self {
            number: value.get("number")?.as_u64()?.try_into().ok()?,
            tenant: text("tenant")?,
            version: text("version")?,
            isolated: flag("isolated")?,
            dual_stack: flag("dualStack")?,
        })
    }
}

/// All workers here, by number.
pub fn all() -> Vec<Worker> {
    let folders = fs::read_dir(state("workers")).into_iter().flatten().flatten();
    let read = |folder: &Path| Worker::from_json(&serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?);
    let mut workers: Vec<Worker> = folders.filter_map(|folder| read(&folder.path())).collect();
    workers.sort_by_key(|worker| worker.number);
    workers
}

/// Those of one tenant.
pub fn of(tenant: &str) -> Vec<Worker> {
    all().into_iter().filter(|worker| worker.tenant == tenant).collect()
}

#[cfg(test)]
mod tests {
    use super::Worker;

    fn worker(isolated: bool) -> Worker {
        Worker { number: 3, tenant: "a/b".into(), version: "1.36.3".into(), isolated, dual_stack: false }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let worker = worker(true);
        assert_eq!(Worker::from_json(&worker.to_json()), Some(worker));
    }

    #[test]
    fn an_isolated_worker_has_no_address_in_the_nodes_network() {
        assert_eq!(worker(false).addresses(), ["10.77.0.13", "fd77::13"]);
        assert_eq!(worker(true).addresses(), ["10.77.2.13", "fd77:0:0:2::13"]);
    }
}
