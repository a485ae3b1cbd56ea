//! Whether a tenant may have the place on a datastore that it asks for.

use kamaji_api::TenantControlPlane;
use kamaji_plan::{
    claim::{self, Others},
    rejection::Rejection,
    reservation::Reservation,
    resolve::{Resolved, StoreIdentity},
};

use super::{Shared, observe::Observed};

/// Refuses a place that is another tenant's, and one where the tenant's data is not.
///
/// # Errors
/// The rejection, as a sentence.
pub fn check(shared: &Shared, resolved: &Resolved, observed: &Observed) -> Result<(), Rejection> {
    let tenants = shared.stores.tenants.store.state();
    let mut reserved = observed.data_store.as_deref().map(Reservation::all).unwrap_or_default();
    for other in &resolved.store.overrides {
        let data_store = shared.stores.data_stores.get(None, &other.store);
        reserved.extend(data_store.as_deref().map(Reservation::all).unwrap_or_default());
    }
    claim::check(resolved, observed.deployment.as_deref(), &Others { tenants: &tenants, reserved: &reserved })
}

/// Whether the names are another tenant's.
pub fn is_taken(shared: &Shared, tenant: &TenantControlPlane, store: &str, identity: &StoreIdentity) -> bool {
    claim::taken(tenant, store, identity, &shared.stores.tenants.store.state()).is_some()
}
