//! The controller of EtcdClusters.

use std::sync::Arc;

use super::context::Context;

/// Runs until shutdown.
///
/// # Errors
/// Never yet.
pub async fn run(context: Arc<Context>) -> anyhow::Result<()> {
    context.process.shutdown.requested().await;
    Ok(())
}
