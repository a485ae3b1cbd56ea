//! The ConfigMap `kube-system/kubeadm-config`, which `kubeadm join` and `kubeadm upgrade` read.

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_pki::KeyAlgorithm;
use serde_json::{Value, json};

use super::KUBE_SYSTEM;
use crate::{control_plane::kubeadm_config as facts, exposed::Exposed, resolved::Resolved, tenant_cluster::yaml};

/// Name of the ConfigMap.
pub(super) const NAME: &str = "kubeadm-config";

/// The ConfigMap with the tenant's ClusterConfiguration.
pub(super) fn config_map(resolved: &Resolved, exposed: &Exposed, algorithm: KeyAlgorithm) -> ConfigMap {
    let configuration = cluster_configuration(resolved, exposed, algorithm);
    super::config_map(KUBE_SYSTEM, NAME, "ClusterConfiguration", yaml::document(&configuration))
}

fn cluster_configuration(resolved: &Resolved, exposed: &Exposed, algorithm: KeyAlgorithm) -> Value {
    let extra_args: Vec<Value> =
        facts::api_server_arguments(resolved).map(|(name, value)| json!({"name": name, "value": value})).into();
    json!({
        "apiServer": {"certSANs": facts::cert_sans(resolved, exposed), "extraArgs": extra_args},
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "caCertificateValidityPeriod": facts::AUTHORITY_VALIDITY,
        "certificateValidityPeriod": facts::CERTIFICATE_VALIDITY,
        "certificatesDir": facts::CERTIFICATES_DIR,
        "clusterName": resolved.name,
        "controlPlaneEndpoint": exposed.public_endpoint,
        "controllerManager": {},
        "dns": {},
        "encryptionAlgorithm": algorithm.name(),
        "etcd": {"external": {
            "caFile": "",
            "certFile": "",
            "endpoints": resolved.store.endpoints,
            "keyFile": "",
        }},
        "imageRepository": facts::IMAGE_REPOSITORY,
        "kind": "ClusterConfiguration",
        // kubeadm writes the version with its v, however it was given.
        "kubernetesVersion": format!("v{}", resolved.version.as_str().trim_start_matches('v')),
        "networking": networking(resolved),
        "proxy": {},
        "scheduler": {},
    })
}

/// kubeadm leaves a subnet out that is empty.
fn networking(resolved: &Resolved) -> Value {
    let network = &resolved.network;
    let mut networking = json!({"dnsDomain": network.cluster_domain});
    for (key, ranges) in [("podSubnet", &network.pod_cidrs), ("serviceSubnet", &network.service_cidrs)] {
        if let (false, Value::Object(members)) = (ranges.is_empty(), &mut networking) {
            members.insert(key.to_owned(), ranges.join(",").into());
        }
    }
    networking
}
