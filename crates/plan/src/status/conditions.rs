//! The standard conditions of a tenant, following kstatus.
//!
//! `Ready`: the tenant's API is served. `Progressing`: the operator or a rollout is at work. `Degraded`: something is
//! wrong and the tenant may still run. `Stalled`: nothing goes on until a person changes something.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kamaji_api::{
    TenantControlPlane, TenantControlPlaneStatus,
    conditions::{self as api, ConditionStatus},
    tenant_control_plane::Phase,
};

use super::{Findings, phase};
use crate::rejection::Rejection;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is applied.
    Done,
    /// Everything is applied; something is wrong that does not keep the tenant from running.
    Impaired(Trouble),
    /// Something has yet to happen elsewhere; a watch or a poll continues the pass.
    Waiting(Trouble),
    /// The specification cannot work.
    Rejected(Rejection),
    /// A step failed; it is tried again by itself.
    Failed(Trouble),
}

/// A reason with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// CamelCase word, one of a fixed set.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
}

impl Trouble {
    /// A reason with its sentence.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Outcome {
    /// Whether every step of the pass was carried out.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Done | Self::Impaired(_) => true,
            Self::Waiting(_) | Self::Rejected(_) | Self::Failed(_) => false,
        }
    }

    /// Reason and sentence, where there is something to tell.
    pub fn trouble(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Done => None,
            Self::Impaired(trouble) | Self::Waiting(trouble) | Self::Failed(trouble) => {
                Some((trouble.reason, trouble.message.clone()))
            }
            Self::Rejected(rejection) => Some((rejection.reason, rejection.to_string())),
        }
    }
}

/// Sets the four conditions; their times move only with their status.
pub fn update(
    conditions: &mut Vec<Condition>,
    tenant: &TenantControlPlane,
    status: &TenantControlPlaneStatus,
    findings: &Findings<'_>,
    outcome: &Outcome,
    now: &Time,
) {
    let generation = tenant.metadata.generation;
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        let status = ConditionStatus::from(holds);
        api::set(conditions, api::condition(type_, status, reason, message, generation, now));
    };
    let (ready, reason, message) = readiness(status, findings, outcome);
    set(api::READY, ready, reason, &message);
    let (progressing, reason, message) = progress(findings, outcome);
    set(api::PROGRESSING, progressing, reason, &message);
    match outcome {
        Outcome::Done | Outcome::Waiting(_) => set(api::DEGRADED, false, "AsExpected", ""),
        Outcome::Impaired(_) | Outcome::Failed(_) | Outcome::Rejected(_) => {
            let (reason, message) = outcome.trouble().unwrap_or(("Unknown", String::new()));
            set(api::DEGRADED, true, reason, &message);
        }
    }
    match outcome {
        Outcome::Rejected(rejection) => set(api::STALLED, true, rejection.reason, &rejection.to_string()),
        _ => set(api::STALLED, false, "AsExpected", ""),
    }
}

fn readiness(
    status: &TenantControlPlaneStatus,
    findings: &Findings<'_>,
    outcome: &Outcome,
) -> (bool, &'static str, String) {
    let reported = status.kubernetes_resources.version.status.unwrap_or(Phase::Provisioning);
    let Some(live) = findings.deployment else {
        let (reason, message) = outcome.trouble().unwrap_or(("Provisioning", "The pods are not there yet.".to_owned()));
        return (false, reason, message);
    };
    let ready = phase::ready_replicas(live);
    if reported == Phase::Sleeping {
        return (
            false,
            "Sleeping",
            "The tenant has no replicas; raise spec.controlPlane.deployment.replicas.".to_owned(),
        );
    }
    if ready == 0 {
        return (false, "NotReady", "No replica of the control plane answers.".to_owned());
    }
    let untested = findings.resolved.filter(|resolved| !resolved.version.is_tested());
    let note = untested
        .map(|resolved| format!(" {} is accepted, and not covered by this release's tests.", resolved.version))
        .unwrap_or_default();
    (true, "Serving", format!("The API is served by {ready} of {} replicas.{note}", wanted(live)))
}

fn wanted(live: &k8s_openapi::api::apps::v1::Deployment) -> i32 {
    live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn progress(findings: &Findings<'_>, outcome: &Outcome) -> (bool, &'static str, String) {
    match outcome {
        Outcome::Waiting(trouble) | Outcome::Failed(trouble) => (true, trouble.reason, trouble.message.clone()),
        Outcome::Rejected(rejection) => (false, rejection.reason, String::new()),
        Outcome::Done | Outcome::Impaired(_) => match findings.deployment {
            Some(live) if wanted(live) > 0 && phase::is_progressing(live) => {
                let status = live.status.clone().unwrap_or_default();
                let message = format!(
                    "{} of {} replicas are up to date, {} are ready.",
                    status.updated_replicas.unwrap_or(0),
                    wanted(live),
                    status.ready_replicas.unwrap_or(0)
                );
                (true, "RollingOut", message)
            }
            _ => (false, "Settled", String::new()),
        },
    }
}
