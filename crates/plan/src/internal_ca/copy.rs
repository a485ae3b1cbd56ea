//! The immutable copy that pods mount.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::contract::names;
use kamaji_pki::trust_anchor;

/// Volume with the owner's certificate authorities and nothing else.
pub const VOLUME: &str = "internal-ca-certificates";

/// Name of the copy with these files. The same files give the same name.
pub(super) fn name(tenant: &str, files: &BTreeMap<String, String>) -> String {
    let files = files.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    names::internal_ca(tenant, &trust_anchor::fingerprint(files))
}

/// Whether a copy holds what its name says. Somebody may have deleted it and made another of the same name.
pub fn is_genuine(tenant: &str, copy: &ConfigMap) -> bool {
    let nothing = BTreeMap::new();
    let files = copy.data.as_ref().unwrap_or(&nothing);
    copy.binary_data.is_none() && copy.metadata.name.as_deref() == Some(&name(tenant, files))
}

/// Name of the copy that a Deployment's pods mount.
pub fn mounted(live: &Deployment) -> Option<&str> {
    let volumes = live.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let own = volumes.iter().find(|volume| volume.name == VOLUME)?;
    own.config_map.as_ref().map(|source| source.name.as_str())
}
