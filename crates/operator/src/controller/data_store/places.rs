//! Who has a place on a DataStore: frees those of tenants that are gone, and says when the limit cannot be read.

use std::{collections::BTreeSet, sync::Arc};

use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_plan::{
    claim, override_record,
    placement::{self, Place},
};
use kube::{Api, ResourceExt};

use super::Shared;

/// `namespace/name` of the tenants that use a DataStore, or may have something there that is not told otherwise; sorted.
pub fn used_by(data_store: &DataStore, tenants: &[Arc<TenantControlPlane>]) -> Vec<String> {
    let mut users = claim::used_by(&data_store.name_any(), tenants);
    let kept: BTreeSet<&str> = override_record::uids(data_store).collect();
    let placed: BTreeSet<String> = Place::all(data_store).into_iter().map(|place| place.uid).collect();
    let others = tenants.iter().filter(|tenant| {
        let uid = tenant.metadata.uid.as_deref().unwrap_or_default();
        kept.contains(uid) || (placed.contains(uid) && claim::is_held(tenant))
    });
    users.extend(others.map(|tenant| Place::of(tenant).tenant));
    users.sort();
    users.dedup();
    users
}

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
