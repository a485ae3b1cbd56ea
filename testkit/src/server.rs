//! What the database servers that tests start have in common: one process, certificates, a port, an unprivileged user.

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certificate::{self, Authority, Identity};
use crate::process::{self, Launch, Process};
use crate::{ports, scratch};

/// Where a server listens that is told no other address.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_GRACE: Duration = Duration::from_secs(5);
const PORT_ATTEMPTS: usize = 5;
/// `nobody`: database servers refuse to run as root.
const UNPRIVILEGED: u32 = 65_534;

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// No folder for the data.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// No free port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// No certificates.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// A file of its could not be written, or given to its user.
    #[error("the files of {name} could not be prepared")]
    Files {
        /// Name of the server.
        name: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The commands of the server are not installed.
    #[error("{command} is not installed; install the package {package}")]
    NotInstalled {
        /// What was looked for.
        command: &'static str,
        /// Debian's name of the package.
        package: &'static str,
    },
    /// The folder for its data could not be made.
    #[error("{command} failed: {said}")]
    Initialise {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Process(error) => error.category(),
            Self::Scratch(_) => "scratch",
            Self::Port(_) => "port",
            Self::Certificate(_) => "certificate",
            Self::Files { .. } => "files",
            Self::NotInstalled { .. } => "not_installed",
            Self::Initialise { .. } => "initialise",
        }
    }
}

/// A server with certificates. Its process ends and its data goes when it is dropped.
#[derive(Debug)]
pub struct Server {
    // Before the folder: the process ends before its files go.
    process: Option<Process>,
    launch: Launch,
    address: SocketAddr,
    ready: fn(&Path) -> Result<(), String>,
    stop_signal: Option<Signal>,
    authority: Authority,
    client: Identity,
    folder: TempDir,
}

/// The file to run, and its arguments.
pub(crate) type Command = (PathBuf, Vec<String>);

/// What is to be started: the program and its arguments, given the folder and the address.
pub(crate) struct Recipe {
    /// For messages and folders.
    pub name: &'static str,
    /// It refuses to run as root.
    pub unprivileged: bool,
    /// Its request to end without waiting for its clients, where that is not SIGTERM.
    pub stop_signal: Option<Signal>,
    /// What it is sent when this process dies, as `setpriv` names it.
    pub death_signal: &'static str,
    /// Prepares the folder, which holds `ca.crt`, `server.crt` and `server.key`.
    pub prepare: fn(&Path) -> Result<(), Error>,
    /// Whether it is ready once it takes connections, by what it wrote to its folder; else why not.
    pub ready: fn(&Path) -> Result<(), String>,
    /// The file to run, and its arguments.
    pub command: fn(&Path, SocketAddr) -> Result<Command, Error>,
}

