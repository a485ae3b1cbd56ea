//! What is reported of the addons (docs/reference/compatibility.md, "TenantControlPlane.status").

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Service},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kamaji_api::{
    contract::annotations::CHECKSUM,
    tenant_control_plane::{
        AddonStatus, AddonsStatus, AgentStatus, ConfigMapReference, KonnectivityStatus, NamespacedReference,
    },
};

pub use super::tenant::Installed;
use super::{
    findings::Findings,
    report::{reference, service_report},
};
use crate::{
    component::konnectivity,
    control_plane::{egress_selector, names::TenantSecret},
    resolved::Resolved,
};

/// Reports konnectivity's part in the management cluster: enabled is what runs there, not what is wanted.
pub(super) fn server(status: &mut KonnectivityStatus, findings: &Findings<'_>, now: &Time) {
    let Some(resolved) = findings.resolved else { return };
    let runs = findings.deployment.is_some_and(has_server);
    let Some(settings) = &resolved.konnectivity else {
        if !runs {
            let KonnectivityStatus { sa, cluster_role_binding, agent, .. } = std::mem::take(status);
            *status = KonnectivityStatus { sa, cluster_role_binding, agent, ..KonnectivityStatus::default() };
        }
        return;
    };
    status.enabled = runs;
    if runs {
        status.config_map = egress_selector(resolved);
    }
    if let Some(issued) = findings.issued {
        for (secret, report) in [
            (TenantSecret::KonnectivityCertificate, &mut status.certificate),
            (TenantSecret::KonnectivityKubeconfig, &mut status.kubeconfig),
        ] {
            reference(report, issued.secrets.get(&secret), now);
        }
    }
    if let Some(service) = findings.service.filter(|service| has_port(service)) {
        status.service = service_report(service, &resolved.name, resolved);
        status.service.port = settings.port;
    }
}

/// Reports what the tenant's cluster holds; a time moves only when what it dates does.
pub(super) fn tenant(status: &mut AddonsStatus, installed: &Installed, now: &Time) {
    for (report, enabled) in
        [(&mut status.core_dns, installed.core_dns), (&mut status.kube_proxy, installed.kube_proxy)]
    {
        if report.enabled != enabled {
            *report = AddonStatus { enabled, last_update: Some(now.clone()) };
        }
    }
    let konnectivity = &mut status.konnectivity;
    let Some(mode) = &installed.konnectivity else {
        konnectivity.agent = AgentStatus::default();
        konnectivity.sa = NamespacedReference::default();
        konnectivity.cluster_role_binding = NamespacedReference::default();
        return;
    };
    let (name, namespace) = ("konnectivity-agent".to_owned(), "kube-system".to_owned());
    let agent = &mut konnectivity.agent;
    if agent.name.as_ref() != Some(&name) || agent.mode.as_ref() != Some(mode) {
        *agent = AgentStatus {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            last_update: Some(now.clone()),
            mode: Some(mode.clone()),
        };
    }
    konnectivity.sa.name = Some(name);
    konnectivity.sa.namespace = Some(namespace);
    konnectivity.cluster_role_binding.name = Some(konnectivity::USER.to_owned());
}

fn has_server(live: &Deployment) -> bool {
    let pod = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.containers.iter().any(|container| container.name == konnectivity::NAME))
}

fn has_port(service: &Service) -> bool {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports.iter().any(|port| port.name.as_deref() == Some(konnectivity::NAME))
}

fn egress_selector(resolved: &Resolved) -> ConfigMapReference {
    let config_map = egress_selector::config_map(resolved).unwrap_or_default();
    let annotations = config_map.metadata.annotations.unwrap_or_default();
    ConfigMapReference { name: config_map.metadata.name, checksum: annotations.get(CHECKSUM).cloned() }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant_control_plane::KonnectivityAgentMode;

    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn everything(agent: KonnectivityAgentMode) -> Installed {
        Installed { core_dns: true, kube_proxy: true, konnectivity: Some(agent) }
    }

    #[test]
    fn a_time_moves_only_with_what_it_dates() {
        let mut status = AddonsStatus::default();
        let all = everything(KonnectivityAgentMode::DaemonSet);
        tenant(&mut status, &all, &at(1));
        let first = status.clone();
        assert_eq!(first.core_dns.last_update, Some(at(1)));
        tenant(&mut status, &all, &at(2));
        assert_eq!(status, first);
        tenant(&mut status, &everything(KonnectivityAgentMode::Deployment), &at(3));
        assert_eq!(status.konnectivity.agent.last_update, Some(at(3)));
        assert_eq!(status.core_dns, first.core_dns);
    }

    #[test]
    fn nothing_is_left_of_an_agent_that_was_taken_away() {
        let mut status = AddonsStatus::default();
        let all = everything(KonnectivityAgentMode::DaemonSet);
        tenant(&mut status, &all, &at(1));
        tenant(&mut status, &Installed::default(), &at(2));
        assert_eq!(status.konnectivity, KonnectivityStatus::default());
        assert!(!status.core_dns.enabled && !status.kube_proxy.enabled);
    }
}
