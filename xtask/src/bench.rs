//! `cargo xtask bench`: what the operator costs for N tenants on the local cluster.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cluster::admin_kubeconfig;
use crate::workspace;

/// What `bench` was asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Number of tenants that are created at once.
    #[arg(long, value_name = "N")]
    tenants: u16,
    /// Where to write the numbers. Default: bench/tenants-N.json in cargo's target folder.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Kubeconfig of the management cluster, if not the local one. The operator has to run on this machine.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Further arguments of the benchmark; `-- --help` lists them.
    #[arg(last = true, value_name = "ARGUMENT")]
    further: Vec<String>,
}

/// Becomes the benchmark, so that Ctrl-C reaches it alone and it can clean up.
pub fn run(options: &Options) -> Result<()> {
    let kubeconfig = options.kubeconfig.clone().unwrap_or_else(admin_kubeconfig);
    if !kubeconfig.exists() {
        bail!("there is no kubeconfig {}; `cargo xtask up` starts a cluster", kubeconfig.display());
    }
    let json = match &options.json {
        Some(path) => std::path::absolute(path)?,
        None => workspace::target_dir()?.join(format!("bench/tenants-{}.json", options.tenants)),
    };
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--locked", "--package", "kamaji-bench", "--"]);
    cargo.arg("--tenants").arg(options.tenants.to_string());
    cargo.arg("--kubeconfig").arg(kubeconfig).arg("--json").arg(json).args(&options.further);
    Err(cargo.exec()).context("cannot start cargo")
}
