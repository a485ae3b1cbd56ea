//! The owner's own certificate authorities (docs/reference/compatibility.md, "Internal certificate authorities").
//!
//! The owner's ConfigMap is read and checked here, and never mounted: a kubelet would bring every edit into running
//! pods, a bad one too. Pods mount an immutable copy that is named by its content. So a change is another name, which
//! rolls the pods, and the last good copy is what the live Deployment mounts.

use std::collections::BTreeMap;

mod copy;
mod fault;
mod read;

pub use self::{
    copy::{VOLUME, is_genuine, mounted},
    fault::Fault,
    read::{Authorities, read},
};
use crate::trouble::Trouble;

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
