//! The datastores that keep single resources of the tenant, beside its own.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_plan::{component::kube_apiserver, override_record, resolve::Resolved};
use kube::ResourceExt;

use super::{
    super::{Shared, error::Halt, record},
    trouble::not_ready,
};
use crate::controller::data_store::pool::Opened;

/// A datastore, when it can be used, and the name of its DataStore.
pub type Named = (String, Option<Arc<Opened>>);

/// The tenant's own datastore, then those of its overrides in the specification's order, each once.
pub fn all(shared: &Shared, resolved: &Resolved) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for name in [&resolved.store.name].into_iter().chain(resolved.store.overrides.iter().map(|other| &other.store)) {
        if all.iter().all(|(known, _)| known != name) {
            all.push((name.clone(), shared.pool.get(name)));
        }
    }
    all
}

/// Writes on a DataStore that the tenant keeps resources there, before it gets anything there.
///
/// # Errors
/// When it cannot be written.
pub async fn hold(shared: &Shared, resolved: &Resolved, name: &str) -> Result<(), Halt> {
    let tenant = resolved.tenant.as_ref();
    let data_store = shared.stores.data_stores.get(None, name).filter(|_| name != resolved.store.name);
    let Some(data_store) = data_store.filter(|data_store| !override_record::is_on(tenant, data_store)) else {
        return Ok(());
    };
    let entry = (override_record::key(tenant), Some(override_record::value(tenant)));
    if record::write(shared, &data_store, entry).await? { Ok(()) } else { Err(not_ready(name)) }
}

/// DataStores that may have something of the tenant, besides its own.
pub fn recorded(shared: &Shared, tenant: &TenantControlPlane) -> Vec<String> {
    let mut all = shared.stores.data_stores.all();
    all.retain(|data_store| override_record::is_on(tenant, data_store));
    all.iter().map(|data_store| data_store.name_any()).collect()
}

/// Removes the record of the tenant from a DataStore.
///
/// # Errors
/// When it cannot be removed.
pub async fn forget(shared: &Shared, tenant: &TenantControlPlane, name: &str) -> Result<(), Halt> {
    let Some(data_store) = shared.stores.data_stores.get(None, name) else { return Ok(()) };
    record::write(shared, &data_store, (override_record::key(tenant), None)).await.map(drop)
}

/// Whether the pods that run use a datastore: the tenant's own, or one that kube-apiserver's flag names.
pub fn is_used(live: &Deployment, resolved: &Resolved, name: &str) -> bool {
    if name == resolved.store.name {
        return true;
    }
    let pod = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let api_server = pod.and_then(|pod| pod.containers.iter().find(|container| container.name == kube_apiserver::NAME));
    let flags = api_server.and_then(|container| container.args.as_deref()).unwrap_or_default();
    let flag = flags.iter().find_map(|flag| flag.strip_prefix("--etcd-servers-overrides=")).unwrap_or_default();
    let endpoints =
        resolved.store.overrides.iter().filter(|other| other.store == name).flat_map(|other| &other.endpoints);
    let used: Vec<&str> = flag.split([',', ';', '#']).collect();
    endpoints.into_iter().any(|endpoint| used.contains(&format!("https://{endpoint}").as_str()))
}
