//! Where the real Kubernetes parts live on a developer's machine.
//!
//! `cargo xtask` builds them from their Go modules; everything else only asks for a path. A part is kept
//! under its version, so that a second version never overwrites the first and a second run starts at once.

use std::path::PathBuf;

/// The Kubernetes minor that CI builds and that `cargo xtask up` runs.
pub const KUBERNETES_VERSION: &str = "1.36.3";

/// Folder of everything built or downloaded, outside the checkout.
///
/// `$KAMAJI_CACHE`, else `$XDG_CACHE_HOME/kamaji`, else `~/.cache/kamaji`.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("KAMAJI_CACHE") {
        return dir.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"));
    base.join("kamaji")
}

/// Folder with the commands of one built part, for example `parts/etcd-3.7.3/bin`.
pub fn bin_dir(part: &str, version: &str) -> PathBuf {
    cache_dir().join("parts").join(format!("{part}-{version}")).join("bin")
}

/// Path of one Kubernetes command (`kube-apiserver`, `kubectl`, ...) of the given version.
pub fn kubernetes(version: &str, command: &str) -> PathBuf {
    bin_dir("kubernetes", version).join(command)
}
