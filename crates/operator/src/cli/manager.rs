//! Flags of `kamaji manager`, and what must hold between them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::go::{self, ListenAddress};
use super::zap::ZapArgs;
use crate::telemetry::log::LogOptions;

/// A certificate is renewed at least this long before it expires.
const MINIMUM_EXPIRATION_DEADLINE: Duration = Duration::from_hours(24);

/// Every tenant is observed again after about this long, reading only: a lost event is a delay, never a stall. The
/// default of the Go operator's flag is longer than what that promise allows.
pub const LONGEST_RESYNC: Duration = Duration::from_mins(30);

/// A shorter period would keep the operator busy with nothing.
pub const SHORTEST_RESYNC: Duration = Duration::from_secs(10);

/// Image of the migration Job when no flag names one.
const MIGRATE_IMAGE: &str = concat!("docker.io/clastix/kamaji:v", env!("CARGO_PKG_VERSION"));

/// The flags, with the defaults of the Go operator.
#[derive(Args, Clone, Debug)]
pub struct ManagerArgs {
    /// Address of the metrics endpoint; 0 switches it off.
    #[arg(long, default_value = ":8080", value_parser = go::listen_address, value_name = "ADDRESS")]
    pub metrics_bind_address: ListenAddress,
    /// Address of the health endpoints; 0 switches them off.
    #[arg(long, default_value = ":8081", value_parser = go::listen_address, value_name = "ADDRESS")]
    pub health_probe_bind_address: ListenAddress,
    /// Accepted and without effect: there is no Go profiler to serve.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = go::listen_address, value_name = "ADDRESS")]
    pub pprof_bind_address: ListenAddress,
    /// Act only while holding the Lease, so that several replicas can run.
    #[arg(long, action = ArgAction::Set, value_parser = go::boolean, default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    pub leader_elect: bool,
    /// Folder for temporary files.
    #[arg(long, default_value = "/tmp/kamaji", value_name = "DIRECTORY")]
    pub tmp_directory: String,
    /// Image of the kine container of tenants that use SQL or NATS.
    #[arg(long, default_value = kamaji_plan::component::kine::DEFAULT_IMAGE, value_name = "IMAGE")]
    pub kine_image: String,
    /// DataStore of TenantControlPlanes that name none.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub datastore: String,
    /// Image of the Job that migrates a tenant to another DataStore.
    #[arg(long, default_value = MIGRATE_IMAGE, value_name = "IMAGE")]
    pub migrate_image: String,
    /// At most so many TenantControlPlanes are reconciled at the same time; without the flag, any number.
    ///
    /// The Go operator's default is 1. Here each reconcile has its own deadline instead.
    #[arg(long, value_name = "COUNT")]
    pub max_concurrent_tcp_reconciles: Option<NonZeroUsize>,
    /// Namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE", default_value = "", hide_default_value = true, value_name = "NAMESPACE")]
    pub pod_namespace: String,
    /// Service that routes to the admission webhooks.
    #[arg(long, default_value = "kamaji-webhook-service", value_name = "NAME")]
    pub webhook_service_name: String,
    /// ServiceAccount that the operator runs as; migration Jobs use it too.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "", hide_default_value = true, value_name = "NAME")]
    pub serviceaccount_name: String,
    /// Certificate authority of the admission webhooks. Unlike with the Go operator, the file need not exist.
    #[arg(long, default_value = "/tmp/k8s-webhook-server/serving-certs/ca.crt", value_name = "FILE")]
    pub webhook_ca_path: String,
    /// One reconcile may take this long.
    #[arg(long, default_value = "30s", value_parser = go::duration, value_name = "DURATION")]
    pub controller_reconcile_timeout: Duration,
    /// Every TenantControlPlane is looked at again after this long, changed or not; at most 30m.
    #[arg(long, default_value = "10h", value_parser = go::duration, value_name = "DURATION")]
    pub cache_resync_period: Duration,
    /// Accepted and without effect: the operator sends no telemetry.
    #[arg(long, action = ArgAction::Set, value_parser = go::boolean, default_value = "false", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    pub disable_telemetry: bool,
    /// Certificates that expire within this time are renewed; at least 24h.
    #[arg(long, default_value = "24h", value_parser = go::duration, value_name = "DURATION")]
    pub certificate_expiration_deadline: Duration,
    /// /readyz turns false when something has waited for this long while no reconcile of its kind ends, or a watch has been
    /// broken for it.
    /// The Go operator has no such flag.
    #[arg(long, default_value = "1m", value_parser = go::duration, value_name = "DURATION")]
    pub unready_after: Duration,
    /// Kubeconfig of the management cluster; without it $KUBECONFIG, then the Pod's ServiceAccount, then ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub zap: ZapArgs,
}

