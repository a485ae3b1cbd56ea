//! Which certificate authorities of its owner a tenant is to have.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::TenantControlPlane;

use super::observed::Observed;
use crate::{
    internal_ca::{FIELD, Fault, InternalCa, Kept, is_genuine, is_name, mounted, read},
    rejection::Rejection,
};

/// Reads what the owner asked for, `None` where nothing.
///
/// # Errors
/// When a tenant that does not run yet cannot have what it asks for: it waits, because it may not start without.
pub(super) fn resolve(tenant: &TenantControlPlane, observed: &Observed<'_>) -> Result<Option<InternalCa>, Rejection> {
    let Some(name) = tenant.internal_ca_config_map() else { return Ok(None) };
    if !is_name(name) {
        let message =
            format!("\"{name}\" cannot be the name of a ConfigMap; use lower-case letters, digits and dashes");
        return Err(Rejection::new("InvalidSpec", FIELD, message));
    }
    let read = observed.internal_ca.ok_or(Fault::Missing).and_then(|found| read(found, observed.now));
    let fault = match read {
        Ok(authorities) => return Ok(Some(InternalCa::Accepted(authorities))),
        Err(fault) => fault,
    };
    let tenant_name = tenant.metadata.name.as_deref().unwrap_or_default();
    let kept = kept(tenant_name, observed.deployment, observed.internal_ca_copies);
    if kept.is_none() && observed.deployment.is_none() {
        return Err(Rejection::new(fault.reason(), FIELD, fault.of(name)));
    }
    Ok(Some(InternalCa::Refused { config_map: name.to_owned(), fault, kept }))
}

/// What the live Deployment mounts. Where that is gone, the newest copy there is.
fn kept(tenant: &str, live: Option<&Deployment>, copies: &[Arc<ConfigMap>]) -> Option<Kept> {
    let genuine = || copies.iter().filter(|copy| is_genuine(tenant, copy));
    let known = |name: &str| genuine().find(|copy| copy.metadata.name.as_deref() == Some(name));
    let name = match live {
        Some(live) => mounted(live)?.to_owned(),
        None => genuine().max_by_key(|copy| &copy.metadata.creation_timestamp)?.metadata.name.clone()?,
    };
    let files = known(&name).and_then(|copy| copy.data.clone());
    Some(Kept { name, files })
}
