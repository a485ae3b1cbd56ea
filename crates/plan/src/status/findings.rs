//! What the status is computed from.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use super::tenant::TenantReport;
use crate::{exposed::Exposed, issued::Issued, resolved::Resolved, stored::Stored};

/// What one pass found and did, as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings<'a> {
    /// The resolved specification.
    pub resolved: Option<&'a Resolved>,
    /// The Service as it is now.
    pub service: Option<&'a Service>,
    /// Where the tenant is reached.
    pub exposed: Option<&'a Exposed>,
    /// Its certificates and kubeconfigs.
    pub issued: Option<&'a Issued>,
    /// Where its data lives.
    pub stored: Option<&'a Stored>,
    /// Checksum of the kubeadm configuration.
    pub kubeadm_checksum: Option<&'a str>,
    /// The Deployment as it is now.
    pub deployment: Option<&'a Deployment>,
    /// What the session with the tenant's own API says; `None` while there is none.
    pub tenant: Option<&'a TenantReport>,
}
