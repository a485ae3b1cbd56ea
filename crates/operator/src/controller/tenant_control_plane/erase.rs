//! Takes back what a tenant has on one datastore.

use kamaji_api::TenantControlPlane;
use kamaji_plan::{resolve::StoreIdentity, stored::was_set_up};
use kube::ResourceExt;

use super::{
    Shared,
    error::{Error, Halt},
    force,
};

/// Takes back what the tenant has on a datastore.
///
/// # Errors
/// [`Halt::Waiting`] while the datastore is away or something is left, [`Halt::Failed`] when a call fails.
pub async fn erase(
    shared: &Shared,
    tenant: &TenantControlPlane,
    name: &str,
    identity: &StoreIdentity,
) -> Result<(), Halt> {
    let opened = shared.pool.get(name).ok_or_else(|| no_store(shared, tenant, name))?;
    let owner = tenant.uid().unwrap_or_default();
    let leftovers = opened.erase(&owner, identity, was_set_up(tenant)).await.map_err(|source| {
        shared.doubt(name, &source);
        Error::Erase { name: name.to_owned(), source: Box::new(source), way_out: force::way_out(tenant) }
    })?;
    if !leftovers.is_empty() {
        return Err(Halt::poll("Erasing", format!("The DataStore {name} still holds {leftovers} of the tenant.")));
    }
    Ok(())
}

fn no_store(shared: &Shared, tenant: &TenantControlPlane, name: &str) -> Halt {
    let lost = shared.stores.data_stores.get(None, name).is_none();
    let what =
        if lost { "does not exist; create it again" } else { "is not ready; deletion goes on by itself when it is" };
    let way_out = force::way_out(tenant);
    let message = format!("The tenant's keys cannot be erased because the DataStore {name} {what}; {way_out}.");
    Halt::watch("DataStoreNotReady", message)
}
