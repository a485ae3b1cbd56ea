//! Keeps two commands from changing the local cluster at the same time.

use std::fs::{File, TryLockError};

use anyhow::{Context, Result, bail};

use crate::layout;

const CLUSTER: &str = "local-cluster.lock";

/// Held as long as the value lives; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, never read")] File);

/// Takes the lock of the cluster.
///
/// # Errors
/// When another command holds or shares it.
pub fn take() -> Result<Lock> {
    let file = open(CLUSTER)?;
    let taken = file.try_lock();
    held(file, taken)
}

/// Takes a share in it: the cluster stays as long as the value lives, and others may share it, too.
///
/// # Errors
/// When another command holds it.
pub fn share() -> Result<Lock> {
    let file = open(CLUSTER)?;
    let taken = file.try_lock_shared();
    held(file, taken)
}

/// Waits for its turn to change the list of workers, or the images.
///
/// # Errors
/// When the lock's file cannot be used.
pub fn workers() -> Result<Lock> {
    let file = open("workers.lock")?;
    file.lock().context("cannot lock the list of workers")?;
    Ok(Lock(file))
}

fn open(name: &str) -> Result<File> {
    let dir = layout::cache_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join(name);
    File::options().create(true).append(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
}

fn held(file: File, taken: Result<(), TryLockError>) -> Result<Lock> {
    match taken {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another `cargo xtask up`, `down` or `worker` is running; wait until it has ended")
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the local cluster"),
    }
}
