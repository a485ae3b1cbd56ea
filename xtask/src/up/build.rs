//! Builds the operator and the add-ons process.

use std::path::PathBuf;

use anyhow::Result;

use crate::progress::Progress;
use crate::workspace;
use crate::{command, parts};

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The add-ons process of the local cluster.
    pub add_ons: PathBuf,
    /// The operator, if it was asked for.
    pub operator: Option<PathBuf>,
}

/// One cargo call for both: they share nearly all dependencies.
pub fn run(with_operator: bool, is_debug: bool, progress: &Progress) -> Result<Built> {
    let step = progress.step("operator");
    let log = parts::log_dir().join("cargo-build.log");
    if log.exists() {
        std::fs::remove_file(&log)?;
    }
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--locked", "--package", "xtask", "--features", "xtask/addons"]);
    if !is_debug {
        cargo.arg("--release");
    }
    cargo.args(["--bin", "local-cluster-addons"]);
    if with_operator {
        cargo.args(["--package", "kamaji-operator", "--bin", "kamaji"]);
    }
    let mut compiled = 0_u32;
    command::logged("building the operator", &mut cargo, &log, |line| {
        if line.trim_start().starts_with("Compiling") {
            compiled += 1;
        }
        step.note(&format!("{compiled} crates, {}", line.trim()));
    })?;
    let built = workspace::target_dir()?.join(if is_debug { "debug" } else { "release" });
    step.done(if with_operator { "kamaji, local-cluster-addons" } else { "local-cluster-addons" });
    let operator = with_operator.then(|| built.join("kamaji"));
    Ok(Built { add_ons: built.join("local-cluster-addons"), operator })
}
