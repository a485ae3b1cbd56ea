//! `kamaji migrate`: parses its flags; the copy itself is not built yet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::go;
use super::zap::ZapArgs;

/// The flags, with the defaults of the Go operator.
#[derive(Args, Clone, Debug)]
pub struct MigrateArgs {
    /// Tenant to migrate, as namespace/name.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tenant_control_plane: String,
    /// DataStore to copy to.
    #[arg(long, value_name = "NAME")]
    pub target_datastore: String,
    /// Drop what an earlier attempt left in the target first.
    #[arg(long, action = ArgAction::Set, value_parser = go::boolean, default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    pub cleanup_prior_migration: bool,
    /// The copy may take this long.
    #[arg(long, default_value = "5m", value_parser = go::duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// Kubeconfig of the management cluster.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub zap: ZapArgs,
}

/// Refuses: nothing is copied.
///
/// # Errors
/// Always.
pub fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    anyhow::bail!(
        "this release cannot migrate TenantControlPlane {} to DataStore {}: the verb is reserved and nothing was \
         changed; set spec.dataStore back to the DataStore that holds the data",
        args.tenant_control_plane,
        args.target_datastore
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        migrate: MigrateArgs,
    }

    #[test]
    fn parses_what_the_migration_job_passes_and_says_that_nothing_was_changed() {
        let line = ["test", "--tenant-control-plane=ns/t", "--target-datastore=b", "--cleanup-prior-migration=true"];
        let args = Flags::try_parse_from(line).unwrap().migrate;
        assert!(args.cleanup_prior_migration);
        assert_eq!(args.timeout, Duration::from_mins(5));
        let refusal = run(&args).unwrap_err().to_string();
        assert!(refusal.contains("ns/t") && refusal.contains("nothing was changed"), "{refusal}");
    }

    #[test]
    fn requires_the_tenant_and_the_target() {
        assert!(Flags::try_parse_from(["test", "--target-datastore=b"]).is_err());
        assert!(Flags::try_parse_from(["test", "--tenant-control-plane=ns/t"]).is_err());
    }
}
