//! The wish to stop: SIGTERM or SIGINT, told to whoever asks.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was killed by SIGINT, as shells report it.
const INTERRUPTED: i32 = 130;

/// Tells everyone that the process is to stop. Clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A wish that only [`Shutdown::request`] makes come true, for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// A wish that SIGTERM or SIGINT makes come true. A second signal ends the process at once.
    ///
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system refuses the signal handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let wish = shutdown.clone();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping: no new work is taken up, work in flight is finished");
            wish.request();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("a second signal came: stopping at once");
            std::process::exit(INTERRUPTED);
        });
        Ok(shutdown)
    }

    /// Asks everyone to stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Ends when a stop is asked for; at once if it was.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// The wish as a token, for libraries that take one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}
