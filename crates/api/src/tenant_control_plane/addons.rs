//! What the operator installs in a tenant cluster. A present object enables an addon.

use k8s_openapi::api::core::v1::{ResourceRequirements, SecurityContext, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JsonPatch;
use crate::open_enum::open_enum;

/// What the operator installs in the tenant cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddonsSpec {
    /// CoreDNS.
    #[serde(rename = "coreDNS", skip_serializing_if = "Option::is_none")]
    pub core_dns: Option<ImageOverride>,
    /// kube-proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_proxy: Option<KubeProxySpec>,
    /// konnectivity, by which the API server reaches the tenant's nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub konnectivity: Option<KonnectivitySpec>,
}

/// The image of an addon, where it is not kubeadm's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageOverride {
    /// Repository, without the image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}

/// kube-proxy: its image, where that is not kubeadm's, and what differs from kubeadm's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxySpec {
    /// Repository, without the image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
    /// JSON patches (RFC 6902) of the published KubeProxyConfiguration, applied in order.
    #[serde(rename = "configurationJSONPatches", skip_serializing_if = "Option::is_none")]
    pub configuration_json_patches: Option<Vec<JsonPatch>>,
}

/// konnectivity: a server in the control plane's pods and an agent on the tenant's nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivitySpec {
    /// The server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<KonnectivityServerSpec>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<KonnectivityAgentSpec>,
}

/// The konnectivity server, a container of the control plane's pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivityServerSpec {
    /// Port that agents connect to.
    #[serde(default = "default_server_port")]
    pub port: i32,
    /// Version; derived from the tenant's Kubernetes version when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Image without tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Compute resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Extra command-line arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Vec<String>>,
    /// Security context of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
}

/// The port of a konnectivity server whose `server` object lost it.
fn default_server_port() -> i32 {
    crate::contract::ports::KONNECTIVITY_AGENT
}

open_enum! {
    /// The kind of workload that runs the konnectivity agent.
    #[derive(Default)]
    pub enum KonnectivityAgentMode {
        /// One agent on each node.
        #[default]
        DaemonSet = "DaemonSet",
        /// A number of agents.
        Deployment = "Deployment",
    }
}

/// The konnectivity agent in the tenant cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KonnectivityAgentSpec {
    /// Image without tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Version; derived from the tenant's Kubernetes version when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Taints that the agent tolerates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Extra command-line arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Vec<String>>,
    /// Whether the agent uses the node's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// DaemonSet or Deployment; DaemonSet when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<KonnectivityAgentMode>,
    /// Number of agents of a Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}
