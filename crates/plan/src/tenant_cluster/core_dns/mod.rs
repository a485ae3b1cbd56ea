//! CoreDNS, as kubeadm of the tenant's minor installs it (kubeadm, `phases/addons/dns`; docs/reference/compatibility.md,
//! "CoreDNS").

mod deployment;
mod service;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::ConfigMap,
    rbac::v1::{ClusterRole, PolicyRule},
};

use super::{
    TenantCluster,
    minors::{self, Minor},
    object,
};
use crate::resolved::Resolved;

/// Name of the Deployment, the ConfigMap and the ServiceAccount.
const NAME: &str = "coredns";
/// Name of the ClusterRole and its binding.
const ROLE: &str = "system:coredns";
/// The label that the pods are selected by.
const SELECTOR: (&str, &str) = ("k8s-app", "kube-dns");
/// Key of the configuration in the ConfigMap, and its file name.
const CONFIG_KEY: &str = "Corefile";

/// Adds CoreDNS, when the addon is on.
pub(super) fn add(cluster: &mut TenantCluster, resolved: &Resolved) {
    let addons = resolved.tenant.spec.addons.as_ref();
    let Some(image) = addons.and_then(|addons| addons.core_dns.as_ref()) else { return };
    let minor = minors::of(&resolved.version);
    cluster.config_maps.push(config_map(&minor, &resolved.network.cluster_domain));
    cluster.service_accounts.push(object::service_account(NAME));
    cluster.cluster_roles.push(cluster_role());
    let subject = object::service_account_subject(NAME);
    cluster.cluster_role_bindings.push(object::cluster_role_binding(ROLE, ROLE, subject));
    cluster.services.push(service::service(resolved, &mut cluster.troubles));
    cluster.deployments.push(deployment::deployment(&minor, image));
}

fn config_map(minor: &Minor, domain: &str) -> ConfigMap {
    ConfigMap {
        metadata: object::namespaced(NAME, &[]),
        data: Some(BTreeMap::from([(CONFIG_KEY.to_owned(), corefile(minor, domain))])),
        ..ConfigMap::default()
    }
}

/// The configuration. From some minor on, answers about the tenant's own names are not cached: CoreDNS has them from
/// its watches.
fn corefile(minor: &Minor, domain: &str) -> String {
    let cache = if minor.core_dns_bypasses_cache {
        format!("cache 30 {{\n   disable success {domain}\n   disable denial {domain}\n}}")
    } else {
        "cache 30".to_owned()
    };
    let plugins = [
        "errors",
        "health {\n   lameduck 5s\n}",
        "ready",
        &format!(
            "kubernetes {domain} in-addr.arpa ip6.arpa {{\n   pods insecure\n   fallthrough in-addr.arpa ip6.arpa\n   \
             ttl 30\n}}"
        ),
        "prometheus :9153",
        "forward . /etc/resolv.conf {\n   max_concurrent 1000\n}",
        &cache,
        "loop",
        "reload",
        "loadbalance",
    ];
    let mut text = ".:53 {\n".to_owned();
    for line in plugins.iter().flat_map(|plugin| plugin.lines()) {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("}\n");
    text
}

fn cluster_role() -> ClusterRole {
    let watch = |group: &str, resources: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(|&resource| resource.to_owned()).collect()),
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        ..PolicyRule::default()
    };
    ClusterRole {
        metadata: object::of_cluster(ROLE, &[]),
        rules: Some(vec![
            watch("", &["endpoints", "services", "pods", "namespaces"]),
            watch("discovery.k8s.io", &["endpointslices"]),
        ]),
        ..ClusterRole::default()
    }
}
