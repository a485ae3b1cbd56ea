//! In which order the containers of a pod end: kube-apiserver goes on for a while, and what it needs for longer.

use k8s_openapi::api::core::v1::{Lifecycle, LifecycleHandler, SleepAction};

/// How long kube-apiserver goes on answering after it was told to stop, in seconds: longer than the slowest kube-proxy
/// takes to drop an endpoint.
pub const SHUTDOWN_DELAY_SECONDS: u32 = 10;

/// How long kine and the tunnels outlive the stop signal, in seconds, from template `R1` on: kube-apiserver takes
/// requests until its shutdown delay is over, those under way still write, and a webhook that one of them calls may take
/// its default timeout of ten seconds.
const LINGER_SECONDS: i64 = SHUTDOWN_DELAY_SECONDS as i64 + 12;

/// Keeps a container for as long as kube-apiserver may need it.
pub fn linger() -> Lifecycle {
    let sleep = Some(SleepAction { seconds: LINGER_SECONDS });
    Lifecycle { pre_stop: Some(LifecycleHandler { sleep, ..LifecycleHandler::default() }), ..Lifecycle::default() }
}
