//! The ConfigMap `kube-system/kubelet-config`, from which a joining node writes its kubelet's configuration.
//!
//! It holds what kubeadm of the tenant's minor writes: kubeadm's own defaults, and zeros where kubelet has the default.
//! A materialised default of one minor can be refused by a kubelet of another.

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_api::tenant_control_plane::CgroupDriver;
use serde_json::{Value, json};

use super::{KUBE_SYSTEM, json_patches};
use crate::{
    control_plane::kubeadm_config as facts,
    resolved::Resolved,
    tenant_cluster::{dns, minors, yaml},
    trouble::Trouble,
};

/// Name of the ConfigMap.
pub(super) const NAME: &str = "kubelet-config";
/// The field that patches it.
const PATCHES: &str = "spec.kubernetes.kubelet.configurationJSONPatches";

/// The ConfigMap, or what keeps it from being planned: a patch that does not apply.
pub(super) fn config_map(resolved: &Resolved) -> Result<ConfigMap, Trouble> {
    let mut configuration = defaults(resolved);
    let patches = resolved.tenant.spec.kubernetes.kubelet.configuration_json_patches.as_deref().unwrap_or_default();
    json_patches::apply(&mut configuration, patches).map_err(|refusal| {
        refusal.trouble(PATCHES, &format!("ConfigMap {KUBE_SYSTEM}/{NAME} in the tenant cluster"))
    })?;
    Ok(super::config_map(KUBE_SYSTEM, NAME, "kubelet", yaml::document(&configuration)))
}

/// kubeadm's default is systemd; a text that is no driver is not passed on to nodes.
fn driver(resolved: &Resolved) -> &CgroupDriver {
    match &resolved.tenant.spec.kubernetes.kubelet.cgroup_driver {
        Some(driver @ (CgroupDriver::Systemd | CgroupDriver::Cgroupfs)) => driver,
        Some(CgroupDriver::Other(_)) | None => &CgroupDriver::Systemd,
    }
}

/// What kubeadm writes (kubeadm v1beta4, its KubeletConfiguration defaults).
fn defaults(resolved: &Resolved) -> Value {
    let unset = "0s";
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"cacheTTL": unset, "enabled": true},
            "x509": {"clientCAFile": format!("{}/ca.crt", facts::CERTIFICATES_DIR)},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": unset, "cacheUnauthorizedTTL": unset},
        },
        "cgroupDriver": driver(resolved).as_str(),
        "clusterDNS": dns::addresses(resolved).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "clusterDomain": resolved.network.cluster_domain,
        "containerRuntimeEndpoint": "",
        "cpuManagerReconcilePeriod": unset,
        "evictionPressureTransitionPeriod": unset,
        "fileCheckFrequency": unset,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "httpCheckFrequency": unset,
        "imageMaximumGCAge": unset,
        "imageMinimumGCAge": unset,
        "kind": "KubeletConfiguration",
        "logging": {
            "flushFrequency": 0,
            "options": {"json": {"infoBufferSize": "0"}, "text": {"infoBufferSize": "0"}},
            "verbosity": 0,
        },
        "memorySwap": {},
        "nodeStatusReportFrequency": unset,
        "nodeStatusUpdateFrequency": unset,
        "rotateCertificates": true,
        "runtimeRequestTimeout": unset,
        "shutdownGracePeriod": unset,
        "shutdownGracePeriodCriticalPods": unset,
        "staticPodPath": "/etc/kubernetes/manifests",
        "streamingConnectionIdleTimeout": unset,
        "syncFrequency": unset,
        "volumeStatsAggPeriod": unset,
    });
    if let (true, Value::Object(members)) = (minors::of(&resolved.version).has_crash_loop_back_off, &mut configuration)
    {
        members.insert("crashLoopBackOff".to_owned(), json!({}));
    }
    configuration
}
