//! Container images from locally built binaries, in one OCI image layout that the local registry serves.

mod layer;
mod libraries;
pub mod pause;
mod store;
mod table;

use std::path::PathBuf;

use anyhow::Result;

use crate::progress::Progress;
use crate::{layout, lock, packages, parts};
pub use store::{Store, Written};
pub use table::{Image, konnectivity, kube_proxy, kubernetes, named, operator, standard};

/// Folder of the OCI image layout.
pub fn dir() -> PathBuf {
    layout::cache_dir().join("images")
}

/// Builds and packs the local cluster's own images and those of the named parts.
///
/// # Errors
/// When a name stands for no image, or a part cannot be built.
pub fn build(with: &[String], progress: &Progress) -> Result<()> {
    // Workers pack images, too.
    let _turn = lock::workers()?;
    packages::ensure_with(with, progress)?;
    parts::ensure(&parts::select(&[])?, progress)?;
    if !with.is_empty() {
        parts::ensure(&parts::select(with)?, progress)?;
    }
    pause::ensure()?;
    let mut wanted = standard()?;
    wanted.extend(kubernetes(layout::KUBERNETES_VERSION));
    wanted.extend(named(with)?);
    ensure(&wanted, progress).map(drop)
}

/// Packs what is missing or has changed. Returns what is now stored, in the same order.
///
/// # Errors
/// When a binary is missing or the cache cannot be written.
pub fn ensure(images: &[Image], progress: &Progress) -> Result<Vec<Written>> {
    let mut store = Store::open(dir())?;
    let mut step = None;
    let mut written = Vec::new();
    for image in images {
        let inputs = image.inputs()?;
        let name = image.names.first().cloned().unwrap_or_default();
        let stored = if let Some(stored) = store.find(image, &inputs) {
            stored
        } else {
            step.get_or_insert_with(|| progress.step("images")).note(&name);
            store.write(image, &inputs)?
        };
        written.push(stored);
    }
    store.save()?;
    if let Some(step) = step {
        step.done(&format!("{} in {}", images.len(), dir().display()));
    }
    Ok(written)
}
