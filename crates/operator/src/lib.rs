//! The operator: one process that watches `kamaji.clastix.io/v1alpha1` and writes what its objects ask for.
//!
//! [`cli`] parses the command line, [`process`] is everything around the controllers (leader election, health,
//! shutdown), [`tenant`] is what is kept in the tenants' own clusters, [`telemetry`] is logs and
//! metrics. Nothing leaves the cluster.

pub mod cli;
pub mod controller;
pub mod process;
pub mod telemetry;
pub mod tenant;

/// The whole program. It is compiled here, once, and not again into every binary that calls it.
pub fn main() -> std::process::ExitCode {
    cli::run(controller::run)
}
