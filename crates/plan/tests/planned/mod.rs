//! What a plan puts into a tenant's cluster, in one list.

use kamaji_plan::tenant_cluster::TenantCluster;
use serde_json::{Value, json};

/// Every planned object as JSON, with its kind.
pub fn objects(cluster: &TenantCluster) -> Vec<Value> {
    // Without `..`: a new list of the plan does not compile until it is compared, too.
    let TenantCluster {
        config_maps,
        service_accounts,
        roles,
        role_bindings,
        cluster_roles,
        cluster_role_bindings,
        created_once,
        services,
        deployments,
        daemon_sets,
        kept_config_maps: _,
        troubles: _,
    } = cluster;
    let lists = json!([
        config_maps,
        service_accounts,
        roles,
        role_bindings,
        cluster_roles,
        cluster_role_bindings,
        created_once,
        services,
        deployments,
        daemon_sets,
    ]);
    lists.as_array().unwrap().iter().flat_map(|list| list.as_array().unwrap().clone()).collect()
}
