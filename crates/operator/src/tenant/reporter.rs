//! What a session has to say, to whoever writes the status.

use kamaji_api::TenantControlPlane;
use kamaji_plan::status::{
    conditions::Trouble,
    tenant::{InPlace, TenantReport, TenantState},
};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{mpsc::UnboundedSender, watch};

/// Tells what a session has to say.
pub(super) struct Reporter {
    reports: watch::Sender<TenantReport>,
    wake: UnboundedSender<ObjectRef<TenantControlPlane>>,
    tenant: ObjectRef<TenantControlPlane>,
}

impl Reporter {
    /// Puts reports into `reports` and wakes `tenant`.
    pub(super) fn new(
        reports: watch::Sender<TenantReport>,
        wake: UnboundedSender<ObjectRef<TenantControlPlane>>,
        tenant: ObjectRef<TenantControlPlane>,
    ) -> Self {
        Self { reports, wake, tenant }
    }

    /// Changes the report; wakes the controller if `change` says that it did.
    fn update(&self, change: impl FnOnce(&mut TenantReport) -> bool) {
        if self.reports.send_if_modified(change) {
            // Nobody listens any more when the process ends.
            let _ = self.wake.send(self.tenant.clone());
        }
    }

    /// The API cannot be used.
    pub(super) fn unreachable(&self, trouble: Trouble) {
        self.update(|report| {
            // The first sentence stays: what the system says may alternate, and each change would be a write.
            if matches!(report.state, TenantState::Unreachable(_)) {
                return false;
            }
            tracing::warn!(reason = trouble.reason, message = trouble.message, "the tenant's API cannot be used");
            report.state = TenantState::Unreachable(trouble);
            true
        });
    }

    /// The API was used; what was found.
    pub(super) fn reached(&self, generation: Option<i64>, troubles: Vec<Trouble>, in_place: Option<InPlace>) {
        self.update(|report| {
            for trouble in &troubles {
                tracing::debug!(reason = trouble.reason, message = trouble.message, "not as it should be");
            }
            let state = if troubles.is_empty() { TenantState::Settled } else { TenantState::Troubled(troubles) };
            let in_place = in_place.or_else(|| report.in_place.clone());
            let new = TenantReport { generation, state, in_place };
            let changed = *report != new;
            *report = new;
            changed
        });
    }
}
