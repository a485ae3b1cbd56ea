//! `KubeconfigGenerator`: a rule that issues one more kubeconfig for each of many tenants.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::{readable_spec, readable_status};

/// Which tenants get a kubeconfig, and for which user.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "KubeconfigGenerator",
    schema = "disabled",
    plural = "kubeconfiggenerators",
    singular = "kubeconfiggenerator",
    shortname = "kc",
    category = "kamaji",
    status = "KubeconfigGeneratorStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct KubeconfigGeneratorSpec {
    /// Namespaces to look for tenants in; all when absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Tenants to issue for; all when absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_control_plane_selector: Option<LabelSelector>,
    /// Groups of the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<CompoundValue>>,
    /// User name of the client certificate.
    #[serde(default)]
    pub user: CompoundValue,
    /// The key of the tenant's admin kubeconfig Secret whose cluster entry is copied; `admin.svc` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint_from: Option<String>,
    /// Path of the field that could not be read, such as `spec.controlPlane`. Then every other field is its default,
    /// and nothing may be concluded from it: the object is to be rejected with this path.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

readable_spec!(KubeconfigGeneratorSpec);

/// A text given in place, or read from the TenantControlPlane. Exactly one of the two is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompoundValue {
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Dotted path of a string field of the TenantControlPlane, such as `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_definition: Option<String>,
}

/// How far a KubeconfigGenerator has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct KubeconfigGeneratorStatus {
    /// The generation that the status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of tenants selected.
    pub resources: i64,
    /// Number of tenants whose kubeconfig is issued.
    pub available_resources: i64,
    /// What failed, by tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<GeneratorError>>,
}

readable_status!(KubeconfigGeneratorStatus);

/// Why one tenant has no kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorError {
    /// The tenant, as `namespace/name`.
    #[serde(default)]
    pub resource: String,
    /// What failed.
    #[serde(default)]
    pub message: String,
}
