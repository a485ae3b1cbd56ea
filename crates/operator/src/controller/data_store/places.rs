//! Places on a DataStore: frees those of tenants that are gone, and says when the limit cannot be read.

use std::sync::Arc;

use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_plan::placement::{self, Place};
use kube::{Api, ResourceExt};

use super::Shared;

/// What is wrong with the limit, after the other warnings.
pub fn warned(data_store: &DataStore, warnings: String) -> String {
    match placement::fault(data_store) {
        None => warnings,
        Some(fault) if warnings.is_empty() => fault.to_string(),
        Some(fault) => format!("{warnings}. {fault}"),
    }
}

/// Removes records of places that nobody will take. What fails is tried again by the next pass.
///
/// # Errors
/// When a record cannot be removed.
pub async fn tidy(
    data_store: &DataStore,
    shared: &Shared,
    tenants: &[Arc<TenantControlPlane>],
) -> Result<(), kamaji_apply::Error> {
    for place in placement::stale(data_store, tenants) {
        if is_taken(data_store, shared, &place).await {
            continue;
        }
        let gone = [(place.key(), None)].into();
        let written = shared.context.applier.annotate(data_store, gone).await?;
        shared.stores.data_stores.recent.wrote(&written);
        tracing::info!(tenant = place.tenant, "its place on the DataStore is free again");
    }
    Ok(())
}

/// A watch may not know the newest tenants yet, so the API server is asked.
async fn is_taken(data_store: &DataStore, shared: &Shared, place: &Place) -> bool {
    let Some((namespace, name)) = place.tenant.split_once('/') else { return false };
    let api: Api<TenantControlPlane> = Api::namespaced(shared.context.process.client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(Some(tenant)) if tenant.uid().as_deref() == Some(&place.uid) => {
            !placement::stale(data_store, &[Arc::new(tenant)]).contains(place)
        }
        Ok(_) => false,
        Err(error) => {
            tracing::debug!(%error, "it cannot be told whether a tenant is still there");
            true
        }
    }
}
