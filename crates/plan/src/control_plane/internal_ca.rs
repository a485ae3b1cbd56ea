//! The copy of the owner's certificate authorities that pods mount.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_api::contract::labels::component;

use super::metadata;
use crate::{internal_ca::InternalCa, resolved::Resolved};

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
