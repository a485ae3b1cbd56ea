//! The end of a pass: the status, an Event where something changed, and when to look again.

use std::time::Duration;

use jiff::Timestamp;
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_apply::EventType;
use kamaji_plan::status::{
    self,
    conditions::{Outcome, Trouble},
};
use kube::runtime::controller::Action;

use super::{Findings, Shared, category, error::{Error, Halt}};

/// How soon something without a watch is looked at again.
const POLL: Duration = Duration::from_millis(500);

/// When to look again, and the word for the metric.
pub fn next(shared: &Shared, tenant_uid: &str, ended: &Result<(), Halt>) -> (Action, &'static str) {
    match ended {
        Ok(()) => {
            shared.backoff.reset(tenant_uid);
            (Action::requeue(shared.backoff.spread(super::RESYNC)), "done")
        }
        Err(halt @ Halt::Waiting { poll: true, .. }) => (Action::requeue(shared.backoff.spread(POLL)), category(halt)),
        Err(halt @ (Halt::Waiting { poll: false, .. } | Halt::Rejected(_))) => {
            (Action::requeue(shared.backoff.spread(super::RESYNC)), category(halt))
        }
        Err(halt @ Halt::Failed(_)) => (Action::requeue(shared.backoff.next(tenant_uid)), category(halt)),
    }
}

/// Writes the status if it differs, and an Event if the trouble is a new one.
///
/// # Errors
/// When the status cannot be written.
pub async fn report(
    shared: &Shared,
    tenant: &TenantControlPlane,
    findings: &Findings,
    ended: Result<(), Halt>,
) -> Result<(), Error> {
    let outcome = outcome(ended);
    let found = status::Findings {
        resolved: findings.resolved.as_ref(),
        service: findings.service.as_ref(),
        exposed: findings.exposed.as_ref(),
        issued: findings.issued.as_ref(),
        stored: findings.stored.as_ref(),
        kubeadm_checksum: findings.kubeadm_checksum.as_deref(),
        deployment: findings.deployment.as_ref(),
    };
    let status = status::status(tenant, &found, &outcome, Timestamp::now());
    if tenant.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut desired = tenant.clone();
    desired.status = Some(status);
    tell(shared, tenant, &desired, &outcome).await;
    let applied = shared
        .context
        .applier
        .apply_status(&desired, tenant)
        .await
        .map_err(|source| Error::Write { what: "the status".to_owned(), source })?;
    shared.stores.tenants.recent.wrote(&applied.object);
    Ok(())
}

fn outcome(ended: Result<(), Halt>) -> Outcome {
    match ended {
        Ok(()) => Outcome::Done,
        Err(Halt::Waiting { trouble, .. }) => {
            tracing::debug!(reason = trouble.reason, message = trouble.message, "waiting");
            Outcome::Waiting(trouble)
        }
        Err(Halt::Rejected(rejection)) => {
            tracing::info!(%rejection, "the specification cannot work");
            Outcome::Rejected(rejection)
        }
        Err(Halt::Failed(error)) => {
            tracing::warn!(%error, "a step failed and is tried again");
            Outcome::Failed(Trouble::new(error.reason(), error.to_string()))
        }
    }
}

/// Events only on a transition: the phase, or the reason for which something is wrong.
async fn tell(shared: &Shared, before: &TenantControlPlane, after: &TenantControlPlane, outcome: &Outcome) {
    let phase = |tenant: &TenantControlPlane| tenant.status.as_ref()?.kubernetes_resources.version.status;
    if let Some(now) = phase(after).filter(|now| phase(before) != Some(*now)) {
        let note = format!("The control plane is {now}.");
        shared.context.event(after, EventType::Normal, now.as_str(), "Report", note).await;
    }
    let trouble = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref()?.conditions.as_deref()?;
        let of = |kind: &str| conditions::find(all, kind).filter(|found| found.status == "True");
        of(conditions::DEGRADED)
            .or_else(|| of(conditions::PROGRESSING).filter(|found| found.reason != "RollingOut"))
            .map(|found| (found.reason.clone(), found.message.clone()))
    };
    let Some((reason, message)) = trouble(after).filter(|now| trouble(before).as_ref() != Some(now)) else { return };
    let kind = match outcome {
        Outcome::Done | Outcome::Waiting(_) => EventType::Normal,
        Outcome::Impaired(_) | Outcome::Rejected(_) | Outcome::Failed(_) => EventType::Warning,
    };
    shared.context.event(after, kind, &reason, "Reconcile", message).await;
}
