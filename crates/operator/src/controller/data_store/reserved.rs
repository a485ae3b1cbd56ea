//! Erases what tenants left that were deleted by force, and then frees their names.

use std::collections::BTreeMap;

use kamaji_api::{DataStore, contract::annotations::FORMER_UID};
use kamaji_apply::EventType;
use kamaji_datastore::{Error, Owner};
use kamaji_plan::{claim, reservation::Reservation};
use kube::ResourceExt;

use super::Shared;
use crate::controller::{
    by_hand,
    pool::{Erased, place},
};

/// Goes through the names that are reserved on a DataStore that answers. What fails is tried again by the next pass.
///
/// # Errors
/// When a name cannot be freed.
pub async fn free(data_store: &DataStore, shared: &Shared) -> Result<(), kamaji_apply::Error> {
    let name = data_store.name_any();
    let Some(opened) = shared.pool.get(&name) else { return Ok(()) };
    for left in Reservation::all(data_store) {
        let (schema, user) = (&left.identity.schema, &left.identity.user);
        // With what the watch has yet to bring: what is erased by mistake is lost.
        let tenants = shared.stores.tenants.all();
        if let Some(successor) = claim::successor(&left, &tenants) {
            release(data_store, shared, &left).await?;
            let note = format!(
                "The names that {successor} had left are not reserved any more, and nothing was erased: the tenant was \
                 restored, and says by the annotation {FORMER_UID} that the schema {schema:?} and the user {user:?} are its \
                 own."
            );
            shared.context.event(data_store, EventType::Normal, "ReservedNamesReturned", "Keep", note).await;
            continue;
        }
        if let Some(holder) = claim::holder(&name, &left, &tenants) {
            tracing::warn!(schema, user, holder, "reserved names are in use; nothing is erased");
            continue;
        }
        match opened.erase(&owner(&left), &left.identity, left.set_up).await {
            Ok(Erased::Own(leftovers)) if leftovers.is_empty() => {
                release(data_store, shared, &left).await?;
                let note = format!(
                    "The keys of the schema {schema:?} and the user {user:?} were erased, which {} had left; the names are \
                     free again.",
                    left.tenant
                );
                shared.context.event(data_store, EventType::Normal, "ReservedNamesFreed", "Erase", note).await;
            }
            // Also of one that was set up: nobody is left who could say otherwise, and it would be refused for ever.
            Ok(Erased::Foreign(whose)) | Err(Error::Conflict { detail: whose }) => {
                release(data_store, shared, &left).await?;
                tracing::warn!(schema, user, whose, "what is under reserved names is somebody else's and stays");
                let removal = kamaji_datastore::removal(opened.connection.driver, &place(&left.identity));
                let note = by_hand::kept(&by_hand::given_up(&left.tenant), &removal, &whose);
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

/// The tenant that left something, as the datastore knows it. Its name is needed beside a former UID alone; with it a
/// refusal says what the tenant could do, and it is gone.
fn owner(left: &Reservation) -> Owner {
    let name = left.former.as_ref().map(|_| left.tenant.clone());
    Owner { uid: left.uid.clone(), name, former: left.former.clone() }
}

/// Gives up a reservation.
async fn release(data_store: &DataStore, shared: &Shared, left: &Reservation) -> Result<(), kamaji_apply::Error> {
    let freed = BTreeMap::from([(left.key(), None)]);
    let written = shared.context.applier.annotate(data_store, freed).await?;
    shared.stores.data_stores.recent.wrote(&written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use kamaji_api::TenantControlPlane;
    use kamaji_plan::resolve::StoreIdentity;

    use super::*;

    #[test]
    fn what_is_recorded_for_the_former_uid_is_asked_for_under_the_tenants_name() {
        let names = StoreIdentity { schema: "s".to_owned(), user: "u".to_owned() };
        let left = Reservation {
            uid: "new".to_owned(),
            tenant: "ns/one".to_owned(),
            former: Some("old".to_owned()),
            ..Reservation::of(&TenantControlPlane::default(), names)
        };
        let wanted = Owner { uid: "new".to_owned(), name: Some("ns/one".to_owned()), former: Some("old".to_owned()) };
        assert_eq!(owner(&left), wanted);
        assert_eq!(owner(&Reservation { former: None, ..left }), Owner::new("new"));
    }
}
