//! Finalizers.

/// On a TenantControlPlane whose schema and user exist in its DataStore.
pub const DATASTORE: &str = "finalizer.kamaji.clastix.io";
/// On a TenantControlPlane whose tenant cluster is being served by the Go operator's tenant side.
pub const SOOT: &str = "finalizer.kamaji.clastix.io/soot";
/// On the Secret with the datastore configuration.
pub const DATASTORE_SECRET: &str = "finalizer.kamaji.clastix.io/datastore-secret";
/// On a DataStore that tenants use.
pub const DATASTORE_IN_USE: &str = "kamaji.clastix.io/TenantControlPlane";
/// On an EtcdCluster, until no tenant uses its DataStore.
pub const ETCD_CLUSTER: &str = "kamaji.clastix.io/EtcdCluster";
