//! Names of the controllers in progress reports and metrics.

/// Of TenantControlPlanes.
pub const TENANT_CONTROL_PLANE: &str = "tenantcontrolplane";
/// Of DataStores.
pub const DATA_STORE: &str = "datastore";
/// Of EtcdClusters.
pub const ETCD_CLUSTER: &str = "etcdcluster";
