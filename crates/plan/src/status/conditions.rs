//! The standard conditions of a tenant, following kstatus.
//!
//! `Ready`: the tenant's API is served. `Progressing`: the operator or a rollout is at work. `Degraded`: something is
//! wrong and the tenant may still run. `Stalled`: nothing goes on until a person changes something. And one of our own:
//! `TenantConfigured`: what the operator keeps in the tenant's own cluster is in place. `Ready` does not wait for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kamaji_api::{
    TenantControlPlane, TenantControlPlaneStatus,
    conditions::{self as api, ConditionStatus},
    tenant_control_plane::Phase,
};

use super::{findings::Findings, phase, tenant::TenantState};
use crate::rejection::Rejection;
pub use crate::trouble::Trouble;

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

/// Sets the conditions; their times move only with their status.
pub fn update(
    conditions: &mut Vec<Condition>,
    tenant: &TenantControlPlane,
    status: &TenantControlPlaneStatus,
    findings: &Findings<'_>,
    outcome: &Outcome,
    now: &Time,
) {
    let generation = tenant.metadata.generation;
    let configured = configured(conditions, generation, findings, now);
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        let status = ConditionStatus::from(holds);
        api::set(conditions, api::condition(type_, status, reason, message, generation, now));
    };
    let (ready, reason, message) = readiness(status, findings, outcome);
    set(api::READY, ready, reason, &message);
    let (progressing, reason, message) = progress(findings, outcome);
    set(api::PROGRESSING, progressing, reason, &message);
    match outcome {
        Outcome::Done | Outcome::Waiting(_) => match configured.as_ref().filter(|found| is_wrong(found, findings)) {
            Some(found) => set(api::DEGRADED, true, &found.reason, &found.message),
            None => set(api::DEGRADED, false, "AsExpected", ""),
        },
        Outcome::Impaired(_) | Outcome::Failed(_) | Outcome::Rejected(_) => {
            let (reason, message) = outcome.trouble().unwrap_or(("Unknown", String::new()));
            set(api::DEGRADED, true, reason, &message);
        }
    }
    match outcome {
        Outcome::Rejected(rejection) => set(api::STALLED, true, rejection.reason, &rejection.to_string()),
        _ => set(api::STALLED, false, "AsExpected", ""),
    }
    if let Some(configured) = configured {
        api::set(conditions, configured);
    }
}

/// Reason of `TenantConfigured` before the tenant's API has answered for the first time.
const CONNECTING: &str = "Connecting";

/// What the session with the tenant's API says. Where it says nothing yet, the last report stays: a restart of the
/// operator is no news.
fn configured(before: &[Condition], generation: Option<i64>, findings: &Findings<'_>, now: &Time) -> Option<Condition> {
    let before = api::find(before, api::TENANT_CONFIGURED);
    let Some(report) = findings.tenant else { return before.cloned() };
    let told = |holds: bool, reason: &str, message: &str, generation| {
        let status = ConditionStatus::from(holds);
        Some(api::condition(api::TENANT_CONFIGURED, status, reason, message, generation, now))
    };
    match &report.state {
        TenantState::NotYet if before.is_some() => before.cloned(),
        TenantState::NotYet => told(false, CONNECTING, "The tenant's API has yet to answer the operator.", generation),
        TenantState::Settled => {
            let message = "What the operator keeps in the tenant's cluster is in place.";
            told(true, "Configured", message, report.generation)
        }
        TenantState::Troubled(troubles) => {
            let reason = troubles.first().map_or("Unknown", |trouble| trouble.reason);
            let sentences: Vec<&str> = troubles.iter().map(|trouble| trouble.message.as_str()).collect();
            told(false, reason, &sentences.join(" "), report.generation)
        }
        TenantState::Unreachable(trouble) => told(false, trouble.reason, &trouble.message, report.generation),
    }
}

