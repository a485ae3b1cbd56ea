//! The ConfigMap `kube-public/cluster-info`, from which a joining node learns the endpoint and the authority.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::KUBE_PUBLIC;
use crate::{exposed::Exposed, tenant_cluster::yaml};

/// Name of the ConfigMap.
pub(super) const NAME: &str = "cluster-info";

/// The ConfigMap with our key only: the bootstrap signer of kube-controller-manager adds one signature per token.
///
/// `ca` is the tenant's authority in PEM.
pub(super) fn config_map(exposed: &Exposed, ca: &[u8]) -> ConfigMap {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "clusters": [{
            "cluster": {
                "certificate-authority-data": STANDARD.encode(ca),
                "server": format!("https://{}", exposed.public_endpoint),
            },
            "name": "",
        }],
        "contexts": null,
        "current-context": "",
        "kind": "Config",
        "users": null,
    });
    super::config_map(KUBE_PUBLIC, NAME, "kubeconfig", yaml::document(&kubeconfig))
}
