//! The datastores that keep single resources of the tenant, beside its own.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_plan::{component::kube_apiserver, override_record, resolve::Resolved};
use kube::ResourceExt;

use super::super::{
    Shared,
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
