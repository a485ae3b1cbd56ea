//! `EtcdCluster`: an etcd that the operator runs, and that owns a DataStore of the same name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::{readable_spec, readable_status};

/// Members when `spec.replicas` is absent.
pub const DEFAULT_REPLICAS: i32 = 1;
/// Backend quota when `spec.quota` is absent: etcd's own default.
pub const DEFAULT_QUOTA: &str = "2Gi";

/// How an etcd cluster is run.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "EtcdCluster",
    schema = "disabled",
    plural = "etcdclusters",
    singular = "etcdcluster",
    category = "kamaji",
    status = "EtcdClusterStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Ready Replicas","type":"integer","jsonPath":".status.readyReplicas"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct EtcdClusterSpec {
    /// Number of members: 1 or 3. One member when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Where members keep their data; ephemeral when absent. The kind of storage cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<EtcdStorage>,
    /// Size that the backend database may reach before etcd refuses writes; `2Gi` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quantity>,
    /// etcd image, with its tag; the operator's own choice when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Compute resources of each member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels that a member's node must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that members tolerate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity of members; spread over nodes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Path of the field that could not be read, such as `spec.controlPlane`. Then every other field is its default,
    /// and nothing may be concluded from it: the object is to be rejected with this path.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

readable_spec!(EtcdClusterSpec);

impl EtcdClusterSpec {
    /// Number of members, with the default applied.
    pub fn effective_replicas(&self) -> i32 {
        self.replicas.unwrap_or(DEFAULT_REPLICAS)
    }

    /// The backend quota, with the default applied.
    pub fn effective_quota(&self) -> Quantity {
        self.quota.clone().unwrap_or_else(|| Quantity(DEFAULT_QUOTA.to_owned()))
    }

    /// The persistent storage when that is chosen, else none: the storage is ephemeral.
    pub fn persistent_storage(&self) -> Option<&PersistentStorage> {
        self.storage.as_ref().and_then(|storage| storage.persistent.as_ref())
    }

    /// The size limit of ephemeral storage, where that is chosen and limited.
    pub fn ephemeral_size_limit(&self) -> Option<&Quantity> {
        self.storage.as_ref().and_then(|storage| storage.ephemeral.as_ref()).and_then(|e| e.size_limit.as_ref())
    }
}

/// Where members keep their data. At most one of the two is set; neither means ephemeral.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStorage {
    /// A PersistentVolumeClaim for each member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<PersistentStorage>,
    /// An emptyDir for each member: data is lost with the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralStorage>,
}

/// A PersistentVolumeClaim for each member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistentStorage {
    /// StorageClass of the claims; the management cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Size of each claim.
    #[serde(default)]
    pub size: Quantity,
}

/// An emptyDir for each member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralStorage {
    /// Size limit of the emptyDir; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// The state of an etcd cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct EtcdClusterStatus {
    /// The generation that the status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Members that serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// The members that etcd itself lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<EtcdMember>>,
    /// The etcd version that every member has reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready, Progressing, Degraded and Stalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

readable_status!(EtcdClusterStatus);

/// One member as etcd lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdMember {
    /// The member's name, which is its pod's name; empty until it has started once.
    pub name: String,
    /// The member's identity, hexadecimal as `etcdctl member list` prints it.
    pub id: String,
    /// Whether the member does not vote yet.
    pub learner: bool,
    /// Whether the member answers.
    pub healthy: bool,
    /// Size of its backend database in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_size: Option<i64>,
    /// The etcd version that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
