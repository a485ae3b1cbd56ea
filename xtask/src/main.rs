//! Developer commands: `cargo xtask up | down | kubeconfig | worker | images | test | oracle | conformance | bench |
//! parts`.

mod bench;
mod cluster;
mod command;
mod conformance;
mod down;
mod failure;
mod images;
mod kubeconfig;
mod lanes;
// One file says where the parts are. Through the testkit crate it would bring a Kubernetes client along, and the
// first command on a fresh machine would compile minutes in silence.
#[path = "../../testkit/src/parts.rs"]
#[allow(dead_code, reason = "the testkit uses the rest")]
mod layout;
mod lock;
mod oracle;
mod packages;
mod parts;
mod prerequisites;
mod progress;
mod test;
mod up;
mod worker;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer commands of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Starts a local management cluster with the operator and a first tenant.
    Up(up::Options),
    /// Removes the local cluster.
    Down,
    /// Prints the path of the management kubeconfig, or writes a tenant's and prints its path.
    Kubeconfig {
        /// NAMESPACE/NAME of a TenantControlPlane.
        tenant: Option<String>,
        /// Kubeconfig of the management cluster, if not the local one.
        #[arg(long)]
        kubeconfig: Option<std::path::PathBuf>,
    },
    /// Makes real workers for tenants of the local cluster.
    #[command(subcommand)]
    Worker(worker::Verb),
    /// Packs images and serves them to the local cluster and its workers.
    Images {
        /// Images of parts that are built when they are named: agnhost, kine, konnectivity, metrics-server,
        /// kubernetes@<version>.
        #[arg(long, value_delimiter = ',', value_name = "PART,...")]
        with: Vec<String>,
    },
    /// Runs the tests.
    Test(test::Options),
    /// Runs the real kubeadm of each supported minor and stores what it writes into a cluster as test data.
    Oracle(oracle::Options),
    /// Runs Kubernetes' own end-to-end tests against a tenant with one worker.
    Conformance(conformance::Options),
    /// Measures on the local cluster what the operator costs for N tenants, or what the datastores give.
    Bench(bench::Options),
    /// Builds the real Kubernetes parts into the cache.
    Parts {
        /// Only these parts; `kubernetes@1.35.4` asks for another version.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

fn main() -> std::process::ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let progress = progress::Progress::new();
    match arguments.verb {
        Verb::Up(options) => up::run(&options, &progress),
        Verb::Down => {
            let _lock = lock::take()?;
            down::run(&progress)
        }
        Verb::Kubeconfig { tenant, kubeconfig } => kubeconfig::run(tenant.as_deref(), kubeconfig),
        Verb::Parts { only } => {
            prerequisites::check(prerequisites::Need::Parts)?;
            packages::ensure(&progress)?;
            parts::ensure(&parts::select(&only)?, &progress)
        }
        Verb::Images { with } => {
            prerequisites::check(prerequisites::Need::Parts)?;
            images::build(&with, &progress)
        }
        Verb::Worker(verb) => worker::run(&verb, &progress),
        Verb::Test(options) => test::run(&options, &progress),
        Verb::Oracle(options) => oracle::run(&options, &progress),
        Verb::Conformance(options) => conformance::run(&options, &progress),
        Verb::Bench(options) => bench::run(&options, &progress),
    }
}
