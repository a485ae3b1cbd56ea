//! The ConfigMap that sends kube-apiserver's traffic to nodes and pods through konnectivity.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{metadata, names};
use crate::resolved::Resolved;

/// Component label of the ConfigMap.
pub const COMPONENT: &str = "konnectivity-egress-selector-configuration";

const CONTENT: &str = "\
apiVersion: apiserver.k8s.io/v1beta1
egressSelections:
- connection:
    proxyProtocol: GRPC
    transport:
      uds:
        udsName: /run/konnectivity/konnectivity-server.socket
  name: cluster
kind: EgressSelectorConfiguration
";

/// The ConfigMap; `None` when the tenant has no konnectivity.
pub fn config_map(resolved: &Resolved) -> Option<ConfigMap> {
    resolved.konnectivity.as_ref()?;
    let data = BTreeMap::from([("egress-selector-configuration.yaml".to_owned(), CONTENT.to_owned())]);
    let mut metadata = metadata::owned(resolved, names::egress_selector(&resolved.name), COMPONENT);
    let values = data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
    metadata::set_checksum(&mut metadata, kamaji_pki::checksum::map(&values));
    Some(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}
