//! Container images from locally built binaries, in one OCI image layout that the local registry serves.

mod layer;
mod libraries;
pub mod pause;
mod store;
mod table;

use std::path::PathBuf;

use anyhow::Result;

use crate::layout;
use crate::progress::Progress;
pub use store::{Store, Written};
pub use table::{Image, kine, konnectivity, kubernetes, metrics_server, operator, standard};

/// Folder of the OCI image layout.
pub fn dir() -> PathBuf {
    layout::cache_dir().join("images")
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
