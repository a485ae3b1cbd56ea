//! The datastores that keep single resources of the tenant, beside its own.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_plan::{override_record, resolve::Resolved};
use kube::ResourceExt;

use super::super::{
    Shared, erase,
    error::{Error, Halt},
};
use crate::controller::data_store::pool::Opened;

/// A datastore that can be used, and the name of its DataStore.
pub type Named = (String, Arc<Opened>);

/// Those of the specification, in its order; `None` when one of them cannot be used.
pub fn opened(shared: &Shared, resolved: &Resolved) -> Option<Vec<Named>> {
    let mut names: Vec<&String> = Vec::new();
    for other in &resolved.store.overrides {
        if other.store != resolved.store.name && !names.contains(&&other.store) {
            names.push(&other.store);
        }
    }
    names.into_iter().map(|name| Some((name.clone(), shared.pool.get(name)?))).collect()
}

/// The tenant's own datastore and the others, as far as they can be used.
pub fn all(
    resolved: &Resolved,
    own: Option<Arc<Opened>>,
    others: Option<Vec<Named>>,
) -> Vec<(String, Option<Arc<Opened>>)> {
    let mut usable: BTreeMap<String, Arc<Opened>> = others.into_iter().flatten().collect();
    let mut all = vec![(resolved.store.name.clone(), own)];
    for other in &resolved.store.overrides {
        if all.iter().all(|(name, _)| *name != other.store) {
            all.push((other.store.clone(), usable.remove(&other.store)));
        }
    }
    all
}

/// Writes on a DataStore that the tenant keeps resources there, before it gets anything there.
///
/// # Errors
/// When it cannot be written.
pub async fn record(shared: &Shared, resolved: &Resolved, name: &str) -> Result<(), Halt> {
    let tenant = resolved.tenant.as_ref();
    let data_store = shared.stores.data_stores.get(None, name).filter(|_| name != resolved.store.name);
    let Some(data_store) = data_store.filter(|data_store| !override_record::is_on(tenant, data_store)) else {
        return Ok(());
    };
    let record = [(override_record::key(tenant), Some(override_record::value(tenant)))].into();
    let written = shared.context.applier.annotate(data_store.as_ref(), record).await;
    let written = written.map_err(|source| Error::Write { what: format!("DataStore {name}"), source })?;
    shared.stores.data_stores.recent.wrote(&written);
    Ok(())
}

/// DataStores that may have something of the tenant, besides its own.
pub fn recorded(shared: &Shared, tenant: &TenantControlPlane) -> Vec<String> {
    let mut all = shared.stores.data_stores.all();
    all.retain(|data_store| override_record::is_on(tenant, data_store));
    all.iter().map(|data_store| data_store.name_any()).collect()
}

/// Takes back what the tenant has on DataStores that its specification no longer names, once its pods are without them.
///
/// # Errors
/// As for the deletion of a tenant.
pub async fn take_back(shared: &Shared, resolved: &Resolved, deployment: &Deployment) -> Result<(), Halt> {
    let named = |name: &String| resolved.store.overrides.iter().any(|other| other.store == *name);
    let mut former = recorded(shared, &resolved.tenant);
    former.retain(|name| !named(name));
    if former.is_empty() || !has_rolled_out(deployment) {
        return Ok(());
    }
    for name in former {
        erase::erase(shared, &resolved.tenant, &name, &resolved.store.identity).await?;
        forget(shared, &resolved.tenant, &name).await?;
        tracing::info!(data_store = name, "what the tenant kept there is erased");
    }
    Ok(())
}

/// Removes the record of the tenant from a DataStore.
///
/// # Errors
/// When it cannot be removed.
pub async fn forget(shared: &Shared, tenant: &TenantControlPlane, name: &str) -> Result<(), Halt> {
    let Some(data_store) = shared.stores.data_stores.get(None, name) else { return Ok(()) };
    let gone = [(override_record::key(tenant), None)].into();
    match shared.context.applier.annotate(data_store.as_ref(), gone).await {
        Ok(written) => shared.stores.data_stores.recent.wrote(&written),
        Err(error) if error.code() == Some(404) => {}
        Err(source) => return Err(Error::Write { what: format!("DataStore {name}"), source }.into()),
    }
    Ok(())
}

/// No pod of an earlier template is left.
fn has_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let current = status.observed_generation == deployment.metadata.generation;
    let all = status.replicas.unwrap_or_default();
    current
        && status.updated_replicas.unwrap_or_default() == all
        && status.terminating_replicas.unwrap_or_default() == 0
}
