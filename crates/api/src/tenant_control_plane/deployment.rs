//! How a control plane's pods run.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::core::v1::{
    Affinity, Container, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ControlPlaneProbes;
use crate::additional_metadata::AdditionalMetadata;

/// How the control plane's pods run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// Where the components' images come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_settings: Option<RegistrySettings>,
    /// Number of pods; 2 when absent, 0 puts the tenant to sleep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Labels that a pod's node must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// RuntimeClass of the pods; empty means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// How pods are replaced; blue-green (surge 100%, none unavailable) when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<DeploymentStrategy>,
    /// Taints that the pods tolerate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods spread; a constraint without a label selector gets the Deployment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Compute resources by component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ComponentResources>,
    /// Extra command-line arguments by component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<ComponentExtraArgs>,
    /// Labels and annotations of the Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_metadata: Option<AdditionalMetadata>,
    /// Labels and annotations of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_additional_metadata: Option<AdditionalMetadata>,
    /// Init containers beside the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_init_containers: Option<Vec<Container>>,
    /// Containers beside the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_containers: Option<Vec<Container>>,
    /// Volumes beside the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_volumes: Option<Vec<Volume>>,
    /// Volume mounts, by component, beside the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_volume_mounts: Option<AdditionalVolumeMounts>,
    /// Probe timing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<ControlPlaneProbes>,
    /// ServiceAccount of the pods; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether the ServiceAccount's token is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Security contexts by component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_security_contexts: Option<ContainerSecurityContexts>,
    /// Security context of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
}

/// Where the components' images come from: `<registry>/<image>:<version><tagSuffix>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrySettings {
    /// Registry, `registry.k8s.io` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Appended to the version verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_suffix: Option<String>,
    /// Image of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server_image: Option<String>,
    /// Image of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager_image: Option<String>,
    /// Image of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_image: Option<String>,
}

/// Compute resources by component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentResources {
    /// Of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ResourceRequirements>,
    /// Of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<ResourceRequirements>,
    /// Of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<ResourceRequirements>,
    /// Of kine, where the tenant has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kine: Option<ResourceRequirements>,
}

/// Extra command-line arguments by component, each as `--flag=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentExtraArgs {
    /// Of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<Vec<String>>,
    /// Of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<Vec<String>>,
    /// Of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Vec<String>>,
    /// Of kine, where the tenant has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kine: Option<Vec<String>>,
}

/// Volume mounts by component, beside the operator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalVolumeMounts {
    /// Of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<Vec<VolumeMount>>,
    /// Of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<Vec<VolumeMount>>,
    /// Of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Vec<VolumeMount>>,
}

/// Security contexts by component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSecurityContexts {
    /// Of kube-apiserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<SecurityContext>,
    /// Of kube-controller-manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_manager: Option<SecurityContext>,
    /// Of kube-scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SecurityContext>,
}
