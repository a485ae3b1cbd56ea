//! How long each step of a pass takes, under the names of the Go operator's handlers (`docs/reference/compatibility.md`,
//! Metrics).

use std::time::Instant;

use super::context::Context;

/// Runs a step and counts its time under `handler`, whatever comes of it. A step that is cut counts nothing.
pub async fn timed<T>(context: &Context, handler: &'static str, step: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let outcome = step.await;
    context.process.metrics.handler_ended(handler, began.elapsed());
    outcome
}
