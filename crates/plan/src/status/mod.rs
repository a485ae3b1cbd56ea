//! The status of a tenant: a report of what was observed and done, never the only copy of a fact.

pub mod addons;
pub mod conditions;
mod findings;
pub mod phase;
mod report;
pub mod tenant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kamaji_api::{
    TenantControlPlane, TenantControlPlaneStatus, contract,
    tenant_control_plane::{DeploymentReport, Phase},
};

pub use self::findings::Findings;
use self::{
    conditions::Outcome,
    report::{reference, service_report},
};
use crate::{
    control_plane::names::{self, TenantSecret},
    issued::{Issued, SecretDigest},
    resolved::Resolved,
    stored::Stored,
};

/// Computes the whole status. What the pass did not get to keeps its last report; times move only with what they date.
pub fn status(
    tenant: &TenantControlPlane,
    findings: &Findings<'_>,
    outcome: &Outcome,
    now: Timestamp,
) -> TenantControlPlaneStatus {
    let mut status = tenant.status.clone().unwrap_or_default();
    let now = Time(now);
    if let Some(resolved) = findings.resolved {
        status.storage.driver = Some(resolved.store.driver.as_str().to_owned());
        if let Some(stored) = findings.stored {
            storage(&mut status, resolved, stored, &now);
        }
        if let (Some(service), name) = (findings.service, &resolved.name) {
            status.kubernetes_resources.service = service_report(service, name, resolved);
        }
        if let Some(checksum) = findings.kubeadm_checksum {
            let reference = &mut status.kubeadmconfig;
            reference.config_map_name = Some(names::kubeadm_config(&resolved.name));
            if reference.checksum.as_deref() != Some(checksum) {
                reference.checksum = Some(checksum.to_owned());
                reference.last_update = Some(now.clone());
            }
        }
    }
    if let Some(exposed) = findings.exposed {
        status.control_plane_endpoint = Some(exposed.endpoint.clone());
    }
    if let Some(issued) = findings.issued {
        secrets(&mut status, issued, &now);
    }
    let installed = installed(&status, tenant, findings, outcome);
    deployment(&mut status, tenant, findings, &now);
    status.kubernetes_resources.version.version = installed;
    addons::server(&mut status.addons.konnectivity, findings, &now);
    if let Some(in_place) = findings.tenant.and_then(|report| report.in_place.as_ref()) {
        addons::tenant(&mut status.addons, &in_place.addons, &now);
        let phase = &mut status.kubeadm_phase.bootstrap_token;
        if phase.checksum != in_place.cluster_info_checksum {
            phase.checksum.clone_from(&in_place.cluster_info_checksum);
            phase.last_update = Some(now.clone());
        }
    }
    // A refused specification was looked at to the end: for kstatus it is Failed, not in progress for ever.
    if outcome.is_done() || matches!(outcome, Outcome::Rejected(_)) {
        status.observed_generation = tenant.metadata.generation;
    }
    let mut reported = status.conditions.take().unwrap_or_default();
    conditions::update(&mut reported, tenant, &status, findings, outcome, &now);
    status.conditions = Some(reported);
    status
}

fn storage(status: &mut TenantControlPlaneStatus, resolved: &Resolved, stored: &Stored, now: &Time) {
    let storage = &mut status.storage;
    storage.data_store_name = Some(resolved.store.name.clone());
    storage.config.secret_name = Some(TenantSecret::DatastoreConfig.name(&resolved.name));
    storage.config.checksum = Some(stored.config_checksum.clone());
    let setup = &mut storage.setup;
    let same = setup.schema.as_deref() == Some(&stored.schema)
        && setup.user.as_deref() == Some(&stored.user)
        && setup.checksum.as_deref() == Some(&stored.config_checksum);
    if !same && (stored.set_up || setup.schema.is_some()) {
        setup.schema = Some(stored.schema.clone());
        setup.user = Some(stored.user.clone());
        setup.checksum = Some(stored.config_checksum.clone());
        setup.last_update = Some(now.clone());
    }
    let name = TenantSecret::DatastoreCertificate.name(&resolved.name);
    let digest =
        SecretDigest { name, checksum: stored.certificate_checksum.clone(), hash: stored.certificate_checksum.clone() };
    reference(&mut storage.certificate, Some(&digest), now);
}

