//! Annotations.

/// Checksum of an object's data; on Secrets and ConfigMaps that the operator writes.
pub const CHECKSUM: &str = "kamaji.clastix.io/checksum";
/// Stops the reconcile of the object that carries it, deletion included. The value does not matter.
pub const PAUSED: &str = "kamaji.clastix.io/paused";
/// On a managed Secret: an empty value asks for new keys; the operator answers with the time, RFC 3339.
pub const ROTATE: &str = "certs.kamaji.clastix.io/rotate";
/// On a TenantControlPlane: key of the admin kubeconfig Secret that the operator itself uses.
pub const KUBECONFIG_SECRET_KEY: &str = "kamaji.clastix.io/kubeconfig-secret-key";
/// On the Deployment: checksum of the API server's extra arguments.
pub const API_SERVER_ARGS: &str = "kube-apiserver.kamaji.clastix.io/args";
/// On a TenantControlPlane: a Go bool, whether a migration deletes what an earlier one left at its target.
pub const CLEANUP_PRIOR_MIGRATION: &str = "kamaji.clastix.io/cleanup-prior-migration";
/// On a TenantControlPlane: a Go duration, the limit of a migration.
pub const MIGRATION_TIMEOUT: &str = "kamaji.clastix.io/migration-timeout";
/// On a TenantControlPlane: `failed` after the Go operator could not start its tenant side.
pub const SOOT: &str = "kamaji.clastix.io/soot";
/// Value of [`SOOT`] after a failure.
pub const SOOT_FAILED: &str = "failed";
/// On the pod template: checksum of the datastore configuration.
pub const STORAGE_CONFIG: &str = "storage.kamaji.clastix.io/config";
/// On the pod template: checksum of the datastore certificate.
pub const STORAGE_CERTIFICATE: &str = "storage.kamaji.clastix.io/certificate";
/// On the Deployment: the template revision that its pods were made by.
pub const TEMPLATE_REVISION: &str = "kamaji.clastix.io/template-revision";
/// Twin of `spec.kubernetes.encryptionAlgorithm`: typed Go clients drop a field that they do not know when they
/// update, and keep annotations.
pub const ENCRYPTION_ALGORITHM: &str = "kamaji.clastix.io/encryptionAlgorithm";

/// The annotation twins of fields that the Go API does not have, as (annotation, path of the field).
pub const TWINS: &[(&str, &str)] = &[(ENCRYPTION_ALGORITHM, "spec.kubernetes.encryptionAlgorithm")];
