//! `cargo xtask oracle`: what the real kubeadm of each supported minor writes, stored as test data of `crates/plan`.

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{layout, packages, parts, prerequisites, workspace};

/// The test that runs kubeadm, its package and its target: CI runs it as well, and compares there.
const TEST: [&str; 4] = ["--package", "kamaji-testkit", "--test", "apiserver_kubeadm"];

/// What `oracle` was asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only this minor, for example 1.36.
    #[arg(long)]
    minor: Option<String>,
}

/// Builds the parts of each minor and runs its kubeadm against its kube-apiserver.
///
/// # Errors
/// When a part cannot be built, when kubeadm fails, or when no supported minor is the one that was asked for.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    let versions = versions(options.minor.as_deref())?;
    prerequisites::check(prerequisites::Need::Parts)?;
    packages::ensure(progress)?;
    for version in versions {
        parts::ensure(&parts::select(&[format!("kubernetes@{version}"), "etcd".into()])?, progress)?;
        let status = workspace::cargo()
            .args(["test", "--locked"])
            .args(TEST)
            .env("KAMAJI_KUBERNETES_VERSION", version)
            .env("KAMAJI_ORACLE", "write")
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("kubeadm {version} did not write what it should; its output is above");
        }
        eprintln!("stored what kubeadm {version} writes");
    }
    Ok(())
}

/// The versions of the minor that was asked for, or all, oldest first.
fn versions(minor: Option<&str>) -> Result<Vec<&'static str>> {
    let mut all = vec![layout::KUBERNETES_VERSION];
    all.extend(layout::KUBERNETES_MATRIX);
    all.sort_unstable();
    let minor_of = |version: &'static str| version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    let known: Vec<&str> = all.iter().map(|version| minor_of(version)).collect();
    let Some(minor) = minor else { return Ok(all) };
    all.retain(|version| minor_of(version) == minor.trim_start_matches('v'));
    if all.is_empty() {
        bail!("there is no supported minor {minor}; the minors are {}", known.join(", "));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::versions;
    use crate::layout;

    #[test]
    fn every_supported_minor_is_asked_unless_one_is_named() {
        assert_eq!(versions(None).unwrap().len(), layout::KUBERNETES_MATRIX.len() + 1);
        assert_eq!(versions(Some("1.36")).unwrap(), [layout::KUBERNETES_VERSION]);
        assert!(versions(Some("1.3")).unwrap_err().to_string().contains("1.33, 1.34, 1.35, 1.36, 1.37"));
    }
}