/// What the process runs with: flags whose rules hold.
#[derive(Clone, Debug)]
pub struct ManagerOptions {
    /// Where `/metrics` is served.
    pub metrics_address: ListenAddress,
    /// Where `/healthz`, `/readyz` and `/log-level` are served.
    pub health_address: ListenAddress,
    /// Whether to act only while holding the Lease.
    pub leader_elect: bool,
    /// Folder for temporary files.
    pub tmp_directory: PathBuf,
    /// Image of the kine container.
    pub kine_image: String,
    /// DataStore of TenantControlPlanes that name none.
    pub default_data_store: Option<String>,
    /// Image of the migration Job.
    pub migrate_image: String,
    /// Cap on TenantControlPlanes reconciled at the same time; `None` for no cap.
    pub max_concurrent_reconciles: Option<NonZeroUsize>,
    /// Namespace that the operator runs in; its Lease and EtcdClusters live there.
    pub pod_namespace: String,
    /// Service that routes to the admission webhooks.
    pub webhook_service_name: String,
    /// ServiceAccount that the operator runs as.
    pub service_account_name: String,
    /// Certificate authority of the admission webhooks.
    pub webhook_ca_path: PathBuf,
    /// Deadline of one reconcile; above zero.
    pub reconcile_timeout: Duration,
    /// Period after which every tenant is observed again, between [`SHORTEST_RESYNC`] and [`LONGEST_RESYNC`].
    pub resync_period: Duration,
    /// How long something may wait until the process calls itself not ready.
    pub unready_after: Duration,
    /// A certificate that expires within this time is renewed; at least 24 hours.
    pub certificate_expiration_deadline: Duration,
    /// Kubeconfig named by flag.
    pub kubeconfig: Option<PathBuf>,
    /// Logging.
    pub log: LogOptions,
    /// Sentences to log once logging works: flags that were given and have no effect.
    pub notes: Vec<&'static str>,
}

/// Which rule the flags break.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlagError {
    /// A flag that must have a value is empty.
    #[error("--{flag} is empty: {hint}")]
    Empty {
        /// Name without dashes.
        flag: &'static str,
        /// The way out.
        hint: &'static str,
    },
    /// The reconcile deadline is zero.
    #[error(
        "--controller-reconcile-timeout is 0s: no reconcile could end in time; write a duration above zero, for example 30s"
    )]
    ReconcileTimeout,
    /// Certificates would be renewed too late.
    #[error("--certificate-expiration-deadline is {}h{}m: write at least 24h, so that a renewal can be retried for a day", .0.as_secs() / 3600, .0.as_secs() % 3600 / 60)]
    ExpirationDeadline(Duration),
}

impl FlagError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "empty_flag",
            Self::ReconcileTimeout | Self::ExpirationDeadline(_) => "duration",
        }
    }
}

/// Refuses deadlines below a day (`manager` and `kubeconfig-generator`).
pub(super) fn expiration_deadline(deadline: Duration) -> Result<Duration, FlagError> {
    if deadline < MINIMUM_EXPIRATION_DEADLINE { Err(FlagError::ExpirationDeadline(deadline)) } else { Ok(deadline) }
}

