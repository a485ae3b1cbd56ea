//! The end of an EtcdCluster: not while a tenant is kept in it, and then everything, volumes included.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kamaji_api::{EtcdCluster, TenantControlPlane, contract::finalizers};
use kamaji_plan::{
    etcd_cluster::{names, resolve::is_owned, status::Outcome},
    rejection::Rejection,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PartialObjectMeta},
    core::DeserializeGuard,
    runtime::controller::Action,
};

use super::{POLL, Shared, error::Error, observe::Observed, report};

/// Puts our finalizer on a cluster that has none.
pub async fn hold(shared: &Shared, cluster: &EtcdCluster) -> Result<(), Error> {
    if cluster.finalizers().iter().any(|finalizer| finalizer == finalizers::ETCD_CLUSTER) {
        return Ok(());
    }
    let mut wanted = cluster.finalizers().to_vec();
    wanted.push(finalizers::ETCD_CLUSTER.to_owned());
    let held = shared.context.applier.set_finalizers(cluster, wanted).await?;
    shared.stores.clusters.recent.wrote(&held);
    Ok(())
}

/// Takes a cluster down that is being deleted.
pub async fn release(shared: &Shared, cluster: &EtcdCluster, observed: &Observed) -> Result<Action, Error> {
    if !cluster.finalizers().iter().any(|finalizer| finalizer == finalizers::ETCD_CLUSTER) {
        return Ok(Action::await_change());
    }
    let name = cluster.name_any();
    let uid = cluster.uid().unwrap_or_default();
    let data_store = observed.data_store.as_deref().filter(|store| is_owned(store, &uid));
    let reported = data_store.and_then(|store| store.status.as_ref()?.used_by.clone()).unwrap_or_default();
    let mut tenants: BTreeSet<String> = reported.into_iter().collect();
    tenants.extend(users(shared, &name).await?);
    if !tenants.is_empty() {
        let tenants = tenants.into_iter().collect::<Vec<_>>().join(", ");
        let stalled = Rejection::new(
            "InUse",
            "metadata.deletionTimestamp",
            format!("the EtcdCluster stays until no tenant is kept in it; delete or move {tenants}"),
        );
        let outcome = Outcome { stalled: Some(stalled), ..Outcome::default() };
        report::report(shared, cluster, &outcome).await?;
        return Ok(Action::requeue(shared.backoff.spread(POLL)));
    }
    let applier = &shared.context.applier;
    if let Some(data_store) = data_store {
        // Whoever wants to keep a tenant in it finds it going, or gone.
        if data_store.metadata.deletion_timestamp.is_none() {
            applier.delete(data_store).await?;
        }
        return Ok(Action::requeue(shared.backoff.spread(POLL)));
    }
    if let Some(set) = &observed.stateful_set {
        applier.delete(set.as_ref()).await?;
    }
    for claim in claims(shared, &name).await? {
        applier.delete(&claim).await?;
    }
    let kept = cluster.finalizers().iter().filter(|finalizer| *finalizer != finalizers::ETCD_CLUSTER).cloned();
    applier.set_finalizers(cluster, kept.collect()).await?;
    shared.forget(&uid);
    Ok(Action::await_change())
}

/// Tenants that name the DataStore, read live: a store may not have seen the newest yet.
async fn users(shared: &Shared, data_store: &str) -> Result<Vec<String>, Error> {
    let api: Api<DeserializeGuard<TenantControlPlane>> = Api::all(shared.context.process.client.clone());
    let list = api
        .list(&ListParams::default())
        .await
        .map_err(|source| Error::List { kind: "TenantControlPlanes", source: Box::new(source) })?;
    let default = shared.context.process.options.default_data_store.as_deref();
    let names = |tenant: &TenantControlPlane| {
        let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.as_deref());
        let wanted = tenant.spec.data_store.as_deref().filter(|name| !name.is_empty()).or(default);
        let mut overrides =
            tenant.spec.data_store_overrides.iter().flatten().filter_map(|entry| entry.data_store.as_deref());
        reported.or(wanted) == Some(data_store)
            || wanted == Some(data_store)
            || overrides.any(|name| name == data_store)
    };
    let users = list.items.into_iter().filter_map(|tenant| {
        let tenant = tenant.0.ok()?;
        names(&tenant).then(|| format!("{}/{}", tenant.namespace().unwrap_or_default(), tenant.name_any()))
    });
    Ok(users.collect())
}

/// Claims of the members, read live.
async fn claims(shared: &Shared, cluster: &str) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let process = &shared.context.process;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(process.client.clone(), &process.options.pod_namespace);
    let selector = format!("{}={cluster}", names::LABEL);
    let list = api
        .list_metadata(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| Error::List { kind: "PersistentVolumeClaims", source: Box::new(source) })?;
    let claim = |meta: PartialObjectMeta<PersistentVolumeClaim>| PersistentVolumeClaim {
        metadata: meta.metadata,
        ..PersistentVolumeClaim::default()
    };
    Ok(list.items.into_iter().filter(|meta| meta.metadata.deletion_timestamp.is_none()).map(claim).collect())
}
