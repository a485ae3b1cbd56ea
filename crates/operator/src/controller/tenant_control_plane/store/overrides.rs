//! The datastores that keep single resources of the tenant, beside its own.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_plan::{
    override_record,
    resolve::{Resolved, known_good},
};
use kube::ResourceExt;

use super::{
    super::{Shared, error::Halt, observe::Observed, record},
    trouble::not_ready,
};
use crate::controller::pool::Opened;

/// A datastore, when it can be used, and the name of its DataStore.
pub type Named = (String, Option<Arc<Opened>>);

/// The tenant's own datastore, then those of its overrides in the specification's order, each once.
pub fn all(observed: &Observed, resolved: &Resolved) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for name in [&resolved.store.name].into_iter().chain(resolved.store.overrides.iter().map(|other| &other.store)) {
        if all.iter().all(|(known, _)| known != name) {
            all.push((name.clone(), observed.opened.get(name).cloned()));
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

/// Whether the pods that run use a datastore for all that it is for: as the tenant's own, or by kube-apiserver's flag.
pub fn is_used(live: &Deployment, resolved: &Resolved, name: &str) -> bool {
    let used = known_good::overrides(live);
    let mut wanted =
        resolved.store.overrides.iter().filter(|wanted| wanted.store == name && name != resolved.store.name);
    wanted.all(|wanted| {
        let by = |endpoint: &&str| wanted.endpoints.iter().any(|wanted| wanted == endpoint);
        used.iter().any(|(resource, endpoints)| *resource == wanted.resource && endpoints.iter().any(by))
    })
}
