//! The end of a tenant: drain, revoke, erase, recount, release.
//!
//! Access is revoked before data is erased, even if the pods cannot be seen to end: a running API server writes its keys
//! back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kamaji_api::{TenantControlPlane, contract};
use kamaji_plan::{
    claim::is_held, control_plane::names::TenantSecret, issuance::datastore::recorded_identity, rejection::Rejection,
    resolve::StoreIdentity,
};
use kube::{Api, ResourceExt, api::ListParams, runtime::reflector::ObjectRef};

use super::{
    Shared, claim, erase,
    error::{Error, Halt},
    force, namesake, observe, place, secrets,
    store::overrides,
};

/// How long pods may take to end before access is revoked under them.
const DRAIN: Duration = Duration::from_mins(2);

/// Whether the tenant is certain to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The API server has just put the finalizer on it.
    Now,
    /// It was seen with the finalizer, by a watch that may be late.
    Before,
}

/// Puts the finalizer on a tenant before anything of it is made on a datastore, so that nothing can be left there. `may`
/// tells whether its names are free.
///
/// # Errors
/// When they are not, or the finalizer cannot be written.
pub async fn hold(
    shared: &Shared,
    tenant: &TenantControlPlane,
    may: impl FnOnce() -> Result<(), Rejection>,
) -> Result<Held, Halt> {
    if is_held(tenant) {
        return Ok(Held::Before);
    }
    // One after the other: of two that ask for one name, the second sees that the first holds it.
    let _turn = shared.placing.lock().await;
    may()?;
    let finalizer = contract::finalizers::DATASTORE;
    let mut finalizers = tenant.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    let held = shared
        .context
        .applier
        .set_finalizers(tenant, finalizers)
        .await
        .map_err(|source| write_failed(tenant, source))?;
    shared.stores.tenants.recent.wrote(&held);
    Ok(Held::Now)
}

/// Takes a tenant down, step by step; each pass goes as far as it can.
///
/// # Errors
/// [`Halt::Waiting`] while pods end or the datastore is away, [`Halt::Failed`] when a call fails.
pub async fn finish(shared: &Shared, tenant: &Arc<TenantControlPlane>) -> Result<(), Halt> {
    let ours = [contract::finalizers::DATASTORE, contract::finalizers::SOOT];
    if !tenant.finalizers().iter().any(|finalizer| ours.contains(&finalizer.as_str())) {
        return Ok(());
    }
    take_down(shared, tenant).await?;
    release(shared, tenant).await
}

/// Takes back everything that was made for a tenant and that does not go by itself.
///
/// # Errors
/// As [`finish`].
pub async fn take_down(shared: &Shared, tenant: &TenantControlPlane) -> Result<(), Halt> {
    drain(shared, tenant).await?;
    let config = config(shared, tenant).await?;
    let name = store_name(shared, tenant);
    if let Some(identity) = identity(tenant, config.as_deref()) {
        for name in [name].into_iter().chain(overrides::recorded(shared, tenant)) {
            take_back(shared, tenant, &name, &identity).await?;
            overrides::forget(shared, tenant, &name).await?;
        }
    }
    // The last that tells the names goes last.
    if let Some(config) = config {
        secrets::release(shared, &config).await?;
    }
    place::leave(shared, tenant).await
}

/// Takes back what the tenant has on a datastore, unless its owner puts up with data that stays.
async fn take_back(
    shared: &Shared,
    tenant: &TenantControlPlane,
    name: &str,
    identity: &StoreIdentity,
) -> Result<(), Halt> {
    // What is another tenant's stays.
    if claim::is_taken(shared, tenant, name, identity) {
        return Ok(());
    }
    match erase::erase(shared, tenant, name, identity).await {
        Err(Halt::Waiting { poll: false, .. } | Halt::Failed(_)) if force::is_asked(tenant) => {
            force::leave(shared, tenant, name, identity.clone()).await
        }
        other => other,
    }
}

