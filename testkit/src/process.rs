//! Starts a part as a child process that cannot outlive the test.
//!
//! Three ways out, all covered: the [`Process`] is dropped (its process group is killed), the test panics (it is
//! dropped), the test binary is killed (the kernel kills the child, see [`Process::start`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::time::Instant;

/// How often a part is asked whether it is ready.
const POLL: Duration = Duration::from_millis(15);
/// How much of a log an error carries.
const TAIL_BYTES: i64 = 8 * 1024;
const TAIL_LINES: usize = 15;

/// Why a part did not start, or does not obey.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program's file does not exist.
    #[error("{} is not there: `cargo xtask test` builds the parts that tests need", program.display())]
    Missing {
        /// The file that was to be run.
        program: PathBuf,
    },
    /// The operating system did not start it.
    #[error("{name} could not be started: setpriv (package util-linux) must be installed")]
    Spawn {
        /// Name of the part.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its log file could not be opened.
    #[error("the log file {} could not be opened", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended while somebody waited for it.
    #[error("{name} ended with {status} before it was ready. Its log {} ends with:\n{tail}", log.display())]
    Exited {
        /// Name of the part.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// Last lines of the log.
        tail: String,
    },
    /// It runs but did not become ready in time.
    #[error("{name} was not ready after {seconds} s ({last}). Its log {} ends with:\n{tail}", log.display())]
    NotReady {
        /// Name of the part.
        name: String,
        /// How long it was waited for, in seconds.
        seconds: u64,
        /// What the last question was answered with.
        last: String,
        /// Its log file.
        log: PathBuf,
        /// Last lines of the log.
        tail: String,
    },
    /// A signal could not be sent, or the end could not be awaited.
    #[error("{name} could not be signalled")]
    Signal {
        /// Name of the part.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Spawn { .. } => "spawn",
            Self::Log { .. } => "log",
            Self::Exited { .. } => "exited",
            Self::NotReady { .. } => "not_ready",
            Self::Signal { .. } => "signal",
        }
    }

    /// Whether the part ended because another process had taken its port: worth another try with another port.
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Exited { tail, .. } if tail.contains("address already in use"))
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name for messages, for example `etcd-0`.
    pub name: String,
    /// File of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables, added to this process's own.
    pub env: Vec<(String, String)>,
    /// File that standard output and standard error are appended to.
    pub log: PathBuf,
}

