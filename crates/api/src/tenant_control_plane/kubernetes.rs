//! The tenant's Kubernetes version and settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::open_enum::open_enum;

/// The tenant's Kubernetes version and settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSpec {
    /// Kubernetes version, such as `v1.36.3`.
    #[serde(default)]
    pub version: String,
    /// What joining nodes' kubelets are told.
    #[serde(default)]
    pub kubelet: KubeletSpec,
    /// Admission plugins to enable beside kube-apiserver's defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission_controllers: Option<Vec<AdmissionController>>,
    /// Algorithm of new keys of certificates, by kubeadm's names; ECDSA-P256 for new tenants when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_algorithm: Option<EncryptionAlgorithm>,
}

/// What joining nodes' kubelets are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeletSpec {
    /// JSON patches (RFC 6902) of the published KubeletConfiguration, applied in order.
    #[serde(rename = "configurationJSONPatches", skip_serializing_if = "Option::is_none")]
    pub configuration_json_patches: Option<Vec<JsonPatch>>,
    /// Order in which the API server tries the addresses of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_address_types: Option<Vec<NodeAddressType>>,
    /// cgroup driver of the kubelets. Deprecated: patch the configuration.
    #[serde(rename = "cgroupfs", skip_serializing_if = "Option::is_none")]
    pub cgroup_driver: Option<CgroupDriver>,
}

/// One operation of RFC 6902.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonPatch {
    /// The operation.
    #[serde(default = "crate::open_enum::missing::<JsonPatchOperation>")]
    pub op: JsonPatchOperation,
    /// JSON pointer of the target.
    #[serde(default)]
    pub path: String,
    /// JSON pointer of the source, for `move` and `copy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

open_enum! {
    /// An operation of RFC 6902.
    pub enum JsonPatchOperation {
        /// Add a value.
        Add = "add",
        /// Remove a value.
        Remove = "remove",
        /// Replace a value.
        Replace = "replace",
        /// Move a value.
        Move = "move",
        /// Copy a value.
        Copy = "copy",
        /// Stop unless the value is as given.
        Test = "test",
    }
}

open_enum! {
    /// cgroup driver of a kubelet.
    pub enum CgroupDriver {
        /// systemd.
        Systemd = "systemd",
        /// cgroupfs.
        Cgroupfs = "cgroupfs",
    }
}

open_enum! {
    /// Type of a node's address.
    pub enum NodeAddressType {
        /// The node's name as it reports it.
        Hostname = "Hostname",
        /// An address within the node's network.
        InternalIp = "InternalIP",
        /// An address reachable from outside.
        ExternalIp = "ExternalIP",
        /// A name that resolves to an internal address.
        InternalDns = "InternalDNS",
        /// A name that resolves to an external address.
        ExternalDns = "ExternalDNS",
    }
}

open_enum! {
    /// Key algorithm, by the names of kubeadm v1beta4 (`ClusterConfiguration.encryptionAlgorithm`).
    pub enum EncryptionAlgorithm {
        /// RSA with 2048 bits.
        Rsa2048 = "RSA-2048",
        /// RSA with 3072 bits.
        Rsa3072 = "RSA-3072",
        /// RSA with 4096 bits.
        Rsa4096 = "RSA-4096",
        /// ECDSA on curve P-256.
        EcdsaP256 = "ECDSA-P256",
        /// ECDSA on curve P-384; kubeadm knows it from 1.34.
        EcdsaP384 = "ECDSA-P384",
    }
}

open_enum! {
    /// An admission plugin of kube-apiserver.
    #[allow(missing_docs, reason = "Kubernetes documents its plugins by these names")]
    pub enum AdmissionController {
        AlwaysAdmit = "AlwaysAdmit",
        AlwaysDeny = "AlwaysDeny",
        AlwaysPullImages = "AlwaysPullImages",
        CertificateApproval = "CertificateApproval",
        CertificateSigning = "CertificateSigning",
        CertificateSubjectRestriction = "CertificateSubjectRestriction",
        DefaultIngressClass = "DefaultIngressClass",
        DefaultStorageClass = "DefaultStorageClass",
        DefaultTolerationSeconds = "DefaultTolerationSeconds",
        DenyEscalatingExec = "DenyEscalatingExec",
        DenyExecOnPrivileged = "DenyExecOnPrivileged",
        DenyServiceExternalIPs = "DenyServiceExternalIPs",
        EventRateLimit = "EventRateLimit",
        ExtendedResourceToleration = "ExtendedResourceToleration",
        ImagePolicyWebhook = "ImagePolicyWebhook",
        LimitPodHardAntiAffinityTopology = "LimitPodHardAntiAffinityTopology",
        LimitRanger = "LimitRanger",
        MutatingAdmissionWebhook = "MutatingAdmissionWebhook",
        NamespaceAutoProvision = "NamespaceAutoProvision",
        NamespaceExists = "NamespaceExists",
        NamespaceLifecycle = "NamespaceLifecycle",
        NodeRestriction = "NodeRestriction",
        OwnerReferencesPermissionEnforcement = "OwnerReferencesPermissionEnforcement",
        PersistentVolumeClaimResize = "PersistentVolumeClaimResize",
        PersistentVolumeLabel = "PersistentVolumeLabel",
        PodNodeSelector = "PodNodeSelector",
        PodSecurity = "PodSecurity",
        PodSecurityPolicy = "PodSecurityPolicy",
        PodTolerationRestriction = "PodTolerationRestriction",
        Priority = "Priority",
        ResourceQuota = "ResourceQuota",
        RuntimeClass = "RuntimeClass",
        SecurityContextDeny = "SecurityContextDeny",
        ServiceAccount = "ServiceAccount",
        StorageObjectInUseProtection = "StorageObjectInUseProtection",
        TaintNodesByCondition = "TaintNodesByCondition",
        ValidatingAdmissionWebhook = "ValidatingAdmissionWebhook",
    }
}
