//! Probes of the three Kubernetes components, and what a user may change of them.

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kamaji_api::tenant_control_plane::{ControlPlaneProbes, ProbeSet, ProbeSpec};

use crate::{resolved::Resolved, template::TemplateRevision};

/// HTTPS paths that the three probes ask.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    /// Path of the liveness probe.
    pub liveness: &'static str,
    /// Path of the readiness probe.
    pub readiness: &'static str,
    /// Path of the start-up probe.
    pub startup: &'static str,
}

impl Paths {
    /// What kube-scheduler and kube-controller-manager serve.
    pub const HEALTHZ: Self = Self { liveness: "/healthz", readiness: "/healthz", startup: "/healthz" };
}

/// Numbers of a probe, in seconds and counts.
#[derive(Clone, Copy, Debug)]
struct Timing {
    initial_delay: i32,
    timeout: i32,
    period: i32,
    success: i32,
    failure: i32,
}

/// What the Go operator writes for all nine probes.
const UPSTREAM: Timing = Timing { initial_delay: 0, timeout: 1, period: 10, success: 1, failure: 3 };

/// Start-up of template `R1`: asked every second, for as long as kubeadm waits (four minutes).
const QUICK_STARTUP: Timing = Timing { period: 1, failure: 240, ..UPSTREAM };

/// Sets the three probes of `container`: defaults, then the user's settings for all components, then those for this one.
pub fn set(
    container: &mut Container,
    resolved: &Resolved,
    component: impl Fn(&ControlPlaneProbes) -> Option<&ProbeSet>,
    paths: &Paths,
    port: u16,
) {
    let probes = resolved.deployment().and_then(|deployment| deployment.probes.as_ref());
    let own = probes.and_then(component);
    let layers = |global: Option<&ProbeSpec>, own: Option<&ProbeSpec>| [global.cloned(), own.cloned()];
    let liveness = layers(probes.and_then(|all| all.liveness.as_ref()), own.and_then(|set| set.liveness.as_ref()));
    let readiness = layers(probes.and_then(|all| all.readiness.as_ref()), own.and_then(|set| set.readiness.as_ref()));
    let startup = layers(probes.and_then(|all| all.startup.as_ref()), own.and_then(|set| set.startup.as_ref()));
    // A user who tunes start-up counts from the documented defaults, so the unset numbers are those.
    let tuned = startup.iter().flatten().any(|spec| *spec != ProbeSpec::default());
    let quick = resolved.revision >= TemplateRevision::R1 && !tuned;
    container.liveness_probe = Some(probe(paths.liveness, port, UPSTREAM, &liveness));
    container.readiness_probe = Some(probe(paths.readiness, port, UPSTREAM, &readiness));
    container.startup_probe = Some(probe(paths.startup, port, if quick { QUICK_STARTUP } else { UPSTREAM }, &startup));
}

fn probe(path: &str, port: u16, default: Timing, layers: &[Option<ProbeSpec>; 2]) -> Probe {
    let pick = |field: fn(&ProbeSpec) -> Option<i32>, default: i32| {
        layers.iter().rev().flatten().find_map(field).unwrap_or(default)
    };
    let initial_delay = pick(|spec| spec.initial_delay_seconds, default.initial_delay);
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(port)),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        // The API server drops a zero, so writing it would differ for ever.
        initial_delay_seconds: (initial_delay != 0).then_some(initial_delay),
        timeout_seconds: Some(pick(|spec| spec.timeout_seconds, default.timeout)),
        period_seconds: Some(pick(|spec| spec.period_seconds, default.period)),
        success_threshold: Some(pick(|spec| spec.success_threshold, default.success)),
        failure_threshold: Some(pick(|spec| spec.failure_threshold, default.failure)),
        ..Probe::default()
    }
}
