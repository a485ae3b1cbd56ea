//! `TenantControlPlane`: a hosted Kubernetes control plane.

mod addons;
mod control_plane;
mod deployment;
mod kubernetes;
mod network_profile;
mod probes;
mod spec;
mod status;
mod status_addons;
mod status_references;
mod twins;

pub use addons::{
    AddonsSpec, ImageOverride, KonnectivityAgentMode, KonnectivityAgentSpec, KonnectivityServerSpec, KonnectivitySpec,
    KubeProxySpec,
};
pub use control_plane::{
    AdditionalPort, ControlPlaneSpec, GatewaySpec, IngressSpec, PortProtocol, ServiceSpec, ServiceType,
};
pub use deployment::{
    AdditionalVolumeMounts, ComponentExtraArgs, ComponentResources, ContainerSecurityContexts, DeploymentSpec,
    RegistrySettings,
};
pub use kubernetes::{
    AdmissionController, CgroupDriver, EncryptionAlgorithm, JsonPatch, JsonPatchOperation, KubeletSpec, KubernetesSpec,
    NodeAddressType,
};
pub use network_profile::NetworkProfileSpec;
pub use probes::{ControlPlaneProbes, ProbeSet, ProbeSpec};
pub use spec::{DataStoreOverride, TenantControlPlane, TenantControlPlaneSpec, WritePermissions};
pub use status::{
    DeploymentReport, IngressReport, KubernetesResourcesStatus, KubernetesVersion, Phase, ServiceReport,
    TenantControlPlaneStatus,
};
pub use status_addons::{AddonStatus, AddonsStatus, AgentStatus, KonnectivityStatus};
pub use status_references::{
    CertificatesStatus, ConfigMapReference, DataStoreConfigReference, EtcdCertificatesStatus, KubeadmConfigReference,
    KubeadmPhaseStatus, KubeadmPhasesStatus, KubeconfigsStatus, NamespacedReference, SecretReferenceStatus,
    SetupStatus, StorageStatus,
};
pub use twins::UnreadableTwin;
