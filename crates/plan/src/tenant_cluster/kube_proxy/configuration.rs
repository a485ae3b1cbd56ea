//! kube-proxy's ConfigMap: its configuration, and the kubeconfig by which it reaches the tenant's API.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::NAME;
use crate::{
    address::Cidr,
    exposed::Exposed,
    resolved::Resolved,
    template::TemplateRevision,
    tenant_cluster::{kubeadm::json_patches, minors, object, yaml},
    trouble::Trouble,
};

/// The field that patches the configuration.
const PATCHES: &str = "spec.addons.kubeProxy.configurationJSONPatches";
/// Key of the configuration in the ConfigMap, and its file name.
pub(super) const CONFIG_KEY: &str = "config.conf";
/// Key of the kubeconfig in the ConfigMap, and its file name.
const KUBECONFIG_KEY: &str = "kubeconfig.conf";
/// Where the ConfigMap is mounted.
pub(super) const DIRECTORY: &str = "/var/lib/kube-proxy";

/// The ConfigMap, and whether kube-proxy starts anew when it changes.
pub(super) struct Configuration {
    pub(super) config_map: ConfigMap,
    rolls: bool,
}

impl Configuration {
    /// Checksum of what is in the ConfigMap, where another one is to roll the pods: kube-proxy reads it only once.
    pub(super) fn rolled_by(&self) -> Option<String> {
        self.rolls.then(|| self.config_map.data.as_ref().map(kamaji_pki::checksum::map)).flatten()
    }
}

/// The ConfigMap, or what keeps it from being planned: patches that cannot be read or applied.
pub(super) fn plan(resolved: &Resolved, exposed: &Exposed) -> Result<Configuration, Trouble> {
    let patches = resolved.tenant.kube_proxy_patches().map_err(|error| {
        let message = format!("{PATCHES}: {error}; until then kube-proxy keeps its configuration");
        Trouble::new("JSONPatchFailed", message)
    })?;
    let mut configuration = kubeadms(resolved);
    if !patches.is_empty() {
        json_patches::apply(&mut configuration, &patches).map_err(|refusal| {
            refusal.trouble(PATCHES, &format!("ConfigMap {}/{NAME} of the tenant cluster", object::NAMESPACE))
        })?;
    }
    let metadata = object::namespaced(NAME, &[("app", NAME)]);
    let data = [
        (CONFIG_KEY.to_owned(), yaml::document(&configuration).trim_end().to_owned()),
        (KUBECONFIG_KEY.to_owned(), kubeconfig(exposed)),
    ];
    let config_map = ConfigMap { metadata, data: Some(data.into()), ..ConfigMap::default() };
    // What the Go operator wrote has no checksum; adding one would roll kube-proxy by a mere takeover.
    let rolls = resolved.revision >= TemplateRevision::R1 || !patches.is_empty();
    Ok(Configuration { config_map, rolls })
}

/// What kubeadm of the tenant's minor writes: its own choices, and zeros where kube-proxy has the default.
///
/// A tenant that the Go operator made keeps what that operator wrote, which knows neither ranges nor families: with a
/// range, kube-proxy begins to hide the addresses of whoever is outside of it.
fn kubeadms(resolved: &Resolved) -> Value {
    let kubeadm = resolved.revision >= TemplateRevision::R1;
    let cluster_cidr = if kubeadm { resolved.network.pod_cidrs.join(",") } else { String::new() };
    let bind_address = if kubeadm && primary_is_ipv6(resolved) { "::" } else { "0.0.0.0" };
    let mode = if kubeadm { minors::of(&resolved.version).kube_proxy_mode } else { "" };
    let unset = "0s";
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "bindAddress": bind_address,
        "bindAddressHardFail": false,
        "clientConnection": {
            "acceptContentTypes": "",
            "burst": 0,
            "contentType": "",
            "kubeconfig": format!("{DIRECTORY}/{KUBECONFIG_KEY}"),
            "qps": 0,
        },
        "clusterCIDR": cluster_cidr,
        "configSyncPeriod": unset,
        "conntrack": {
            "maxPerCore": null,
            "min": null,
            "tcpBeLiberal": false,
            "tcpCloseWaitTimeout": null,
            "tcpEstablishedTimeout": null,
            "udpStreamTimeout": unset,
            "udpTimeout": unset,
        },
        "detectLocal": {"bridgeInterface": "", "interfaceNamePrefix": ""},
        "detectLocalMode": "",
        "enableProfiling": false,
        "healthzBindAddress": "",
        "hostnameOverride": "",
        "iptables": {
            "localhostNodePorts": null,
            "masqueradeAll": false,
            "masqueradeBit": null,
            "minSyncPeriod": unset,
            "syncPeriod": unset,
        },
        "ipvs": {
            "excludeCIDRs": null,
            "minSyncPeriod": unset,
            "scheduler": "",
            "strictARP": false,
            "syncPeriod": unset,
            "tcpFinTimeout": unset,
            "tcpTimeout": unset,
            "udpTimeout": unset,
        },
        "kind": "KubeProxyConfiguration",
        "logging": {
            "flushFrequency": 0,
            "options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}},
            "verbosity": 0,
        },
        "metricsBindAddress": "",
        "mode": mode,
        "nftables": {"masqueradeAll": false, "masqueradeBit": null, "minSyncPeriod": unset, "syncPeriod": unset},
        "nodePortAddresses": null,
        "oomScoreAdj": null,
        "portRange": "",
        "showHiddenMetricsForVersion": "",
        "winkernel": {
            "enableDSR": false,
            "forwardHealthCheckVip": false,
            "networkName": "",
            "rootHnsEndpointName": "",
            "sourceVip": "",
        },
    })
}

/// kubeadm asks the address that the API server advertises, which in a cluster of its own is of the services' family.
fn primary_is_ipv6(resolved: &Resolved) -> bool {
    let primary = resolved.network.service_cidrs.first().and_then(|range| Cidr::parse(range));
    primary.is_some_and(|range| range.address.is_ipv6())
}

/// kube-proxy's pods have the token and the authority of their ServiceAccount.
fn kubeconfig(exposed: &Exposed) -> String {
    const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    [
        "apiVersion: v1",
        "kind: Config",
        "clusters:",
        "- cluster:",
        &format!("    certificate-authority: {SERVICE_ACCOUNT}/ca.crt"),
        &format!("    server: https://{}", exposed.public_endpoint),
        "  name: default",
        "contexts:",
        "- context:",
        "    cluster: default",
        "    namespace: default",
        "    user: default",
        "  name: default",
        "current-context: default",
        "users:",
        "- name: default",
        "  user:",
        &format!("    tokenFile: {SERVICE_ACCOUNT}/token"),
    ]
    .join("\n")
}