impl Server {
    /// Prepares its folder, starts it, and returns when it takes connections.
    pub(crate) async fn start(recipe: &Recipe, host: IpAddr) -> Result<Self, Error> {
        let name = recipe.name;
        let files = |source| Error::Files { name, source };
        let folder = scratch::folder(name)?;
        let authority = Authority::new(&format!("{name}-ca"))?;
        let identity = authority.server(name, &[&host.to_string(), "::1", "localhost"])?;
        let client = authority.client(&format!("{name}-client"), &[])?;
        for (file, text) in
            [("ca.crt", &authority.certificate()), ("server.crt", &identity.certificate), ("server.key", &identity.key)]
        {
            write(&folder.path().join(file), text).map_err(files)?;
        }
        give(folder.path()).map_err(files)?;
        if let Some(parent) = folder.path().parent() {
            std::fs::set_permissions(parent, Permissions::from_mode(0o711)).map_err(files)?;
        }
        (recipe.prepare)(folder.path())?;
        let mut attempt = 1;
        loop {
            let address = SocketAddr::new(host, ports::free()?);
            let (program, args) = (recipe.command)(folder.path(), address)?;
            let log = folder.path().join("server.log");
            let (program, args) = wrapped(recipe.unprivileged, recipe.death_signal, &program, args);
            let launch = Launch { name: name.into(), program, args, env: Vec::new(), log };
            let mut process = Process::start(&launch)?;
            match wait_listening(&mut process, address, folder.path(), recipe.ready).await {
                Err(error) if error.is_address_in_use() && attempt < PORT_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    return Ok(Self {
                        process: Some(process),
                        launch,
                        address,
                        ready: recipe.ready,
                        stop_signal: recipe.stop_signal,
                        authority,
                        client,
                        folder,
                    });
                }
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a DataStore's `spec.endpoints` has it: `host:port`.
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Signs its certificate, and its clients'.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A client certificate that it accepts.
    pub fn client(&self) -> &Identity {
        &self.client
    }

    /// Folder with data, log and certificates.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it; its data stays for [`Server::restart`].
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
            if let (Some(id), Some(signal)) = (id, self.stop_signal) {
                // It may have ended by itself: then there is nothing to stop.
                let _ = kill_process(id, signal);
            }
            process.stop(STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Starts it again on the same port with the same data.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        let mut process = Process::start(&self.launch)?;
        wait_listening(&mut process, self.address, self.folder.path(), self.ready).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Freezes it and every process that it has started: connections stay open and are answered no more.
    pub fn pause(&self) -> Result<(), Error> {
        if let Some(process) = &self.process {
            // It first: from now on it starts no other.
            process.pause()?;
            signal(&descendants(process.id()), Signal::STOP);
        }
        Ok(())
    }

    /// Ends a [`Server::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        if let Some(process) = &self.process {
            signal(&descendants(process.id()), Signal::CONT);
            process.resume()?;
        }
        Ok(())
    }

    /// Gives it other certificates: whom it trusts, as PEM, and what it shows. They count once it has read them.
    pub(crate) fn replace_certificates(&self, trusted: &str, shown: Option<&Identity>) -> std::io::Result<()> {
        let folder = self.folder.path();
        write(&folder.join("ca.crt"), trusted)?;
        let Some(shown) = shown else { return Ok(()) };
        write(&folder.join("server.crt"), &shown.certificate)?;
        write(&folder.join("server.key"), &shown.key)
    }

    /// Has it read its configuration and certificates again, where SIGHUP means that.
    pub(crate) fn hang_up(&self) {
        let id = self.process.as_ref().and_then(|process| i32::try_from(process.id()).ok()).and_then(Pid::from_raw);
        signal(id.as_slice(), Signal::HUP);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that is frozen does not see that the one which started it is gone.
        let _ = self.resume();
    }
}

/// Processes below this one. They may be in sessions of their own, where no signal to its group arrives.
fn descendants(id: u32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    // `proc_pid_stat(5)`: number, name in parentheses, state, parent.
    let parents: Vec<(i32, i32)> = processes
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((id, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found: Vec<i32> = i32::try_from(id).into_iter().collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, above)| *above == parent).map(|(id, _)| *id));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

fn signal(ids: &[Pid], signal: Signal) {
    for id in ids {
        // It may have ended by itself.
        let _ = kill_process(*id, signal);
    }
}

/// A file of its, which it refuses when others can read it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    give(path)
}

async fn wait_listening(
    process: &mut Process,
    address: SocketAddr,
    folder: &Path,
    ready: fn(&Path) -> Result<(), String>,
) -> Result<(), process::Error> {
    let listening = || async move {
        TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
        ready(folder)
    };
    process.wait_ready(START_TIMEOUT, listening).await
}

/// Runs a command that prepares a server's folder, as the user that will own it.
pub(crate) fn initialise(program: &Path, args: Vec<String>) -> Result<(), Error> {
    let command = program.display().to_string();
    let (program, args) = wrapped(true, "KILL", program, args);
    let output = std::process::Command::new(program).args(args).current_dir("/").stdin(Stdio::null()).output();
    let failed = |said: String| Error::Initialise { command: command.clone(), said };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn give(path: &Path) -> std::io::Result<()> {
    if is_root() { chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)) } else { Ok(()) }
}

/// The command as it is run: by nobody, when root runs the tests. The signal at the death of its parent is set anew,
/// since a change of user takes it away.
fn wrapped(unprivileged: bool, death_signal: &str, program: &Path, args: Vec<String>) -> Command {
    let mut all: Vec<String> = ["--pdeathsig", death_signal].map(str::to_owned).into();
    if unprivileged && is_root() {
        all.extend([format!("--reuid={UNPRIVILEGED}"), format!("--regid={UNPRIVILEGED}"), "--clear-groups".to_owned()]);
    }
    all.extend(["--".to_owned(), program.display().to_string()]);
    all.extend(args);
    ("/usr/bin/setpriv".into(), all)
}
