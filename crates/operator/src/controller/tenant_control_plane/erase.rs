//! Takes back what a tenant has on one datastore.

use kamaji_api::TenantControlPlane;
use kamaji_apply::EventType;
use kamaji_plan::{resolve::StoreIdentity, stored::was_set_up};
use kube::ResourceExt;

use super::{
    Shared,
    error::{Error, Halt},
    force, former,
};
use crate::controller::{by_hand, pool::Erased};

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
    let owner = former::owner(shared, tenant);
    let erased = opened.erase(&owner, identity, was_set_up(tenant)).await.map_err(|source| {
        shared.doubt(name, &source);
        Error::Erase { name: name.to_owned(), source: Box::new(source), way_out: force::way_out(tenant) }
    })?;
    match erased {
        Erased::Own(leftovers) if leftovers.is_empty() => Ok(()),
        Erased::Own(leftovers) => {
            Err(Halt::poll("Erasing", format!("The DataStore {name} still holds {leftovers} of the tenant.")))
        }
        Erased::Foreign(whose) => {
            let removal = by_hand::removal(opened.connection.driver, identity);
            left_alone(shared, tenant, name, identity, &whose, &removal).await;
            Ok(())
        }
    }
}

/// Tells what stays because it is not the tenant's as far as the datastore knows, in the last moment that there is
/// somebody to tell.
async fn left_alone(
    shared: &Shared,
    tenant: &TenantControlPlane,
    name: &str,
    StoreIdentity { schema, user }: &StoreIdentity,
    whose: &str,
    removal: &str,
) {
    let note = format!(
        "The tenant goes, and what the DataStore {name} has under the schema {schema:?} and the user {user:?} stays as it \
         is: {whose}. Whatever of it nobody needs can be removed {removal}."
    );
    if shared.told.is_news(&tenant.uid().unwrap_or_default(), &note) {
        tracing::warn!(
            data_store = name,
            schema,
            user,
            whose,
            removal,
            "what has the tenant's names is not its own and stays"
        );
        shared.context.event(tenant, EventType::Warning, "ForeignDataKept", "Delete", note).await;
    }
}

fn no_store(shared: &Shared, tenant: &TenantControlPlane, name: &str) -> Halt {
    let lost = shared.stores.data_stores.get(None, name).is_none();
    let what =
        if lost { "does not exist; create it again" } else { "is not ready; deletion goes on by itself when it is" };
    let way_out = force::way_out(tenant);
    let message = format!("The tenant's keys cannot be erased because the DataStore {name} {what}; {way_out}.");
    Halt::watch("DataStoreNotReady", message)
}
