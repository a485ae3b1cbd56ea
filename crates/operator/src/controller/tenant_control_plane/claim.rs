//! Whether a tenant may have the place on a datastore that it asks for.

use std::{collections::BTreeSet, sync::Arc};

use kamaji_api::TenantControlPlane;
use kamaji_plan::{
    claim::{self, Others},
    override_record,
    rejection::Rejection,
    reservation::Reservation,
    resolve::{Resolved, StoreIdentity},
};

use super::{Shared, observe::Observed};

/// Refuses a place that is another tenant's, one of `tenants`, and one where the tenant's data is not.
///
/// # Errors
/// The rejection, as a sentence.
pub fn check(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    tenants: &[Arc<TenantControlPlane>],
) -> Result<(), Rejection> {
    let mut reserved = observed.data_store.as_deref().map(Reservation::all).unwrap_or_default();
    for other in &resolved.store.overrides {
        let data_store = shared.stores.data_stores.get(None, &other.store);
        reserved.extend(data_store.as_deref().map(Reservation::all).unwrap_or_default());
    }
    let names = [&resolved.store.name].into_iter().chain(resolved.store.overrides.iter().map(|other| &other.store));
    for name in names {
        left_by_override(shared, resolved, name, tenants)?;
    }
    claim::check(resolved, observed.deployment.as_deref(), &Others { tenants, reserved: &reserved })
}

/// A tenant that kept resources on a DataStore has its names there until it is deleted, whatever it asks for now.
fn left_by_override(
    shared: &Shared,
    resolved: &Resolved,
    name: &str,
    tenants: &[Arc<TenantControlPlane>],
) -> Result<(), Rejection> {
    let Some(data_store) = shared.stores.data_stores.get(None, name) else { return Ok(()) };
    let (tenant, identity) = (&resolved.tenant, &resolved.store.identity);
    let guests: BTreeSet<&str> = override_record::uids(&data_store).collect();
    let is_guest =
        |other: &&Arc<TenantControlPlane>| other.metadata.uid.as_deref().is_some_and(|uid| guests.contains(uid));
    let mut guests = tenants.iter().filter(is_guest);
    let Some(field) = guests.find_map(|other| claim::taken_by(tenant, identity, other)) else { return Ok(()) };
    let message = format!(
        "the name belongs to another TenantControlPlane, which kept resources on the DataStore \"{name}\"; choose a name \
         that nobody else has"
    );
    Err(Rejection::new("NameTaken", field, message))
}

/// Whether the names are another tenant's.
pub fn is_taken(shared: &Shared, tenant: &TenantControlPlane, store: &str, identity: &StoreIdentity) -> bool {
    claim::taken(tenant, store, identity, &shared.stores.tenants.all()).is_some()
}