fn secrets(status: &mut TenantControlPlaneStatus, issued: &Issued, now: &Time) {
    let certificates = &mut status.certificates;
    let kubeconfig = &mut status.kubeconfig;
    for (reference_, secret) in [
        (&mut certificates.ca, TenantSecret::Ca),
        (&mut certificates.front_proxy_ca, TenantSecret::FrontProxyCa),
        (&mut certificates.sa, TenantSecret::ServiceAccount),
        (&mut certificates.api_server, TenantSecret::ApiServer),
        (&mut certificates.api_server_kubelet_client, TenantSecret::KubeletClient),
        (&mut certificates.front_proxy_client, TenantSecret::FrontProxyClient),
        (&mut kubeconfig.admin, TenantSecret::AdminKubeconfig),
        (&mut kubeconfig.controller_manager, TenantSecret::ControllerManagerKubeconfig),
        (&mut kubeconfig.scheduler, TenantSecret::SchedulerKubeconfig),
    ] {
        reference(reference_, issued.secrets.get(&secret), now);
    }
}

fn deployment(status: &mut TenantControlPlaneStatus, tenant: &TenantControlPlane, findings: &Findings<'_>, now: &Time) {
    let Some(live) = findings.deployment else {
        if findings.resolved.is_some_and(|resolved| resolved.replicas() == 0) {
            status.kubernetes_resources.version.status = Some(Phase::Sleeping);
        }
        return;
    };
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let live_status = live.status.clone().unwrap_or_default();
    let report = &mut status.kubernetes_resources.deployment;
    let selector = contract::labels::pod_selector_text(&name);
    let same = report.status == live_status && report.name == name && report.selector == selector;
    if !same {
        *report = DeploymentReport {
            status: live_status,
            selector,
            namespace: tenant.metadata.namespace.clone().unwrap_or_default(),
            name,
            last_update: Some(now.clone()),
        };
    }
    let version = &mut status.kubernetes_resources.version;
    version.status = Some(phase::phase(tenant, live, version.version.as_deref()));
}

/// The version that the tenant runs. Until a specification is carried out, the pods are those of an earlier one.
fn installed(
    status: &TenantControlPlaneStatus,
    tenant: &TenantControlPlane,
    findings: &Findings<'_>,
    outcome: &Outcome,
) -> Option<String> {
    let before = status.kubernetes_resources.version.version.clone();
    let Some(live) = findings.deployment.filter(|_| outcome.is_done()) else { return before };
    let phase = phase::phase(tenant, live, before.as_deref());
    if phase::is_settled(phase, live) { Some(tenant.spec.kubernetes.version.clone()) } else { before }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
    use kamaji_api::conditions as api;

    use super::{
        conditions::{Outcome, Trouble},
        *,
    };
    use crate::rejection::Rejection;

    #[test]
    fn a_version_counts_as_installed_only_when_it_was_carried_out() {
        let mut tenant = TenantControlPlane::default();
        tenant.spec.kubernetes.version = "v1.37.0".to_owned();
        let mut before = TenantControlPlaneStatus::default();
        before.kubernetes_resources.version.version = Some("v1.36.3".to_owned());
        tenant.status = Some(before);
        let replicas = Some(2);
        let live = Deployment {
            spec: Some(DeploymentSpec { replicas, ..Default::default() }),
            status: Some(DeploymentStatus {
                replicas,
                ready_replicas: replicas,
                updated_replicas: replicas,
                ..Default::default()
            }),
            ..Default::default()
        };
        let findings = Findings { deployment: Some(&live), ..Findings::default() };
        let installed = |outcome| {
            let after = status(&tenant, &findings, &outcome, Timestamp::UNIX_EPOCH);
            after.kubernetes_resources.version.version
        };
        assert_eq!(installed(Outcome::Done).as_deref(), Some("v1.37.0"));
        let refused = Outcome::Rejected(Rejection::new("Unsupported", "spec.kubernetes.version", "not so far at once"));
        assert_eq!(installed(refused).as_deref(), Some("v1.36.3"));
    }

    #[test]
    fn a_generation_is_observed_when_it_was_carried_out_or_refused_and_not_before() {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.generation = Some(3);
        tenant.status = Some(TenantControlPlaneStatus { observed_generation: Some(2), ..Default::default() });
        let after = |outcome| status(&tenant, &Findings::default(), &outcome, Timestamp::UNIX_EPOCH);
        let trouble = || Trouble::new("Why", "because");
        for outcome in [Outcome::Waiting(trouble()), Outcome::Failed(trouble())] {
            assert_eq!(after(outcome).observed_generation, Some(2));
        }
        assert_eq!(after(Outcome::Done).observed_generation, Some(3));
        let refused = after(Outcome::Rejected(Rejection::new("Invalid", "spec.x", "it cannot work")));
        assert_eq!(refused.observed_generation, Some(3));
        assert!(api::is_true(refused.conditions.as_deref().unwrap(), api::STALLED));
    }
}