/// A running child process with its own process group; killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts it and returns at once; [`Process::wait_ready`] waits until it serves.
    ///
    /// When this process dies, even by SIGKILL, the kernel kills the child (`PR_SET_PDEATHSIG`, set by setpriv).
    /// That signal follows the thread that started the child, not the process, so one thread that never ends
    /// starts all children.
    pub fn start(launch: &Launch) -> Result<Self, Error> {
        if !launch.program.exists() {
            return Err(Error::Missing { program: launch.program.clone() });
        }
        let log_error = |source| Error::Log { path: launch.log.clone(), source };
        let out = OpenOptions::new().create(true).append(true).open(&launch.log).map_err(log_error)?;
        let err = out.try_clone().map_err(log_error)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&launch.program)
            .args(&launch.args)
            .envs(launch.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let spawn_error = |source| Error::Spawn { name: launch.name.clone(), source };
        let mut child = spawn(command).map_err(spawn_error)?;
        let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            child.kill().map_err(spawn_error)?;
            return Err(spawn_error(io::Error::other("the process id is out of range")));
        };
        Ok(Self { name: launch.name.clone(), log: launch.log.clone(), child, group })
    }

    /// Its process id, which is also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log, or a sentence that says why they cannot be read.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }

    /// How it ended, or nothing while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(|source| Error::Signal { name: self.name.clone(), source })
    }

    /// Asks `probe` until it answers `Ok`, at most for `timeout`. `Err` of the probe says why it is not ready yet.
    ///
    /// Fails at once when the process ends. The error ends with the last lines of its log.
    pub async fn wait_ready<F, P>(&mut self, timeout: Duration, mut probe: F) -> Result<(), Error>
    where
        F: FnMut() -> P,
        P: Future<Output = Result<(), String>>,
    {
        let deadline = Instant::now() + timeout;
        let mut last = "it was not asked yet".to_owned();
        loop {
            if let Some(status) = self.exited()? {
                return Err(Error::Exited {
                    name: self.name.clone(),
                    status,
                    log: self.log.clone(),
                    tail: tail(&self.log),
                });
            }
            match tokio::time::timeout_at(deadline, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(reason)) => last = reason,
                Err(_elapsed) => {}
            }
            if Instant::now() >= deadline {
                return Err(Error::NotReady {
                    name: self.name.clone(),
                    seconds: timeout.as_secs(),
                    last,
                    log: self.log.clone(),
                    tail: tail(&self.log),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Freezes it (SIGSTOP): connections stay open and are answered no more. Returns when its last thread has stopped.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        // Without NOWAIT an end in the meantime would be consumed here, and missed by whoever asks for it next.
        let states = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.group), states).map_err(|errno| self.signal_error(errno))?;
        Ok(())
    }

    /// Ends a [`Process::pause`] (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM) and returns at once; [`Process::exited`] tells how it ended.
    pub fn terminate(&self) -> Result<(), Error> {
        self.signal(Signal::TERM)
    }

    /// Asks it to end (SIGTERM), waits for at most `grace`, then kills it. Returns when it is gone.
    pub async fn stop(mut self, grace: Duration) -> Result<(), Error> {
        self.terminate()?;
        let deadline = Instant::now() + grace;
        while self.exited()?.is_none() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process_group(self.group, signal).map_err(|errno| self.signal_error(errno))
    }

    fn signal_error(&self, errno: Errno) -> Error {
        Error::Signal { name: self.name.clone(), source: errno.into() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that was already reaped must not be signalled: its id may belong to somebody else by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing can be done about a failure here, and the parent-death signal still stands.
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

static SPAWNER: LazyLock<mpsc::Sender<Spawn>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Spawn>();
    // If the thread does not start, the receiver is gone and every send says so.
    let _ = std::thread::Builder::new().name("testkit-spawner".to_owned()).spawn(move || {
        for (mut command, answer) in receiver {
            let _ = answer.send(command.spawn());
        }
    });
    sender
});

fn spawn(command: Command) -> io::Result<Child> {
    let (sender, receiver) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    SPAWNER.send((command, sender)).map_err(|_| gone())?;
    receiver.recv().map_err(|_| gone())?
}

/// The last lines of a file, or a sentence that says why they cannot be read.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        file.seek(SeekFrom::End(-length.min(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let skipped = lines.len().saturating_sub(TAIL_LINES);
            lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("(the log cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(folder: &Path, program: &str, args: &[&str]) -> Launch {
        Launch {
            name: "part".to_owned(),
            program: program.into(),
            args: args.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            log: folder.join("part.log"),
        }
    }

    /// State letter of a process, or nothing when it is gone (`proc_pid_stat(5)`).
    fn state(id: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    #[tokio::test]
    async fn error_of_a_part_that_ends_carries_its_last_words() {
        let folder = crate::scratch::folder("process").unwrap();
        let mut process =
            Process::start(&launch(folder.path(), "/bin/sh", &["-c", "echo bind: address already in use; exit 3"]))
                .unwrap();
        let error =
            process.wait_ready(Duration::from_secs(10), || async { Err("not yet".to_owned()) }).await.unwrap_err();
        assert_eq!(error.category(), "exited");
        assert!(error.to_string().ends_with("bind: address already in use"), "{error}");
        assert!(error.is_address_in_use());
    }

    #[tokio::test]
    async fn error_of_a_part_that_never_is_ready_carries_the_last_answer() {
        let folder = crate::scratch::folder("process").unwrap();
        let mut process = Process::start(&launch(folder.path(), "/bin/sleep", &["60"])).unwrap();
        let error = process
            .wait_ready(Duration::from_millis(100), || async { Err("status 500".to_owned()) })
            .await
            .unwrap_err();
        assert_eq!(error.category(), "not_ready");
        assert!(error.to_string().contains("status 500"), "{error}");
    }

    #[test]
    fn refuses_a_program_that_is_not_there() {
        let folder = crate::scratch::folder("process").unwrap();
        let error = Process::start(&launch(folder.path(), "/nonexistent/etcd", &[])).unwrap_err();
        assert_eq!(error.category(), "missing");
    }

    #[test]
    fn kills_the_whole_group_on_drop() {
        let folder = crate::scratch::folder("process").unwrap();
        let process = Process::start(&launch(folder.path(), "/bin/sh", &["-c", "sleep 60 & echo $!; wait"])).unwrap();
        let grandchild: u32 = loop {
            if let Ok(id) = tail(process.log()).trim().parse() {
                break id;
            }
        };
        assert!(state(grandchild).is_some());
        drop(process);
        // Its new parent may not have reaped it yet.
        while !matches!(state(grandchild), None | Some('Z')) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn outlives_the_thread_that_asked_for_it() {
        let folder = crate::scratch::folder("process").unwrap();
        let launch = launch(folder.path(), "/bin/sleep", &["60"]);
        let mut process = std::thread::spawn(move || Process::start(&launch).unwrap()).join().unwrap();
        // A wrong parent-death signal arrives when the thread ends, which was before join returned.
        assert!(process.exited().unwrap().is_none());
    }

    #[test]
    fn is_stopped_when_pause_returns() {
        let folder = crate::scratch::folder("process").unwrap();
        let process = Process::start(&launch(folder.path(), "/bin/sleep", &["60"])).unwrap();
        for _ in 0..10 {
            process.pause().unwrap();
            assert_eq!(state(process.id()), Some('T'));
            process.resume().unwrap();
        }
    }

    #[tokio::test]
    async fn kills_what_ignores_a_request_to_end() {
        let folder = crate::scratch::folder("process").unwrap();
        let process = Process::start(&launch(
            folder.path(),
            "/bin/sh",
            &["-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
        ))
        .unwrap();
        while tail(process.log()).trim() != "ready" {
            tokio::task::yield_now().await;
        }
        let id = process.id();
        process.stop(Duration::from_millis(100)).await.unwrap();
        assert_eq!(state(id), None);
    }
}
