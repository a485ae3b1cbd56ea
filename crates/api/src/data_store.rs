//! `DataStore`: a database that keeps tenants' Kubernetes state.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::open_enum::open_enum;
use crate::reading::{readable_spec, readable_status};

open_enum! {
    /// The database protocol of a DataStore.
    #[derive(Default)]
    pub enum Driver {
        /// etcd, spoken to by kube-apiserver itself.
        #[default]
        Etcd = "etcd",
        /// MySQL or MariaDB, through kine.
        MySql = "MySQL",
        /// PostgreSQL, through kine.
        PostgreSql = "PostgreSQL",
        /// NATS JetStream, through kine.
        Nats = "NATS",
    }
}

impl Driver {
    /// Whether kube-apiserver speaks to the store through a kine container.
    pub fn needs_kine(&self) -> bool {
        !matches!(self, Self::Etcd)
    }
}

/// Where a database is and how to sign in to it as an administrator.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "DataStore",
    schema = "disabled",
    plural = "datastores",
    singular = "datastore",
    status = "DataStoreStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Driver","type":"string","jsonPath":".spec.driver"}"#,
    printcolumn = r#"{"name":"Ready","type":"boolean","jsonPath":".status.ready"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct DataStoreSpec {
    /// The database protocol. It cannot change.
    #[serde(default = "crate::open_enum::missing::<Driver>")]
    pub driver: Driver,
    /// The servers, each as `host:port` without a scheme.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// User name and password of an administrator, where the driver uses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// TLS material; required for etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// Path of the field that could not be read, such as `spec.controlPlane`. Then every other field is its default,
    /// and nothing may be concluded from it: the object is to be rejected with this path.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

readable_spec!(DataStoreSpec);

/// A user name and a password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// The user name.
    #[serde(default)]
    pub username: ContentRef,
    /// The password.
    #[serde(default)]
    pub password: ContentRef,
}

/// How connections to the database are secured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// The authority that signed the servers' certificates. etcd also needs its key, to sign tenants' certificates.
    #[serde(default)]
    pub certificate_authority: CertificateAuthority,
    /// The administrator's client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate authority and, where it signs, its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthority {
    /// The certificate, PEM.
    #[serde(default)]
    pub certificate: ContentRef,
    /// The private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<ContentRef>,
}

/// A client certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// The certificate, PEM.
    #[serde(default)]
    pub certificate: ContentRef,
    /// The private key, PEM.
    #[serde(default)]
    pub private_key: ContentRef,
}

/// Bytes given in place or by a key of a Secret. `content` wins when both are set.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContentRef {
    /// The bytes, base64 in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub content: Option<ByteString>,
    /// A key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_reference: Option<SecretReference>,
}

// Inline content may be a password or a private key, and a Debug print ends up in logs.
impl std::fmt::Debug for ContentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentRef")
            .field("content", &self.content.as_ref().map(|bytes| format!("<{} bytes>", bytes.0.len())))
            .field("secret_reference", &self.secret_reference)
            .finish()
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Secret's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key within the Secret's data.
    #[serde(default)]
    pub key_path: String,
}

/// What the operator found out about a DataStore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct DataStoreStatus {
    /// The generation that the status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The tenants kept in the store, as sorted `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Vec<String>>,
    /// Conditions of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Whether tenants can be kept in the store now.
    pub ready: bool,
    /// The names that tenants have in the store or left there, sorted by tenant. Nobody else may have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_names: Option<Vec<TakenName>>,
    /// User name of the operator's own login, where it logs in with one. No tenant may have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

readable_status!(DataStoreStatus);

/// The names of one tenant in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakenName {
    /// The tenant, as `namespace/name`.
    #[serde(default)]
    pub tenant: String,
    /// Its schema.
    #[serde(default)]
    pub schema: String,
    /// Its user; absent where all use the operator's own login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