/// Refuses a reconcile deadline of zero.
pub(super) fn reconcile_timeout(timeout: Duration) -> Result<Duration, FlagError> {
    if timeout.is_zero() { Err(FlagError::ReconcileTimeout) } else { Ok(timeout) }
}

/// The period that is kept to, for the one that was asked for; none at all (`0s`) is the longest.
fn resync(asked: Duration) -> Duration {
    if asked.is_zero() { LONGEST_RESYNC } else { asked.clamp(SHORTEST_RESYNC, LONGEST_RESYNC) }
}

/// Refuses an empty value.
pub(super) fn filled(flag: &'static str, hint: &'static str, value: String) -> Result<String, FlagError> {
    if value.is_empty() { Err(FlagError::Empty { flag, hint }) } else { Ok(value) }
}

impl ManagerArgs {
    /// Checks the rules of the contract and turns the flags into options.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn validate(self) -> Result<ManagerOptions, FlagError> {
        let log = self.zap.options();
        let mut notes = Vec::new();
        if self.pprof_bind_address != ListenAddress::Off {
            notes.push("--pprof-bind-address has no effect: this operator is not a Go program and serves no pprof");
        }
        if self.disable_telemetry {
            notes.push("--disable-telemetry has no effect: this operator sends no telemetry");
        }
        Ok(ManagerOptions {
            metrics_address: self.metrics_bind_address,
            health_address: self.health_probe_bind_address,
            leader_elect: self.leader_elect,
            tmp_directory: filled("tmp-directory", "name a writable folder", self.tmp_directory)?.into(),
            kine_image: filled("kine-image", "name the image of kine", self.kine_image)?,
            default_data_store: Some(self.datastore).filter(|name| !name.is_empty()),
            migrate_image: filled("migrate-image", "name the image of the operator", self.migrate_image)?,
            max_concurrent_reconciles: self.max_concurrent_tcp_reconciles,
            pod_namespace: filled(
                "pod-namespace",
                "set it, or the environment variable POD_NAMESPACE, to the operator's namespace",
                self.pod_namespace,
            )?,
            webhook_service_name: filled(
                "webhook-service-name",
                "name the webhook Service",
                self.webhook_service_name,
            )?,
            service_account_name: filled(
                "serviceaccount-name",
                "set it, or the environment variable SERVICE_ACCOUNT, to the operator's ServiceAccount",
                self.serviceaccount_name,
            )?,
            webhook_ca_path: filled("webhook-ca-path", "name the file", self.webhook_ca_path)?.into(),
            reconcile_timeout: reconcile_timeout(self.controller_reconcile_timeout)?,
            resync_period: resync(self.cache_resync_period),
            unready_after: self.unready_after,
            certificate_expiration_deadline: expiration_deadline(self.certificate_expiration_deadline)?,
            kubeconfig: self.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
            log,
            notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::telemetry::log::Format;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        manager: ManagerArgs,
    }

    /// The smallest complete command line: what the environment gives in a Pod.
    const POD: [&str; 3] = ["test", "--pod-namespace=kamaji-system", "--serviceaccount-name=kamaji"];

    fn options(arguments: &[&str]) -> Result<ManagerOptions, String> {
        Flags::try_parse_from([&POD, arguments].concat())
            .map_err(|error| error.to_string())?
            .manager
            .validate()
            .map_err(|error| error.to_string())
    }

    fn at(port: u16) -> ListenAddress {
        ListenAddress::On { host: String::new(), port }
    }

    #[test]
    fn defaults_are_those_of_the_go_operator() {
        let o = options(&[]).unwrap();
        assert_eq!((&o.metrics_address, &o.health_address), (&at(8080), &at(8081)));
        assert!(o.leader_elect);
        assert_eq!(o.tmp_directory, PathBuf::from("/tmp/kamaji"));
        assert_eq!(o.kine_image, "rancher/kine:v0.16.4");
        assert_eq!(o.default_data_store, None);
        assert_eq!(o.migrate_image, format!("docker.io/clastix/kamaji:v{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(o.max_concurrent_reconciles, None);
        assert_eq!(o.webhook_service_name, "kamaji-webhook-service");
        assert_eq!(o.webhook_ca_path, PathBuf::from("/tmp/k8s-webhook-server/serving-certs/ca.crt"));
        assert_eq!(o.reconcile_timeout, Duration::from_secs(30));
        assert_eq!(o.resync_period, Duration::from_mins(30));
        assert_eq!(o.unready_after, Duration::from_mins(1));
        assert_eq!(o.certificate_expiration_deadline, Duration::from_hours(24));
        assert_eq!(o.log.format, Format::Json);
        assert!(o.notes.is_empty());
    }

    #[test]
    fn accepts_what_the_chart_of_the_go_operator_passes() {
        let o = options(&[
            "--health-probe-bind-address=:9081",
            "--leader-elect",
            "--metrics-bind-address=:9080",
            "--tmp-directory=/scratch",
            "--datastore=default",
            "--disable-telemetry",
            "--zap-devel",
            "--max-concurrent-tcp-reconciles=4",
            "--certificate-expiration-deadline=48h",
            "--pprof-bind-address=:6060",
        ])
        .unwrap();
        assert_eq!((&o.metrics_address, &o.health_address), (&at(9080), &at(9081)));
        assert_eq!(o.default_data_store.as_deref(), Some("default"));
        assert_eq!(o.max_concurrent_reconciles, NonZeroUsize::new(4));
        assert_eq!(o.log.format, Format::Console);
        assert_eq!(o.notes.len(), 2);
    }

    #[test]
    fn the_resync_period_is_kept_where_it_promises_more_than_half_an_hour_does() {
        for (asked, kept) in [("5m", 300), ("29m", 1740), ("24h", 1800), ("0s", 1800), ("1ms", 10)] {
            let o = options(&[&format!("--cache-resync-period={asked}")]).unwrap();
            assert_eq!(o.resync_period, Duration::from_secs(kept), "{asked}");
        }
    }

    #[test]
    fn leader_election_switches_off_only_with_an_equals_sign() {
        assert!(!options(&["--leader-elect=false"]).unwrap().leader_elect);
        assert!(options(&["--leader-elect", "false"]).is_err());
        assert!(options(&["--leader-elect=no"]).unwrap_err().contains("neither true nor false"));
    }

    #[test]
    fn refuses_empty_values_and_names_the_flag() {
        for flag in [
            "kine-image",
            "migrate-image",
            "tmp-directory",
            "pod-namespace",
            "webhook-service-name",
            "serviceaccount-name",
            "webhook-ca-path",
        ] {
            let argument = format!("--{flag}=");
            let mut line: Vec<&str> = POD.into_iter().filter(|a| !a.contains(flag)).collect();
            line.push(&argument);
            let refusal = Flags::try_parse_from(line).unwrap().manager.validate().unwrap_err();
            assert!(refusal.to_string().starts_with(&format!("--{flag} is empty")), "{refusal}");
        }
    }

    #[test]
    fn refuses_deadlines_that_cannot_work() {
        assert!(options(&["--controller-reconcile-timeout=0s"]).unwrap_err().contains("above zero"));
        let short = options(&["--certificate-expiration-deadline=23h59m"]).unwrap_err();
        assert!(short.contains("23h59m") && short.contains("at least 24h"), "{short}");
        assert!(options(&["--cache-resync-period=1d"]).unwrap_err().contains("is not a duration"));
        assert!(options(&["--max-concurrent-tcp-reconciles=0"]).is_err());
    }

    #[test]
    fn the_certificate_authority_file_need_not_exist() {
        assert!(options(&["--webhook-ca-path=/nowhere/ca.crt"]).is_ok());
    }
}
