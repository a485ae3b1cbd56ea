//! The CustomResourceDefinitions, generated from the Rust types.
//!
//! The types give fields and structure; `schema_table` gives what Rust types cannot say: required fields,
//! list kinds, defaults, limits and validation rules. [`additions`] lists what the Go operator's CRDs do not have.

pub mod additions;
mod document;
mod schema;
mod schema_table;

use std::collections::BTreeMap;

pub use document::{document, yaml, yaml_for};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceValidation, ServiceReference,
    WebhookClientConfig, WebhookConversion,
};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use thiserror::Error;

use crate::{
    DataStore, DataStoreSpec, DataStoreStatus, EtcdCluster, EtcdClusterSpec, EtcdClusterStatus, KubeconfigGenerator,
    KubeconfigGeneratorSpec, KubeconfigGeneratorStatus, TenantControlPlane, TenantControlPlaneSpec,
    TenantControlPlaneStatus,
};

/// Annotation by which cert-manager fills in the conversion webhook's CA, where cert-manager is used.
const INJECT_CA_FROM: &str = "cert-manager.io/inject-ca-from";
/// Annotation of the Go operator's CRDs that tools compare.
const CONTROLLER_GEN_VERSION: (&str, &str) = ("controller-gen.kubebuilder.io/version", "v0.20.0");

/// Where the operator is installed, as far as the CRDs name it. A chart may put template expressions here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Namespace of the operator.
    pub namespace: String,
    /// Service of the operator's webhook server.
    pub webhook_service: String,
    /// cert-manager Certificate of the webhook server.
    pub certificate: String,
}

impl Default for Installation {
    /// The names that the chart uses when nothing is overridden.
    fn default() -> Self {
        Self {
            namespace: "kamaji-system".to_owned(),
            webhook_service: "kamaji-webhook-service".to_owned(),
            certificate: "kamaji-serving-cert".to_owned(),
        }
    }
}

/// Why the CustomResourceDefinitions cannot be generated: always a defect of this crate, which its tests find.
#[derive(Debug, Error)]
pub enum CrdError {
    /// The generated schema is none that Kubernetes knows.
    #[error("the generated schema of {kind} is no valid JSONSchemaProps; report this as a defect")]
    Schema {
        /// The kind.
        kind: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A definition cannot be written as YAML.
    #[error("the CustomResourceDefinition {name} cannot be written as YAML; report this as a defect")]
    Yaml {
        /// Name of the CustomResourceDefinition.
        name: String,
        /// What is wrong with it.
        #[source]
        source: serde_saphyr::SerializeError,
    },
}

impl CrdError {
    /// The kind of failure, for metrics and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "schema",
            Self::Yaml { .. } => "yaml",
        }
    }
}

/// The CustomResourceDefinitions for the default [`Installation`]: TenantControlPlane, DataStore,
/// KubeconfigGenerator, EtcdCluster.
pub fn all() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    all_for(&Installation::default())
}

/// The CustomResourceDefinitions for an [`Installation`], in a stable order.
pub fn all_for(installation: &Installation) -> Result<Vec<CustomResourceDefinition>, CrdError> {
    let mut tenant_control_plane =
        definition::<TenantControlPlane, TenantControlPlaneSpec, TenantControlPlaneStatus>()?;
    tenant_control_plane.spec.conversion = Some(conversion(installation));
    let mut inherited = [
        tenant_control_plane,
        definition::<DataStore, DataStoreSpec, DataStoreStatus>()?,
        definition::<KubeconfigGenerator, KubeconfigGeneratorSpec, KubeconfigGeneratorStatus>()?,
    ];
    for crd in &mut inherited {
        crd.metadata.annotations = Some(annotations(installation));
    }
    let own = definition::<EtcdCluster, EtcdClusterSpec, EtcdClusterStatus>()?;
    Ok(inherited.into_iter().chain([own]).collect())
}

/// The definition of a kind, with its schema filled in.
fn definition<Kind, Spec, Status>() -> Result<CustomResourceDefinition, CrdError>
where
    Kind: CustomResourceExt,
    Spec: JsonSchema,
    Status: JsonSchema,
{
    let mut crd = Kind::crd();
    let schema = schema::of::<Spec, Status>();
    let schema = serde_json::from_value(schema)
        .map_err(|source| CrdError::Schema { kind: crd.spec.names.kind.clone(), source })?;
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    if let Some(version) = crd.spec.versions.first_mut() {
        version.schema = Some(CustomResourceValidation { open_api_v3_schema: Some(schema) });
    }
    Ok(crd)
}

/// The annotations that the Go operator's CRDs carry.
fn annotations(installation: &Installation) -> BTreeMap<String, String> {
    let (key, value) = CONTROLLER_GEN_VERSION;
    BTreeMap::from([
        (INJECT_CA_FROM.to_owned(), format!("{}/{}", installation.namespace, installation.certificate)),
        (key.to_owned(), value.to_owned()),
    ])
}

/// The conversion stanza. With a single version no API server ever calls it; clients compare it.
fn conversion(installation: &Installation) -> CustomResourceConversion {
    CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: Some(WebhookConversion {
            client_config: Some(WebhookClientConfig {
                service: Some(ServiceReference {
                    name: installation.webhook_service.clone(),
                    namespace: installation.namespace.clone(),
                    path: Some("/convert".to_owned()),
                    port: None,
                }),
                ..WebhookClientConfig::default()
            }),
            conversion_review_versions: vec!["v1".to_owned()],
        }),
    }
}
