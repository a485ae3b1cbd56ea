//! What the operator reports about a tenant.
//!
//! The objects that a Go client always finds are always written, empty where nothing is known: an empty
//! `kubernetesResources.version` is what makes the API server fill in the phase `Provisioning`
//! (`docs/reference/compatibility.md`, TenantControlPlane.status).

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::api::core::v1::LoadBalancerStatus;
use k8s_openapi::api::networking::v1::IngressLoadBalancerStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AddonsStatus, CertificatesStatus, KubeadmConfigReference, KubeadmPhasesStatus, KubeconfigsStatus, StorageStatus,
};
use crate::gateway::GatewayStatus;
use crate::reading::readable_status;

/// What the operator reports about a tenant. It is a report: no fact is kept here alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct TenantControlPlaneStatus {
    /// The generation whose reconcile came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the tenant's state is kept.
    pub storage: StorageStatus,
    /// The certificates.
    pub certificates: CertificatesStatus,
    /// The kubeconfigs.
    pub kubeconfig: KubeconfigsStatus,
    /// The kubeadm configuration.
    pub kubeadmconfig: KubeadmConfigReference,
    /// The kubeadm phases carried out in the tenant cluster.
    pub kubeadm_phase: KubeadmPhasesStatus,
    /// Where the API server is reached, as `host:port`; IPv6 hosts in brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<String>,
    /// What is installed in the tenant cluster.
    pub addons: AddonsStatus,
    /// The objects in the management cluster.
    pub kubernetes_resources: KubernetesResourcesStatus,
    /// Ready, Progressing, Degraded and Stalled, beside the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

readable_status!(TenantControlPlaneStatus);

/// The objects of a tenant in the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesResourcesStatus {
    /// Installed version and phase.
    pub version: KubernetesVersion,
    /// The Deployment.
    pub deployment: DeploymentReport,
    /// The Service.
    pub service: ServiceReport,
    /// The Ingress, where the tenant has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressReport>,
    /// The TLSRoute, where the tenant has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayStatus>,
}

/// Installed version and phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesVersion {
    /// The version that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The phase; absent until the first status write, which the API server turns into `Provisioning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Phase>,
}

/// The phase of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Being created.
    Provisioning,
    /// The certificate authority is being replaced.
    CertificateAuthorityRotating,
    /// Another version is being rolled out.
    Upgrading,
    /// The data is being moved to another DataStore.
    Migrating,
    /// Serving.
    Ready,
    /// No pod serves.
    NotReady,
    /// Scaled to zero.
    Sleeping,
    /// Serving, and refusing some kinds of writes.
    WriteLimited,
    /// None of the others, or a phase that this build does not know.
    #[serde(other)]
    Unknown,
}

impl Phase {
    /// Every phase, in the order of the CRD's enumeration.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Provisioning,
        Self::CertificateAuthorityRotating,
        Self::Upgrading,
        Self::Migrating,
        Self::Ready,
        Self::NotReady,
        Self::Sleeping,
        Self::WriteLimited,
    ];

    /// The text as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Provisioning => "Provisioning",
            Self::CertificateAuthorityRotating => "CertificateAuthorityRotating",
            Self::Upgrading => "Upgrading",
            Self::Migrating => "Migrating",
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Sleeping => "Sleeping",
            Self::WriteLimited => "WriteLimited",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl JsonSchema for Phase {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Phase".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

/// The Deployment: its own status, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentReport {
    /// The Deployment's own status.
    #[serde(flatten)]
    pub status: DeploymentStatus,
    /// Label selector of the pods, as text, for the scale subresource.
    pub selector: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// When the report last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// A Service: its own status, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceReport {
    /// The Service's conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// What the load balancer assigned; written even when empty, as Go clients do.
    pub load_balancer: LoadBalancerStatus,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Port of the Service.
    pub port: i32,
}

/// An Ingress: its own status, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressReport {
    /// What the load balancer assigned; written even when empty, as Go clients do.
    pub load_balancer: IngressLoadBalancerStatus,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}
