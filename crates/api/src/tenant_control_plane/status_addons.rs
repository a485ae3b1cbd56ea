//! What is installed in a tenant cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigMapReference, KonnectivityAgentMode, NamespacedReference, SecretReferenceStatus, ServiceReport};
use crate::gateway::GatewayStatus;

/// What is installed in the tenant cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AddonsStatus {
    /// CoreDNS.
    #[serde(rename = "coreDNS")]
    pub core_dns: AddonStatus,
    /// kube-proxy.
    pub kube_proxy: AddonStatus,
    /// konnectivity.
    pub konnectivity: KonnectivityStatus,
}

/// One addon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AddonStatus {
    /// Whether it is installed.
    pub enabled: bool,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// konnectivity, in both clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KonnectivityStatus {
    /// Whether it is installed.
    pub enabled: bool,
    /// The egress selector configuration.
    pub config_map: ConfigMapReference,
    /// The server's certificate.
    pub certificate: SecretReferenceStatus,
    /// The server's kubeconfig.
    pub kubeconfig: SecretReferenceStatus,
    /// The agent's ServiceAccount.
    pub sa: NamespacedReference,
    /// The ClusterRoleBinding that lets the server review tokens.
    #[serde(rename = "clusterrolebinding")]
    pub cluster_role_binding: NamespacedReference,
    /// The agent.
    pub agent: AgentStatus,
    /// The Service and its konnectivity port.
    pub service: ServiceReport,
    /// The TLSRoute, where the tenant has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayStatus>,
}

/// The konnectivity agent's workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// The kind of workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mode: Option<KonnectivityAgentMode>,
}
