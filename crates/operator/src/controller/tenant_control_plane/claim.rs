//! Whether a tenant may have the place on a datastore that it asks for.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{TenantControlPlane, contract};
use kamaji_plan::{
    rejection::Rejection,
    resolve::{Resolved, StoreIdentity},
};
use kube::ResourceExt;

use super::{Shared, observe::Observed};
use crate::controller::data_store::credentials::used_store;

/// Refuses a place that is another tenant's, and one where the tenant's data is not.
///
/// # Errors
/// The rejection, as a sentence.
pub fn check(shared: &Shared, resolved: &Resolved, observed: &Observed) -> Result<(), Rejection> {
    let (tenant, store) = (&resolved.tenant, &resolved.store);
    if let Some(present) =
        present_store(tenant, observed.deployment.as_deref()).filter(|present| *present != store.name)
    {
        let message = format!(
            "the tenant's data is on the DataStore \"{present}\", and moving it to \"{}\" is not supported by this \
             release; set it back",
            store.name
        );
        return Err(Rejection::new("Unsupported", "spec.dataStore", message));
    }
    if let Some(field) = taken(shared, tenant, &store.name, &store.identity) {
        let message = format!(
            "the name belongs to another TenantControlPlane on the DataStore \"{}\"; choose a name that nobody else has",
            store.name
        );
        return Err(Rejection::new("NameTaken", field, message));
    }
    Ok(())
}

/// The DataStore that the tenant's pods use: the status says it, and the pods' label when the status was lost.
fn present_store(tenant: &TenantControlPlane, live: Option<&Deployment>) -> Option<String> {
    let reported = tenant.status.as_ref().and_then(|status| status.storage.data_store_name.clone());
    reported.filter(|name| !name.is_empty()).or_else(|| {
        let labels = live?.spec.as_ref()?.template.metadata.as_ref()?.labels.as_ref()?;
        labels.get(contract::labels::template::DATASTORE).cloned()
    })
}

/// The field with a name that is another tenant's. Of two that ask for one name, the older has it.
pub fn taken(
    shared: &Shared,
    tenant: &TenantControlPlane,
    store: &str,
    identity: &StoreIdentity,
) -> Option<&'static str> {
    let uid = tenant.uid().unwrap_or_default();
    // A UID is nobody else's.
    let own = |name: &str| name == uid;
    if own(&identity.schema) && own(&identity.user) {
        return None;
    }
    let seniority = |tenant: &TenantControlPlane| (tenant.creation_timestamp().map(|time| time.0), tenant.uid());
    let others = shared.stores.tenants.store.state();
    let elders = others.iter().map(Arc::as_ref).filter(|other| {
        other.uid().as_ref() != Some(&uid)
            && used_store(other).as_deref() == Some(store)
            && seniority(other) < seniority(tenant)
    });
    elders.filter_map(names).find_map(|theirs| {
        if theirs.schema == identity.schema && !own(&identity.schema) {
            Some("spec.dataStoreSchema")
        } else if theirs.user == identity.user && !own(&identity.user) {
            Some("spec.dataStoreUsername")
        } else {
            None
        }
    })
}

/// The names that another tenant has, or asks for.
fn names(tenant: &TenantControlPlane) -> Option<StoreIdentity> {
    let setup = tenant.status.as_ref().map(|status| &status.storage.setup);
    let uid = tenant.uid()?;
    let pick = |reported: Option<&String>, asked: Option<&String>| {
        reported.or(asked).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| uid.clone())
    };
    Some(StoreIdentity {
        schema: pick(setup.and_then(|setup| setup.schema.as_ref()), tenant.spec.data_store_schema.as_ref()),
        user: pick(setup.and_then(|setup| setup.user.as_ref()), tenant.spec.data_store_username.as_ref()),
    })
}
