//! Erases what tenants left that were deleted by force, and then frees their names.

use std::collections::BTreeMap;

use kamaji_api::DataStore;
use kamaji_apply::EventType;
use kamaji_datastore::Owner;
use kamaji_plan::{claim, reservation::Reservation};
use kube::ResourceExt;

use super::Shared;
use crate::controller::{by_hand, pool::Erased};

/// Goes through the names that are reserved on a DataStore that answers. What fails is tried again by the next pass.
///
/// # Errors
/// When a name cannot be freed.
pub async fn free(data_store: &DataStore, shared: &Shared) -> Result<(), kamaji_apply::Error> {
    let name = data_store.name_any();
    let Some(opened) = shared.pool.get(&name) else { return Ok(()) };
    for left in Reservation::all(data_store) {
        let (schema, user) = (&left.identity.schema, &left.identity.user);
        if let Some(holder) = claim::holder(&name, &left, &shared.stores.tenants.store.state()) {
            tracing::warn!(schema, user, holder, "reserved names are in use; nothing is erased");
            continue;
        }
        let owner = Owner { name: Some(left.tenant.clone()), ..Owner::new(&left.uid) };
        match opened.erase(&owner, &left.identity, left.set_up).await {
            Ok(Erased::Own(leftovers)) if leftovers.is_empty() => {
                release(data_store, shared, &left).await?;
                let note = format!(
                    "The keys of the schema {schema:?} and the user {user:?} were erased, which {} had left; the names are \
                     free again.",
                    left.tenant
                );
                shared.context.event(data_store, EventType::Normal, "ReservedNamesFreed", "Erase", note).await;
            }
            Ok(Erased::Foreign(whose)) => {
                release(data_store, shared, &left).await?;
                tracing::warn!(schema, user, whose, "what is under reserved names is somebody else's and stays");
                let removal = by_hand::removal(opened.connection.driver, &left.identity);
                let note = format!(
                    "The names that {} had left are not reserved any more, and what is kept under the schema {schema:?} and \
                     the user {user:?} stays as it is: {whose}. Whatever of it nobody needs can be removed {removal}.",
                    left.tenant
                );
                shared.context.event(data_store, EventType::Warning, "ForeignDataKept", "Erase", note).await;
            }
            Ok(Erased::Own(leftovers)) => {
                tracing::warn!(schema, user, %leftovers, "reserved names still hold something");
            }
            Err(error) => tracing::warn!(schema, user, %error, "what is kept under reserved names cannot be erased"),
        }
    }
    Ok(())
}

/// Gives up a reservation.
async fn release(data_store: &DataStore, shared: &Shared, left: &Reservation) -> Result<(), kamaji_apply::Error> {
    let freed = BTreeMap::from([(left.key(), None)]);
    let written = shared.context.applier.annotate(data_store, freed).await?;
    shared.stores.data_stores.recent.wrote(&written);
    Ok(())
}
