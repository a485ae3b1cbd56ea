//! Everything around the controllers: one API client, leader election, health, shutdown.
//!
//! [`serve`] brings the parts up in the order in which they need each other, runs the controllers, and takes the parts
//! down in the opposite order, so that the Lease is let go of only when nothing writes any more.

pub mod client;
pub mod health;
pub mod leader;
pub mod listen;
pub mod progress;
pub mod shutdown;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::cli::manager::ManagerOptions;
use crate::telemetry::log::LogLevel;
use crate::telemetry::metrics::{self, Metrics};
use leader::{Election, Leadership};
use progress::Progress;
use shutdown::Shutdown;

/// Reconciles in flight may go on for this long after a shutdown was asked for. Below the ten seconds of grace that
/// the chart gives the Pod, so that the Lease is still released in time.
pub const DRAIN: Duration = Duration::from_secs(7);

/// Letting go of the Lease may take this long.
const RELEASE: Duration = Duration::from_secs(2);

/// Name of the Lease of `kamaji manager`.
pub const LEASE: &str = "kamaji.clastix.io";

/// What the controllers run with. Clones share everything.
#[derive(Clone)]
pub struct Process {
    /// Checked flags.
    pub options: Arc<ManagerOptions>,
    /// Client of the management cluster.
    pub client: Client,
    /// Whether this replica may act. Stores may be filled before; nothing may be written.
    pub leadership: Leadership,
    /// Where controllers say what they are busy with; feeds `/readyz`.
    pub progress: Progress,
    /// Where controllers count.
    pub metrics: Metrics,
    /// When to stop taking up work.
    pub shutdown: Shutdown,
}

/// Runs `kamaji manager` until it is asked to stop, loses its Lease, or `controllers` end.
///
/// Nothing listens and nothing is written before the flags and the client configuration proved usable. After a
/// requested shutdown `controllers` have [`DRAIN`] to return; then their future is dropped.
///
/// # Errors
/// When a part cannot start, the Lease is lost, or `controllers` fail.
pub async fn serve(
    options: ManagerOptions,
    level: LogLevel,
    controllers: impl AsyncFnOnce(Process) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for note in &options.notes {
        tracing::warn!("{note}");
    }
    client::install_tls_provider()?;
    let shutdown = Shutdown::on_signals().context("SIGTERM and SIGINT cannot be listened for")?;
    let client = client::connect(options.kubeconfig.as_deref()).await?;
    let metrics = Metrics::new();
    let progress = Progress::starting(options.unready_after);

    let servers = CancellationToken::new();
    let health = listen::bind("health-probe-bind-address", &options.health_address).await?;
    let scrape = listen::bind("metrics-bind-address", &options.metrics_address).await?;
    let serving = [
        listen::serve(health, health::routes(progress.clone(), level), &servers),
        listen::serve(scrape, metrics::server::routes(metrics.clone()), &servers),
    ];

    let release = CancellationToken::new();
    let (leadership, election) = if options.leader_elect {
        let identity = leader::identity().context("this replica cannot be given a name for the Lease")?;
        let election = Election::new(client.clone(), &options.pod_namespace, LEASE, identity);
        let leadership = election.leadership();
        (leadership, Some(tokio::spawn(election.run(release.clone()))))
    } else {
        (Leadership::always(), None)
    };
    let reporting = tokio::spawn(report_leadership(leadership.clone(), metrics.clone()));

    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = options.pod_namespace, "starting");
    let process = Process {
        options: Arc::new(options),
        client,
        leadership: leadership.clone(),
        progress,
        metrics,
        shutdown: shutdown.clone(),
    };
    let outcome = tokio::select! {
        outcome = controllers(process) => outcome,
        () = leadership.lost() => Err(leader::LeaderError::Lost { lease: LEASE.to_owned() }.into()),
        () = overdue(&shutdown) => {
            tracing::warn!(seconds = DRAIN.as_secs(), "work in flight did not end in time and is cut");
            Ok(())
        }
    };

    release.cancel();
    if let Some(election) = election
        && tokio::time::timeout(RELEASE, election).await.is_err()
    {
        tracing::warn!("the Lease could not be released in time; the next replica waits until it runs out");
    }
    reporting.abort();
    servers.cancel();
    for server in serving.into_iter().flatten() {
        // A scrape that hangs must not hold up the end.
        let _ = tokio::time::timeout(Duration::from_millis(500), server).await;
    }
    tracing::info!("stopped");
    outcome
}

async fn overdue(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(DRAIN).await;
}

async fn report_leadership(leadership: Leadership, metrics: Metrics) {
    metrics.leading(LEASE, false);
    leadership.acquired().await;
    metrics.leading(LEASE, true);
    leadership.lost().await;
    metrics.leading(LEASE, false);
}
