//! A process that outlives this command: started detached, found again by its pid file, ended by its pid.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::cgroup::Cgroup;
use super::{RUN, log_dir};
use crate::failure;

/// Every daemon in the order in which they are started; they are stopped in the reverse order.
pub const NAMES: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kube-proxy",
    "kubelet",
    "add-ons",
];

/// How long a daemon may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Where the daemons of one machine, real or played, keep their pid files and logs, and which cgroup they are in.
#[derive(Debug, Clone)]
pub struct Place {
    /// Folder of the pid files.
    pub run: PathBuf,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Their cgroup.
    pub cgroup: Cgroup,
}

/// What to run.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    place: Place,
    program: PathBuf,
    arguments: Vec<String>,
    path: Option<String>,
    /// Files that it reads once, when it starts.
    inputs: Vec<PathBuf>,
}

/// What the pid file says.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    pid: i32,
    /// Clock ticks from boot to the start of the process: a reused pid has another.
    started: u64,
    fingerprint: u64,
}

impl Place {
    /// That of the management cluster's node.
    pub fn node() -> Self {
        Self { run: RUN.into(), logs: log_dir(), cgroup: Cgroup::cluster() }
    }

    /// Log of a daemon.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// The process of a daemon, if it runs.
    pub fn pid(&self, name: &str) -> Option<i32> {
        read(&self.pid_file(name)).filter(is_alive).map(|record| record.pid)
    }

    /// Fails with the sentence of its log when a daemon that was started has ended.
    pub fn check_alive(&self, name: &str) -> Result<()> {
        if read(&self.pid_file(name)).is_none_or(|record| is_alive(&record)) {
            return Ok(());
        }
        let log = self.log(name);
        bail!("{name} ended: {}\n  log: {}", failure::sentence(&log), log.display())
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.pid"))
    }
}

impl Daemon {
    /// A daemon of the management cluster called `name`, one of [`NAMES`].
    pub fn new(name: &'static str, program: PathBuf) -> Self {
        Self::at(Place::node(), name, program)
    }

    /// A daemon of another machine.
    pub fn at(place: Place, name: &'static str, program: PathBuf) -> Self {
        Self { name, place, program, arguments: Vec::new(), path: None, inputs: Vec::new() }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments, `name=value` with two dashes in front.
    pub fn flags<V: AsRef<str>>(mut self, flags: &[(&str, V)]) -> Self {
        self.arguments.extend(flags.iter().map(|(name, value)| format!("--{name}={}", value.as_ref())));
        self
    }

    /// Names a file that the daemon reads when it starts: another content restarts it.
    pub fn input(mut self, file: PathBuf) -> Self {
        self.inputs.push(file);
        self
    }

    /// Puts a folder in front of its `PATH`.
    pub fn path(mut self, folders: &[PathBuf]) -> Self {
        let inherited = std::env::var("PATH").unwrap_or_default();
        let mut all: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        all.push(inherited);
        self.path = Some(all.join(":"));
        self
    }

    /// Starts the daemon unless it already runs in this very form. Returns whether it was started.
    pub fn ensure(&self) -> Result<bool> {
        let fingerprint = self.fingerprint();
        let pid_file = self.place.pid_file(self.name);
        match read(&pid_file) {
            Some(record) if is_alive(&record) && record.fingerprint == fingerprint => return Ok(false),
            Some(_) => end(&self.place, self.name, &[Signal::TERM, Signal::KILL])?,
            None => {}
        }
        let log = self.place.log(self.name);
        fs::create_dir_all(&self.place.logs)?;
        fs::create_dir_all(&self.place.run)?;
        // One log per start: what an earlier process wrote would be taken for this one's last words.
        if log.exists() {
            fs::rename(&log, log.with_extension("log.previous"))?;
        }
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // In a session of its own, Ctrl-C in the terminal does not reach it. The process is no group leader, so
        // setsid(1) does not fork and the pid stays the daemon's.
        let mut command = Command::new("setsid");
        command.arg(&self.program).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).current_dir("/");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let pid = child.id();
        self.place.cgroup.adopt(pid)?;
        let raw = i32::try_from(pid)?;
        let started = start_time(raw).unwrap_or_default();
        fs::write(pid_file, format!("{raw} {started} {fingerprint}\n"))?;
        Ok(true)
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.arguments.hash(&mut hasher);
        self.path.hash(&mut hasher);
        self.program.hash(&mut hasher);
        if let Ok(meta) = fs::metadata(&self.program) {
            (meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
        }
        for input in &self.inputs {
            fs::read(input).unwrap_or_default().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Log of a daemon.
pub fn log(name: &str) -> PathBuf {
    Place::node().log(name)
}

/// The daemons that were started and do not run any more.
pub fn dead() -> Vec<&'static str> {
    let node = Place::node();
    let is_dead = |name: &&str| read(&node.pid_file(name)).is_some_and(|record| !is_alive(&record));
    NAMES.into_iter().filter(is_dead).collect()
}

/// Forgets daemons that ended before: from now on, one that is dead has died under our eyes.
pub fn forget_dead() -> Result<()> {
    dead().into_iter().try_for_each(stop)
}

/// Asks a daemon to end, waits, and ends it by force if it must.
pub fn stop(name: &str) -> Result<()> {
    end(&Place::node(), name, &[Signal::TERM, Signal::KILL])
}

/// Ends a daemon whose state nobody needs any more.
pub fn kill(name: &str) -> Result<()> {
    end(&Place::node(), name, &[Signal::KILL])
}

fn end(place: &Place, name: &str, signals: &[Signal]) -> Result<()> {
    let pid_file = place.pid_file(name);
    if let Some(record) = read(&pid_file)
        && is_alive(&record)
        && let Some(pid) = Pid::from_raw(record.pid)
    {
        let handle = pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("cannot watch {name}"))?;
        let timeout = Timespec { tv_sec: i64::try_from(GRACE.as_secs())?, tv_nsec: 0 };
        for signal in signals {
            let _ = kill_process(pid, *signal);
            if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout))? > 0 {
                break;
            }
        }
    }
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn read(pid_file: &Path) -> Option<Record> {
    let text = fs::read_to_string(pid_file).ok()?;
    let mut fields = text.split_whitespace();
    Some(Record {
        pid: fields.next()?.parse().ok()?,
        started: fields.next()?.parse().ok()?,
        fingerprint: fields.next()?.parse().ok()?,
    })
}

fn is_alive(record: &Record) -> bool {
    start_time(record.pid) == Some(record.started)
}

/// When the process started; nothing if there is none, or only its zombie.
fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold spaces: count from behind it. See proc_pid_stat(5), fields 3 and 22.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_stat;

    #[test]
    fn reads_the_start_time_behind_a_name_with_spaces() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4 1 0 0 0 1 2 3 4 20 0 1 0 4711 1000 5";
        assert_eq!(parse_stat(stat), Some(4711));
    }

    #[test]
    fn a_zombie_does_not_run() {
        assert_eq!(parse_stat("7 (x) Z 1 7 7 0 -1 4 1 0 0 0 1 2 3 4 20 0 1 0 4711 1000 5"), None);
    }
}
