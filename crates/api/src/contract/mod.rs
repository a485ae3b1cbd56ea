//! Every name that a client, a node, a running tenant or a datastore sees (`docs/reference/compatibility.md`).
//!
//! These are facts of running clusters: changing one orphans objects.

pub mod annotations;
pub mod finalizers;
pub mod keys;
pub mod labels;
pub mod names;
pub mod ports;
pub mod secrets;

/// API group of every kind of this crate.
pub const GROUP: &str = "kamaji.clastix.io";
/// The only API version.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as objects carry them in `apiVersion`.
pub const API_VERSION: &str = "kamaji.clastix.io/v1alpha1";
/// Field manager of everything that the operator applies, in either cluster.
pub const FIELD_MANAGER: &str = "kamaji";
/// Lease of the operator's leader election.
pub const LEASE_MANAGER: &str = "kamaji.clastix.io";
/// Lease of the kubeconfig generator's leader election.
pub const LEASE_KUBECONFIG_GENERATOR: &str = "kubeconfiggenerator.kamaji.clastix.io";

/// Admission plugins where the specification lists none; the CRD's default.
pub const DEFAULT_ADMISSION_PLUGINS: [&str; 18] = [
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "LimitRanger",
    "MutatingAdmissionWebhook",
    "NamespaceLifecycle",
    "NodeRestriction",
    "PersistentVolumeClaimResize",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionWebhook",
];
