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
/// On a TenantControlPlane that is being deleted: its datastore is not waited for. Takes effect with the value
/// [`FORCE_DELETION_VALUE`] alone, which says what the owner puts up with.
pub const FORCE_DELETION: &str = "kamaji.clastix.io/force-deletion";
/// Value of [`FORCE_DELETION`].
pub const FORCE_DELETION_VALUE: &str = "data-stays";
/// On a TenantControlPlane that was created anew from a backup: the UID that it had before, which is still recorded beside
/// its data.
pub const FORMER_UID: &str = "kamaji.clastix.io/former-uid";
/// On a DataStore, followed by the UID of a tenant that was deleted by force: names that nobody else gets until what is
/// kept under them is erased.
pub const RESERVED_PREFIX: &str = "reserved.kamaji.clastix.io/";
/// On a DataStore, followed by the UID of a tenant: a place that the tenant has there. The value is its
/// `namespace/name`.
pub const PLACED_PREFIX: &str = "placed.kamaji.clastix.io/";
/// On a DataStore, followed by the UID of a tenant that keeps some of its resources there, beside its own DataStore.
pub const OVERRIDES_PREFIX: &str = "overrides.kamaji.clastix.io/";
/// On a DataStore: how many tenants it takes. Without it there is no limit; what is no whole number counts as 0.
pub const TENANT_LIMIT: &str = "kamaji.clastix.io/tenant-limit";
/// Twin of `spec.kubernetes.encryptionAlgorithm`: typed Go clients drop a field that they do not know when they
/// update, and keep annotations.
pub const ENCRYPTION_ALGORITHM: &str = "kamaji.clastix.io/encryptionAlgorithm";
/// Twin of `spec.internalCACertificatesConfigMap`.
pub const INTERNAL_CA_CONFIG_MAP: &str = "kamaji.clastix.io/internalCACertificatesConfigMap";
/// Twin of `spec.dataStoreSelector`: the selector as JSON.
pub const DATA_STORE_SELECTOR: &str = "kamaji.clastix.io/dataStoreSelector";

/// Twin of `spec.addons.kubeProxy.configurationJSONPatches`: the list as JSON.
pub const KUBE_PROXY_PATCHES: &str = "kube-proxy.kamaji.clastix.io/configurationJSONPatches";
/// On the pod template of kube-proxy, in the tenant cluster: checksum of its configuration.
pub const KUBE_PROXY_CONFIG: &str = "kube-proxy.kamaji.clastix.io/config";

/// The annotation twins of fields that the Go API does not have, as (annotation, path of the field).
pub const TWINS: &[(&str, &str)] = &[
    (ENCRYPTION_ALGORITHM, "spec.kubernetes.encryptionAlgorithm"),
    (KUBE_PROXY_PATCHES, "spec.addons.kubeProxy.configurationJSONPatches"),
    (INTERNAL_CA_CONFIG_MAP, "spec.internalCACertificatesConfigMap"),
    (DATA_STORE_SELECTOR, "spec.dataStoreSelector"),
];