/// Whether the tenant side is something that a person should look at. While no pod answers, that is said elsewhere.
fn is_wrong(configured: &Condition, findings: &Findings<'_>) -> bool {
    let kept = findings.tenant.is_some();
    let served = findings.deployment.is_some_and(|live| phase::ready_replicas(live) > 0);
    kept && served && configured.status == ConditionStatus::False.as_str() && configured.reason != CONNECTING
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;
    use crate::status::tenant::TenantReport;

    fn reported(
        before: &[Condition],
        generation: i64,
        second: i64,
        state: Option<TenantState>,
        ready: i32,
    ) -> Vec<Condition> {
        let tenant: TenantControlPlane = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {"name": "one", "generation": generation},
            "spec": {
                "controlPlane": {"service": {"serviceType": "ClusterIP"}},
                "kubernetes": {"version": "v1.36.3", "kubelet": {}},
            },
        }))
        .unwrap();
        let live: Deployment = serde_json::from_value(json!({
            "spec": {"replicas": 1, "selector": {}, "template": {}}, "status": {"readyReplicas": ready},
        }))
        .unwrap();
        let report = state.map(|state| TenantReport { generation: Some(1), state, in_place: None });
        let findings = Findings { deployment: Some(&live), tenant: report.as_ref(), ..Findings::default() };
        let now = serde_json::from_value(json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap();
        let mut conditions = before.to_vec();
        let status = TenantControlPlaneStatus::default();
        update(&mut conditions, &tenant, &status, &findings, &Outcome::Done, &now);
        conditions
    }

    fn of<'a>(conditions: &'a [Condition], type_: &str) -> (&'a str, &'a str) {
        let found = api::find(conditions, type_).unwrap();
        (&found.status, &found.reason)
    }

    fn unreachable() -> TenantState {
        TenantState::Unreachable(Trouble::new("TenantUnreachable", "Nothing answers."))
    }

    #[test]
    fn a_tenant_is_ready_and_not_degraded_before_its_session_has_said_anything() {
        let none = reported(&[], 1, 0, None, 1);
        assert!(api::find(&none, api::TENANT_CONFIGURED).is_none());
        let conditions = reported(&none, 1, 0, Some(TenantState::NotYet), 1);
        assert_eq!(of(&conditions, api::TENANT_CONFIGURED), ("False", "Connecting"));
        assert_eq!(of(&conditions, api::READY), ("True", "Serving"));
        assert_eq!(of(&conditions, api::DEGRADED), ("False", "AsExpected"));
        let conditions = reported(&conditions, 1, 1, Some(TenantState::Settled), 1);
        assert_eq!(of(&conditions, api::TENANT_CONFIGURED), ("True", "Configured"));
    }

    #[test]
    fn a_restart_of_the_operator_changes_no_condition() {
        for state in [TenantState::Settled, unreachable()] {
            let before = reported(&[], 1, 0, Some(state), 1);
            assert_eq!(reported(&before, 1, 9, Some(TenantState::NotYet), 1), before);
        }
    }

    #[test]
    fn an_unreachable_tenant_is_degraded_while_its_pods_answer() {
        let conditions = reported(&[], 1, 0, Some(unreachable()), 1);
        assert_eq!(of(&conditions, api::DEGRADED), ("True", "TenantUnreachable"));
        let conditions = reported(&conditions, 1, 1, Some(unreachable()), 0);
        assert_eq!(of(&conditions, api::DEGRADED), ("False", "AsExpected"), "no pod answers, and Ready says so");
        let conditions = reported(&conditions, 1, 2, Some(TenantState::Settled), 1);
        assert_eq!(of(&conditions, api::DEGRADED), ("False", "AsExpected"));
    }

    #[test]
    fn every_trouble_is_told_and_the_generation_is_that_of_the_report() {
        let troubles = vec![Trouble::new("InvalidPatch", "The first."), Trouble::new("Other", "The second.")];
        let conditions = reported(&[], 2, 0, Some(TenantState::Troubled(troubles)), 1);
        let found = api::find(&conditions, api::TENANT_CONFIGURED).unwrap();
        assert_eq!((found.reason.as_str(), found.message.as_str()), ("InvalidPatch", "The first. The second."));
        assert_eq!(found.observed_generation, Some(1));
        assert_eq!(of(&conditions, api::DEGRADED), ("True", "InvalidPatch"));
    }
}
