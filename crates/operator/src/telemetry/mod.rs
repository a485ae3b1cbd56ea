//! What the process tells: logs on standard error, metrics for whoever scrapes them. Nothing is sent anywhere.

pub mod log;
pub mod metrics;
