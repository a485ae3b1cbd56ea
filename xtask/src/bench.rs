//! `cargo xtask bench`: what the operator costs for N tenants on the local cluster, or what its datastores give.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cluster::admin_kubeconfig;
use crate::progress::Progress;
use crate::{packages, parts, workspace};

/// What `bench` was asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Number of tenants that are created at once.
    #[arg(long, value_name = "N", required_unless_present = "datastores", conflicts_with = "datastores")]
    tenants: Option<u16>,
    /// Measures instead what a tenant takes and lists on etcd, PostgreSQL, MariaDB and NATS, which are started for it.
    #[arg(long)]
    datastores: bool,
    /// Where to write the numbers. Default: bench/tenants-N.json or bench/datastores.json in cargo's target folder.
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
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    let kubeconfig = options.kubeconfig.clone().unwrap_or_else(admin_kubeconfig);
    if !kubeconfig.exists() {
        bail!("there is no kubeconfig {}; `cargo xtask up` starts a cluster", kubeconfig.display());
    }
    if options.datastores {
        packages::ensure_with(&[packages::DATABASES.into()], progress)?;
        parts::ensure(&parts::select(&["nats-server".into()])?, progress)?;
    }
    let name = options.tenants.map_or_else(|| "datastores".to_owned(), |count| format!("tenants-{count}"));
    let json = match &options.json {
        Some(path) => std::path::absolute(path)?,
        None => workspace::target_dir()?.join(format!("bench/{name}.json")),
    };
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--locked", "--package", "kamaji-bench", "--"]);
    match options.tenants {
        Some(count) => cargo.arg("--tenants").arg(count.to_string()),
        None => cargo.arg("--datastores"),
    };
    cargo.arg("--kubeconfig").arg(kubeconfig).arg("--json").arg(json).args(&options.further);
    Err(cargo.exec()).context("cannot start cargo")
}
