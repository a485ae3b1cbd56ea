//! A tenant that can be acted on: what its specification comes to.
//!
//! [`crate::resolve`] makes it, and every later step reads it. The type is not in there, so that a container need know
//! nothing of the rules that a specification must follow.

pub mod identity;
mod kine;
mod konnectivity;
mod network;
mod store;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ResourceRequirements, VolumeMount};
use kamaji_api::{
    TenantControlPlane,
    tenant_control_plane::{AdditionalVolumeMounts, ComponentExtraArgs, ComponentResources, DeploymentSpec},
};
use kamaji_pki::KeyAlgorithm;

pub use self::{
    identity::StoreIdentity,
    kine::{Kine, Tls},
    konnectivity::Konnectivity,
    network::{DEFAULT_PORT, Network},
    store::{Override, Store},
};
use crate::{internal_ca::InternalCa, template::TemplateRevision, version::Version};

/// Replicas where the specification has none (CRD default).
pub const DEFAULT_REPLICAS: i32 = 2;

/// A tenant that can be acted on.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Name of the TenantControlPlane.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The object itself, for what is copied from it as it is.
    pub tenant: Arc<TenantControlPlane>,
    /// Version to run.
    pub version: Version,
    /// Version that runs now, as far as it can be told.
    pub installed: Option<Version>,
    /// Addresses, ranges and names.
    pub network: Network,
    /// Admission plugins, in order.
    pub admission_plugins: Vec<String>,
    /// Which node addresses kube-apiserver prefers.
    pub preferred_address_types: Vec<String>,
    /// Where the data lives.
    pub store: Store,
    /// konnectivity-server, when the addon is on.
    pub konnectivity: Option<Konnectivity>,
    /// The owner's certificate authorities, when there are to be any.
    pub internal_ca: Option<InternalCa>,
    /// Issuer of service-account tokens.
    pub service_account_issuer: String,
    /// Key algorithm that the user asked for.
    pub encryption_algorithm: Option<KeyAlgorithm>,
    /// Which pod template the tenant has.
    pub revision: TemplateRevision,
}

impl Resolved {
    /// The deployment section of the specification.
    pub fn deployment(&self) -> Option<&DeploymentSpec> {
        self.tenant.spec.control_plane.deployment.as_ref()
    }

    /// Wanted replicas.
    pub fn replicas(&self) -> i32 {
        self.deployment().and_then(|deployment| deployment.replicas).unwrap_or(DEFAULT_REPLICAS)
    }

    /// The user's flags of one component.
    pub fn extra_args(&self, component: impl Fn(&ComponentExtraArgs) -> Option<&Vec<String>>) -> &[String] {
        self.deployment()
            .and_then(|deployment| deployment.extra_args.as_ref())
            .and_then(component)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The user's mounts of one component.
    pub fn additional_volume_mounts(
        &self,
        component: impl Fn(&AdditionalVolumeMounts) -> Option<&Vec<VolumeMount>>,
    ) -> &[VolumeMount] {
        self.deployment()
            .and_then(|deployment| deployment.additional_volume_mounts.as_ref())
            .and_then(component)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The resources of one component; empty when the user set none.
    pub fn resources(
        &self,
        component: impl Fn(&ComponentResources) -> Option<&ResourceRequirements>,
    ) -> ResourceRequirements {
        self.deployment()
            .and_then(|deployment| deployment.resources.as_ref())
            .and_then(component)
            .cloned()
            .unwrap_or_default()
    }
}
