//! The command line: `kamaji manager | migrate | kubeconfig-generator | crds`.
//!
//! Verbs, flags, defaults and syntax are those of the Go operator (`docs/reference/compatibility.md`, Process
//! surface), so that its chart values and scripts go on working. Every failure ends with exit code 1 and a sentence on
//! standard error.

pub mod crds;
pub mod go;
pub mod kubeconfig_generator;
pub mod manager;
pub mod migrate;
pub mod zap;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::Process;
use crate::telemetry;

/// What was asked for on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "kamaji",
    version,
    about = "Hosted Kubernetes control planes",
    args_override_self = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The verb with its flags.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    #[command(args_override_self = true)]
    Manager(Box<manager::ManagerArgs>),
    /// Copy the data of one TenantControlPlane to another DataStore of the same driver.
    #[command(args_override_self = true)]
    Migrate(migrate::MigrateArgs),
    /// Run the generator of kubeconfig Secrets.
    #[command(args_override_self = true)]
    KubeconfigGenerator(kubeconfig_generator::KubeconfigGeneratorArgs),
    /// Print the custom resource definitions, or write the files of the Helm charts.
    #[command(args_override_self = true)]
    Crds(crds::CrdsArgs),
}

/// Parses the process's arguments and runs the verb to its end.
///
/// `controllers` is what `manager` runs between a working API client and a requested shutdown. It returns once its
/// reconciles in flight have ended; an error ends the process with exit code 1.
pub fn run(controllers: impl AsyncFnOnce(Process) -> anyhow::Result<()>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Asked-for help and version are answers; anything else is a mistake, with the exit code of the contract.
        Err(refusal) => {
            let answered = !refusal.use_stderr();
            // A closed standard stream leaves nobody to tell.
            let _ = refusal.print();
            return if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let outcome = match cli.command {
        Command::Manager(args) => run_manager(*args, controllers),
        Command::Migrate(args) => migrate::run(&args),
        Command::KubeconfigGenerator(args) => kubeconfig_generator::run(&args),
        Command::Crds(args) => crds::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_manager(
    args: manager::ManagerArgs,
    controllers: impl AsyncFnOnce(Process) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let options = args.validate()?;
    let level = telemetry::log::install(options.log)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(crate::process::serve(
        options,
        level,
        controllers,
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn refuses_an_unknown_verb_and_an_unknown_flag() {
        for arguments in [vec!["kamaji", "serve"], vec!["kamaji", "manager", "--no-such-flag"], vec!["kamaji"]] {
            let refusal = Cli::try_parse_from(&arguments).unwrap_err();
            assert!(refusal.use_stderr() && refusal.exit_code() != 0, "{arguments:?}: {refusal}");
        }
    }

    #[test]
    fn the_last_of_two_equal_flags_counts() {
        let cli = Cli::try_parse_from(["kamaji", "manager", "--datastore=one", "--datastore", "two"]).unwrap();
        let Command::Manager(args) = cli.command else { panic!("not the manager verb") };
        assert_eq!(args.datastore, "two");
    }
}
