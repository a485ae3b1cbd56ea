//! Keeps two commands from changing the local cluster at the same time.

use std::fs::{File, TryLockError};

use anyhow::{Context, Result, bail};

use crate::layout;

/// Held as long as the value lives; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, never read")] File);

/// Takes the lock.
///
/// # Errors
/// When another command holds it.
pub fn take() -> Result<Lock> {
    let dir = layout::cache_dir();
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("local-cluster.lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another `cargo xtask up` or `down` is running; wait until it has ended")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
