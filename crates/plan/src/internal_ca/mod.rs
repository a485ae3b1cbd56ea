//! The owner's own certificate authorities (docs/reference/compatibility.md, "Internal certificate authorities").
//!
//! The owner's ConfigMap is read and checked here, and never mounted: a kubelet would bring every edit into running
//! pods, a bad one too. Pods mount an immutable copy that is named by its content. So a change is another name, which
//! rolls the pods, and the last good copy is what the live Deployment mounts.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::TenantControlPlane;

mod copy;
mod fault;
mod read;

pub use self::{
    copy::{config_map, is_genuine, mounted},
    fault::Fault,
    read::{Authorities, read},
};
use crate::{rejection::Rejection, resolve::Observed, status::conditions::Trouble};

/// Path of the field.
pub const FIELD: &str = "spec.internalCACertificatesConfigMap";

/// What becomes of the authorities that a tenant's owner asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InternalCa {
    /// They are good: the pods are to mount them.
    Accepted(Authorities),
    /// They are not, and the pods keep what they have.
    Refused {
        /// Name of the owner's ConfigMap.
        config_map: String,
        /// Why.
        fault: Fault,
        /// The copy that the pods mount; `None` when they mount none yet.
        kept: Option<Kept>,
    },
}

/// The copy that a running tenant keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its files, as far as they are known; then it is written again when somebody deletes it.
    pub files: Option<BTreeMap<String, String>>,
}

impl InternalCa {
    /// Name of the copy that the pods mount.
    pub fn copy(&self, tenant: &str) -> Option<String> {
        match self {
            Self::Accepted(authorities) => Some(authorities.copy(tenant)),
            Self::Refused { kept, .. } => kept.as_ref().map(|kept| kept.name.clone()),
        }
    }

    /// What to tell of authorities that were refused.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Accepted(_) => None,
            Self::Refused { config_map, fault, kept } => {
                let still = match kept {
                    Some(_) => "the tenant goes on with the certificates that it has",
                    None => "the tenant goes on without",
                };
                let message = format!("{FIELD}: {}; {still}", fault.of(config_map));
                Some(Trouble::new(fault.reason(), message))
            }
        }
    }
}

/// Whether a ConfigMap can have this name (RFC 1123, subdomain; Kubernetes does not limit its labels).
pub fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-');
    name.len() <= 253 && name.split('.').all(label)
}

/// Reads what the owner asked for, `None` where nothing.
///
/// # Errors
/// When a tenant that does not run yet cannot have what it asks for: it waits, because it may not start without.
pub fn resolve(tenant: &TenantControlPlane, observed: &Observed<'_>) -> Result<Option<InternalCa>, Rejection> {
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
