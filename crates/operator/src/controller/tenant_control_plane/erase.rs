//! Takes back what a tenant has on one datastore.

use kamaji_api::TenantControlPlane;
use kamaji_datastore::{Error as StoreError, Tenant};
use kamaji_plan::resolve::StoreIdentity;
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
    let place = Tenant { schema: identity.schema.clone(), user: identity.user.clone(), password: None };
    let store = opened.store.for_owner(&tenant.uid().unwrap_or_default());
    let store = if was_set_up(tenant) { store.taking_over() } else { store };
    let erased = async {
        store.revoke(&place).await?;
        store.erase(&place).await?;
        store.recount(&place).await
    };
    let leftovers = match erased.await {
        Ok(leftovers) => leftovers,
        // A name that the datastore refuses to a tenant which never had its place there: nothing under it is the tenant's.
        Err(StoreError::InvalidName { .. } | StoreError::Conflict { .. }) if !was_set_up(tenant) => return Ok(()),
        Err(source) => {
            shared.doubt(name);
            let (name, source) = (name.to_owned(), Box::new(source));
            return Err(Error::Erase { name, source, way_out: force::way_out(tenant) }.into());
        }
    };
    if !leftovers.is_empty() {
        return Err(Halt::poll("Erasing", format!("The DataStore {name} still holds {leftovers} of the tenant.")));
    }
    Ok(())
}

/// Whether the tenant had its place on its datastore: the status says so from the first pass on that found it complete.
pub fn was_set_up(tenant: &TenantControlPlane) -> bool {
    tenant.status.as_ref().is_some_and(|status| status.storage.setup.schema.is_some())
}

fn no_store(shared: &Shared, tenant: &TenantControlPlane, name: &str) -> Halt {
    let lost = shared.stores.data_stores.get(None, name).is_none();
    let what =
        if lost { "does not exist; create it again" } else { "is not ready; deletion goes on by itself when it is" };
    let way_out = force::way_out(tenant);
    let message = format!("The tenant's keys cannot be erased because the DataStore {name} {what}; {way_out}.");
    Halt::watch("DataStoreNotReady", message)
}
