//! `kamaji kubeconfig-generator`: parses its flags; the controller itself is not built yet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::go::{self, ListenAddress};
use super::manager;
use super::zap::ZapArgs;

/// The flags, with the defaults of the Go operator.
#[derive(Args, Clone, Debug)]
pub struct KubeconfigGeneratorArgs {
    /// Address of the metrics endpoint; 0 switches it off.
    #[arg(long, default_value = ":8090", value_parser = go::listen_address, value_name = "ADDRESS")]
    pub metrics_bind_address: ListenAddress,
    /// Address of the health endpoints; 0 switches them off.
    #[arg(long, default_value = ":8091", value_parser = go::listen_address, value_name = "ADDRESS")]
    pub health_probe_bind_address: ListenAddress,
    /// Act only while holding the Lease.
    #[arg(long, action = ArgAction::Set, value_parser = go::boolean, default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    pub leader_elect: bool,
    /// One reconcile may take this long.
    #[arg(long, default_value = "30s", value_parser = go::duration, value_name = "DURATION")]
    pub controller_reconcile_timeout: Duration,
    /// Everything watched is looked at again after this long.
    #[arg(long, default_value = "10h", value_parser = go::duration, value_name = "DURATION")]
    pub cache_resync_period: Duration,
    /// Namespace that the generator runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "", hide_default_value = true, value_name = "NAMESPACE")]
    pub pod_namespace: String,
    /// Certificates that expire within this time are renewed; at least 24h.
    #[arg(long, default_value = "24h", value_parser = go::duration, value_name = "DURATION")]
    pub certificate_expiration_deadline: Duration,
    /// Kubeconfig of the management cluster.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub zap: ZapArgs,
}

/// Checks the flags, then refuses: nothing is generated.
///
/// # Errors
/// Always.
pub fn run(args: &KubeconfigGeneratorArgs) -> anyhow::Result<()> {
    manager::reconcile_timeout(args.controller_reconcile_timeout)?;
    manager::expiration_deadline(args.certificate_expiration_deadline)?;
    anyhow::bail!(
        "this release generates no kubeconfigs from KubeconfigGenerator objects: the verb is reserved; set \
         kubeconfigGenerator.enabled=false in the Helm chart's values"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        generator: KubeconfigGeneratorArgs,
    }

    fn refusal(arguments: &[&str]) -> String {
        run(&Flags::try_parse_from([&["test"], arguments].concat()).unwrap().generator).unwrap_err().to_string()
    }

    #[test]
    fn says_that_it_generates_nothing() {
        assert!(refusal(&["--leader-elect=true"]).contains("generates no kubeconfigs"));
    }

    #[test]
    fn checks_its_flags_first() {
        assert!(refusal(&["--certificate-expiration-deadline=1h"]).contains("at least 24h"));
    }
}