/// Deletes the Deployment and waits for its pods.
async fn drain(shared: &Shared, tenant: &TenantControlPlane) -> Result<(), Halt> {
    let (name, namespace) = (tenant.name_any(), tenant.namespace().unwrap_or_default());
    if let Some(deployment) = observe::deployment(shared, tenant).await? {
        if deployment.metadata.deletion_timestamp.is_none() {
            let deleted = shared.context.applier.delete(deployment.as_ref()).await;
            deleted.map_err(|source| Error::Write { what: format!("Deployment {name}"), source })?;
        }
        shared.stores.deployments.recent.forget(&ObjectRef::from_obj(deployment.as_ref()));
    }
    let pods: Api<Pod> = Api::namespaced(shared.context.process.client.clone(), &namespace);
    let selector = ListParams::default().labels(&contract::labels::pod_selector_text(&name));
    let left = pods
        .list_metadata(&selector)
        .await
        .map_err(|source| Error::Read { what: format!("the pods of {name}"), source: Box::new(source) })?
        .items
        .len();
    let began = tenant.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let overdue = began.is_some_and(|began| Timestamp::now().duration_since(began).unsigned_abs() > DRAIN);
    if left == 0 {
        return Ok(());
    }
    if overdue {
        tracing::warn!(left, "the pods do not end; access is revoked under them");
        return Ok(());
    }
    Err(Halt::poll("Draining", format!("{left} pods of the control plane have yet to end.")))
}

/// The Secret with the datastore configuration, which is the last to go. Looked for past the watch store: without it
/// nothing would be taken back.
async fn config(shared: &Shared, tenant: &TenantControlPlane) -> Result<Option<Arc<Secret>>, Halt> {
    let (name, namespace) =
        (TenantSecret::DatastoreConfig.name(&tenant.name_any()), tenant.namespace().unwrap_or_default());
    let known = shared.stores.secrets.get(Some(&namespace), &name);
    let found = if known.is_some() {
        known
    } else {
        let api: Api<Secret> = Api::namespaced(shared.context.process.client.clone(), &namespace);
        let live = api.get_opt(&name).await;
        live.map_err(|source| Error::Read { what: format!("Secret {name}"), source: Box::new(source) })?.map(Arc::new)
    };
    // One of a namesake says nothing about this tenant.
    Ok(found.filter(|found| namesake::not_of_a_namesake(tenant, found.as_ref()).is_ok()))
}

/// The names under which the tenant may have left something.
fn identity(tenant: &TenantControlPlane, config: Option<&Secret>) -> Option<StoreIdentity> {
    let setup = tenant.status.as_ref().map(|status| status.storage.setup.clone()).unwrap_or_default();
    match (setup.schema, setup.user) {
        (Some(schema), Some(user)) => Some(StoreIdentity { schema, user }),
        _ => recorded_identity(config?),
    }
}

/// The DataStore that the tenant is on, else the one that it was to be on.
fn store_name(shared: &Shared, tenant: &TenantControlPlane) -> String {
    place::choose(shared, tenant, None).map(|choice| choice.data_store).unwrap_or_default()
}

/// Lets the tenant's own finalizers go.
async fn release(shared: &Shared, tenant: &TenantControlPlane) -> Result<(), Halt> {
    let ours = [contract::finalizers::DATASTORE, contract::finalizers::SOOT];
    let rest = tenant.finalizers().iter().filter(|present| !ours.contains(&present.as_str())).cloned().collect();
    let released = shared.context.applier.set_finalizers(tenant, rest).await;
    match released {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(404) => Ok(()),
        Err(source) => Err(write_failed(tenant, source)),
    }
}

fn write_failed(tenant: &TenantControlPlane, source: kamaji_apply::Error) -> Halt {
    Error::Write { what: format!("TenantControlPlane {}", tenant.name_any()), source }.into()
}
