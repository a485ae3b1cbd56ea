//! Folders for the data of started parts, which are gone when the process is gone, however it ended.
//!
//! All folders of one process are below one root. A watchdog process waits for the end of its standard
//! input, which only this process holds open; then it removes the root. So a killed test leaves nothing.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// Memory rather than disk, where there is any: etcd then never waits for a device.
const MEMORY: &str = "/dev/shm";

/// A part that is being killed may write while its folder goes away, hence the retries.
const WATCHDOG: &str = r#"
while read -r _; do :; done
n=0
while ! rm -rf -- "$1" && [ "$n" -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
"#;

/// Why there is no folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder could not be created.
    #[error("no folder could be created below {path}: check its permissions and free space")]
    Create {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process that removes the folders could not be started.
    #[error("the process that removes test folders could not be started: sh must be installed")]
    Watchdog {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Watchdog { .. } => "watchdog",
        }
    }
}

struct Root {
    path: PathBuf,
    /// Holds the watchdog's standard input open; dropped by nobody but the end of the process.
    _watchdog: Child,
}

static ROOT: Mutex<Option<Root>> = Mutex::new(None);

/// A new folder whose name starts with `name`. It is removed on drop, and at the latest when this process ends.
pub fn folder(name: &str) -> Result<TempDir, Error> {
    let root = root()?;
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&root)
        .map_err(|source| Error::Create { path: root, source })
}

fn root() -> Result<PathBuf, Error> {
    let mut guard = ROOT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(root) = guard.as_ref() {
        return Ok(root.path.clone());
    }
    let base = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new()
        .prefix("kamaji-testkit-")
        .tempdir_in(&base)
        .map_err(|source| Error::Create { path: base, source })?;
    let watchdog = watch(folder.path()).map_err(|source| Error::Watchdog { source })?;
    let path = folder.keep();
    *guard = Some(Root { path: path.clone(), _watchdog: watchdog });
    Ok(path)
}

fn watch(folder: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHDOG, "kamaji-testkit-watchdog"])
        .arg(folder)
        .stdin(Stdio::piped())
        // Whoever reads the test's output waits for everybody who holds it open.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // Its own group: Ctrl-C at the terminal must not reach it before it has cleaned up.
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_a_folder_on_drop() {
        let folder = folder("drop").unwrap();
        let path = folder.path().to_path_buf();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn watchdog_removes_the_root_when_its_holder_is_gone() {
        let root = tempfile::tempdir().unwrap().keep();
        std::fs::create_dir(root.join("data")).unwrap();
        let mut watchdog = watch(&root).unwrap();
        assert!(root.exists());
        drop(watchdog.stdin.take());
        assert!(watchdog.wait().unwrap().success());
        assert!(!root.exists());
    }
}
