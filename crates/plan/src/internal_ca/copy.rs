//! The immutable copy that pods mount.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::contract::{labels::component, names};

use super::{InternalCa, read::hash};
use crate::{component::trust, control_plane::metadata, resolve::Resolved};

/// The copy; `None` where the pods mount none, or where its content is not known.
pub fn config_map(resolved: &Resolved) -> Option<ConfigMap> {
    let internal_ca = resolved.internal_ca.as_ref()?;
    let files = match internal_ca {
        InternalCa::Accepted(authorities) => Some(authorities.files()),
        InternalCa::Refused { kept, .. } => kept.as_ref().and_then(|kept| kept.files.as_ref()),
    };
    let (name, files) = (internal_ca.copy(&resolved.name)?, files?);
    let mut metadata = metadata::owned(resolved, name, component::INTERNAL_CA);
    let values: BTreeMap<&String, &[u8]> = files.iter().map(|(key, text)| (key, text.as_bytes())).collect();
    metadata::set_checksum(&mut metadata, kamaji_pki::checksum::map(&values));
    Some(ConfigMap { metadata, data: Some(files.clone()), immutable: Some(true), ..ConfigMap::default() })
}

/// Whether a copy holds what its name says. Somebody may have deleted it and made another of the same name.
pub fn is_genuine(tenant: &str, copy: &ConfigMap) -> bool {
    let nothing = BTreeMap::new();
    let files = copy.data.as_ref().unwrap_or(&nothing);
    copy.binary_data.is_none() && copy.metadata.name.as_deref() == Some(&names::internal_ca(tenant, &hash(files)))
}

/// Name of the copy that a Deployment's pods mount.
pub fn mounted(live: &Deployment) -> Option<&str> {
    let volumes = live.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let own = volumes.iter().find(|volume| volume.name == trust::INTERNAL_VOLUME)?;
    own.config_map.as_ref().map(|source| source.name.as_str())
}
