//! Which DataStore the tenant is on: chosen once, and recorded on the DataStore before anything of the tenant is made.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kamaji_plan::{
    claim,
    placement::{self, Choice, Known, Place},
    rejection::Rejection,
};

use super::{Shared, error::Halt, record};

/// The DataStore that the tenant is to be on; it need not exist.
///
/// # Errors
/// The rejection when nothing fits.
pub fn choose(
    shared: &Shared,
    tenant: &TenantControlPlane,
    deployment: Option<&Deployment>,
) -> Result<Choice, Rejection> {
    let known = Known {
        data_stores: &shared.stores.data_stores.all(),
        tenants: &shared.stores.tenants.store.state(),
        default: shared.context.process.options.default_data_store.as_deref(),
    };
    placement::choose(tenant, claim::present_store(tenant, deployment).as_deref(), &known)
}

/// Writes the choice down, where it needs a record.
///
/// # Errors
/// [`Halt::Waiting`] when another took the place meanwhile, [`Halt::Failed`] when the write fails.
pub async fn record(
    shared: &Shared,
    tenant: &TenantControlPlane,
    deployment: Option<&Deployment>,
    chosen: &Choice,
) -> Result<(), Halt> {
    if chosen.record.is_none() {
        return Ok(());
    }
    // One after the other: each sees the places that those before it took.
    let _turn = shared.placing.lock().await;
    let choice = choose(shared, tenant, deployment)?;
    if choice.data_store != chosen.data_store {
        return Err(Halt::poll(
            "Synchronizing",
            "Another tenant took the place on the DataStore; one is chosen again.",
        ));
    }
    let data_store = shared.stores.data_stores.get(None, &choice.data_store);
    if let (Some(place), Some(data_store)) = (choice.record, data_store) {
        let entry = [(place.key(), Some(place.value()))].into();
        let written = shared.context.applier.annotate_unchanged(data_store.as_ref(), entry).await;
        let written = written.map_err(|source| record::failed(&choice.data_store, source))?;
        shared.stores.data_stores.recent.wrote(&written);
        tracing::info!(data_store = choice.data_store, "the tenant has its place");
    }
    Ok(())
}

/// Gives up the tenant's place on every DataStore.
///
/// # Errors
/// When a record cannot be removed.
pub async fn leave(shared: &Shared, tenant: &TenantControlPlane) -> Result<(), Halt> {
    let place = Place::of(tenant);
    for data_store in shared.stores.data_stores.all() {
        if place.is_on(&data_store) {
            record::write(shared, &data_store, (place.key(), None)).await?;
        }
    }
    Ok(())
}
