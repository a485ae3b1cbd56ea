//! Where a tenant's data lives.

use kamaji_api::TenantControlPlane;

/// The outcome of the store step: the tenant has a schema, a user and the certificate to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Schema: the first part of the tenant's keys on etcd.
    pub schema: String,
    /// User that the tenant's certificate names.
    pub user: String,
    /// Whether the datastore was seen to have all of it. Only then is it reported: who was set up is taken over again.
    pub set_up: bool,
    /// Checksum of the datastore-config Secret's data.
    pub config_checksum: String,
    /// Checksum of the datastore-certificate Secret's data.
    pub certificate_checksum: String,
}

/// Whether a tenant was seen to have its place, as its status says: see [`Stored::set_up`].
pub fn was_set_up(tenant: &TenantControlPlane) -> bool {
    tenant.status.as_ref().is_some_and(|status| status.storage.setup.schema.is_some())
}
