//! The root of a TenantControlPlane.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::readable_spec;

use super::{AddonsSpec, ControlPlaneSpec, KubernetesSpec, NetworkProfileSpec, TenantControlPlaneStatus};

/// A hosted Kubernetes control plane, as its owner wants it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "TenantControlPlane",
    schema = "disabled",
    plural = "tenantcontrolplanes",
    singular = "tenantcontrolplane",
    shortname = "tcp",
    category = "kamaji",
    namespaced,
    status = "TenantControlPlaneStatus",
    derive = "Default",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.controlPlane.deployment.replicas",
        status_replicas_path = ".status.kubernetesResources.deployment.replicas",
        label_selector_path = ".status.kubernetesResources.deployment.selector"
    ),
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.kubernetes.version"}"#,
    printcolumn = r#"{"name":"Installed Version","type":"string","jsonPath":".status.kubernetesResources.version.version"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.kubernetesResources.version.status"}"#,
    printcolumn = r#"{"name":"Control-Plane endpoint","type":"string","jsonPath":".status.controlPlaneEndpoint"}"#,
    printcolumn = r#"{"name":"Kubeconfig","type":"string","jsonPath":".status.kubeconfig.admin.secretName"}"#,
    printcolumn = r#"{"name":"Datastore","type":"string","jsonPath":".status.storage.dataStoreName"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct TenantControlPlaneSpec {
    /// Which kinds of writes the tenant's API server refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_permissions: Option<WritePermissions>,
    /// Name of the DataStore; the operator's default when absent. A change migrates the tenant's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store: Option<String>,
    /// Labels of the DataStores that the tenant may be placed on. The operator takes the ready one with most room, once,
    /// and keeps to it when labels change. A named `dataStore` wins over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store_selector: Option<LabelSelector>,
    /// Name of the tenant's database or key prefix; the tenant's UID when absent. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store_schema: Option<String>,
    /// Name of the tenant's database user; the tenant's UID when absent. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store_username: Option<String>,
    /// Resources that are kept in another DataStore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store_overrides: Option<Vec<DataStoreOverride>>,
    /// How the control plane runs and is exposed in the management cluster.
    #[serde(default)]
    pub control_plane: ControlPlaneSpec,
    /// The tenant's Kubernetes version and settings.
    #[serde(default)]
    pub kubernetes: KubernetesSpec,
    /// The tenant's addresses, ports and ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_profile: Option<NetworkProfileSpec>,
    /// What the operator installs in the tenant cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addons: Option<AddonsSpec>,
    /// Name of a ConfigMap in the same namespace with certificate authorities, PEM, that every container of the control
    /// plane trusts besides those of its image.
    #[serde(rename = "internalCACertificatesConfigMap", skip_serializing_if = "Option::is_none")]
    pub internal_ca_certificates_config_map: Option<String>,
    /// Path of the field that could not be read, such as `spec.controlPlane`. Then every other field is its default,
    /// and nothing may be concluded from it: the object is to be rejected with this path.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

readable_spec!(TenantControlPlaneSpec);

/// Kinds of writes that the tenant's API server refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WritePermissions {
    /// Refuse to create objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_creation: Option<bool>,
    /// Refuse to update objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_update: Option<bool>,
    /// Refuse to delete objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_deletion: Option<bool>,
}

impl WritePermissions {
    /// Whether any kind of write is refused.
    pub fn is_limited(&self) -> bool {
        [self.block_creation, self.block_update, self.block_deletion].contains(&Some(true))
    }
}

/// A resource that is kept in another DataStore than the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataStoreOverride {
    /// The resource as `group/resource`, such as `/events`: the left side of `--etcd-servers-overrides`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Name of the DataStore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store: Option<String>,
}
