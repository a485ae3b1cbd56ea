//! `cargo xtask parts`: the real Kubernetes parts, built from their Go modules into the cache.

mod build;
pub mod table;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::layout;
use crate::progress::Progress;
use table::Part;

/// Folder with one log per built part.
pub fn log_dir() -> PathBuf {
    layout::cache_dir().join("logs")
}

/// The parts that are built by default, or those that are named; `kubernetes@1.35.4` asks for another version.
///
/// # Errors
/// When a name is not in the table.
pub fn select(names: &[String]) -> Result<Vec<Part>> {
    let all = table::all();
    if names.is_empty() {
        return Ok(all.into_iter().filter(|part| part.default).collect());
    }
    names
        .iter()
        .map(|name| match (name.strip_prefix("kubernetes@"), all.iter().find(|part| part.name == name)) {
            (Some(version), _) => Ok(table::kubernetes(version)),
            (None, Some(part)) => Ok(part.clone()),
            (None, None) => {
                let known: Vec<_> = all.iter().map(|part| part.name).collect();
                bail!("there is no part `{name}`; the parts are {} and kubernetes@<version>", known.join(", "))
            }
        })
        .collect()
}

/// Builds what is missing of `parts`.
///
/// # Errors
/// When a build fails: the sentence that matters and the log's path.
pub fn ensure(parts: &[Part], progress: &Progress) -> Result<()> {
    for part in parts.iter().filter(|part| !build::is_built(part)) {
        build::build(part, progress)?;
    }
    Ok(())
}
