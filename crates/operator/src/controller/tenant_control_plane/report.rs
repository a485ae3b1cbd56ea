//! The end of a pass: the status, an Event where something changed, and when to look again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kamaji_api::{TenantControlPlane, conditions};
use kamaji_apply::EventType;
use kamaji_plan::status::{
    self,
    conditions::{Outcome, Trouble},
};
use kube::runtime::controller::Action;

use super::{
    Findings, Shared, category,
    error::{Error, Halt},
};

/// How soon something without a watch is looked at again.
const POLL: Duration = Duration::from_millis(500);

/// When to look again, and the word for the metric.
pub fn next(shared: &Shared, tenant_uid: &str, ended: &Result<Option<Trouble>, Halt>) -> (Action, &'static str) {
    match ended {
        Ok(None) => {
            shared.backoff.reset(tenant_uid);
            (Action::requeue(shared.backoff.spread(shared.resync())), "done")
        }
        Ok(Some(_)) => (Action::requeue(shared.backoff.next(tenant_uid)), "impaired"),
        Err(halt @ Halt::Waiting { poll, .. }) => {
            shared.backoff.reset(tenant_uid);
            let wait = if *poll { POLL } else { shared.resync() };
            (Action::requeue(shared.backoff.spread(wait)), category(halt))
        }
        Err(halt @ Halt::Rejected(_)) => {
            shared.backoff.reset(tenant_uid);
            (Action::requeue(shared.backoff.spread(shared.resync())), category(halt))
        }
        Err(halt @ Halt::Failed(_)) => (Action::requeue(shared.backoff.next(tenant_uid)), category(halt)),
    }
}

/// Tenants whose status cannot be written because the API server finds fault with the object itself, by UID, with what
/// was told instead.
#[derive(Default)]
pub struct Unwritten(Mutex<HashMap<String, String>>);

impl Unwritten {
    fn is_news(&self, tenant_uid: &str, message: &str) -> bool {
        self.told().insert(tenant_uid.to_owned(), message.to_owned()).as_deref() != Some(message)
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.told().remove(tenant_uid);
    }

    fn told(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    ended: &Result<Option<Trouble>, Halt>,
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
        tenant: findings.tenant.as_ref(),
    };
    let status = status::status(tenant, &found, &outcome, Timestamp::now());
    if tenant.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut desired = tenant.clone();
    desired.status = Some(status);
    let uid = tenant.metadata.uid.clone().unwrap_or_default();
    match shared.context.applier.apply_status(&desired, tenant).await {
        Ok(applied) => {
            shared.stores.tenants.applied(applied);
            shared.unwritten.forget(&uid);
            tell(shared, tenant, &desired, &outcome).await;
            Ok(())
        }
        // Gone since, or another one of this name.
        Err(error) if matches!(error.category(), "not-found" | "conflict") => Ok(()),
        Err(source) => {
            let message = outcome.trouble().map(|(_, message)| message).unwrap_or_default();
            if source.category() == "invalid" && shared.unwritten.is_news(&uid, &message) {
                tell(shared, tenant, &desired, &outcome).await;
            }
            Err(Error::Write { what: "the status".to_owned(), source })
        }
    }
}

fn outcome(ended: &Result<Option<Trouble>, Halt>) -> Outcome {
    match ended {
        Ok(None) => Outcome::Done,
        Ok(Some(trouble)) => Outcome::Impaired(trouble.clone()),
        Err(Halt::Waiting { trouble, .. }) => {
            tracing::debug!(reason = trouble.reason, message = trouble.message, "waiting");
            Outcome::Waiting(trouble.clone())
        }
        Err(Halt::Rejected(rejection)) => {
            tracing::info!(%rejection, "the specification cannot work");
            Outcome::Rejected(rejection.clone())
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
        Outcome::Done | Outcome::Waiting(_) if !is_degraded(after) => EventType::Normal,
        Outcome::Done | Outcome::Waiting(_) | Outcome::Impaired(_) | Outcome::Rejected(_) | Outcome::Failed(_) => {
            EventType::Warning
        }
    };
    shared.context.event(after, kind, &reason, "Reconcile", message).await;
}

/// Something is wrong, here or in the tenant's own cluster.
fn is_degraded(tenant: &TenantControlPlane) -> bool {
    let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions::is_true(all, conditions::DEGRADED)
}
