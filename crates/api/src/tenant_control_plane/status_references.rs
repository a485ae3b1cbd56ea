//! Status entries that point at an object and remember what was last written to it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Secret, the checksum of its data, and when it last changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretReferenceStatus {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When its data last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// The certificates of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificatesStatus {
    /// The cluster's certificate authority.
    pub ca: SecretReferenceStatus,
    /// The API server's serving certificate.
    pub api_server: SecretReferenceStatus,
    /// The API server's client certificate towards kubelets.
    pub api_server_kubelet_client: SecretReferenceStatus,
    /// The front-proxy certificate authority.
    #[serde(rename = "frontProxyCA")]
    pub front_proxy_ca: SecretReferenceStatus,
    /// The aggregation layer's client certificate.
    pub front_proxy_client: SecretReferenceStatus,
    /// The service-account key pair.
    pub sa: SecretReferenceStatus,
    /// Certificates of an etcd of the tenant's own. Part of the schema; never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdCertificatesStatus>,
}

/// Certificates of an etcd of the tenant's own. Part of the schema; never written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdCertificatesStatus {
    /// The API server's client certificate.
    pub api_server: SecretReferenceStatus,
    /// The certificate authority.
    pub ca: SecretReferenceStatus,
}

/// The kubeconfigs of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeconfigsStatus {
    /// Administrators; the super-administrator's kubeconfig shares the Secret.
    pub admin: SecretReferenceStatus,
    /// kube-controller-manager.
    pub controller_manager: SecretReferenceStatus,
    /// kube-scheduler.
    pub scheduler: SecretReferenceStatus,
}

/// The ConfigMap with the kubeadm configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmConfigReference {
    /// The ConfigMap's name.
    #[serde(rename = "configmapName", skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,
    /// When its data last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// The kubeadm phases carried out in the tenant cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmPhasesStatus {
    /// Phase `bootstrap-token`.
    pub bootstrap_token: KubeadmPhaseStatus,
}

/// One kubeadm phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeadmPhaseStatus {
    /// Checksum of what was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}

/// Where the tenant's state is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatus {
    /// The DataStore's driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The DataStore's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store_name: Option<String>,
    /// The Secret with schema, user and password.
    pub config: DataStoreConfigReference,
    /// What was set up in the DataStore.
    pub setup: SetupStatus,
    /// The Secret with the TLS material towards the DataStore.
    pub certificate: SecretReferenceStatus,
}

/// The Secret with schema, user and password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataStoreConfigReference {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Checksum of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// What was set up in the DataStore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SetupStatus {
    /// Database or key prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
    /// Checksum of the configuration that it was set up from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// A ConfigMap and the checksum of its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapReference {
    /// The ConfigMap's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Checksum of its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// An object of the tenant cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespacedReference {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace, where the object has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Time>,
}
