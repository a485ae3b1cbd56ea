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
use crate::controller::{
    by_hand,
    pool::{Erased, place},
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
    let mut owner = former::owner(shared, tenant);
    if owner.former.is_none() && !was_set_up(tenant) {
        // With its name a refusal says how the tenant could have what is not its own: it goes, and has no use for that.
        owner.name = None;
    }
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
            let removal = kamaji_datastore::removal(opened.connection.driver, &place(identity));
            left_alone(shared, tenant, name, &whose, &removal).await;
            Ok(())
        }
    }
}

/// Tells what stays because it is not the tenant's as far as the datastore knows, in the last moment that there is
/// somebody to tell.
async fn left_alone(shared: &Shared, tenant: &TenantControlPlane, name: &str, whose: &str, removal: &str) {
    let note = by_hand::kept(&by_hand::stays(name), removal, whose);
    let uid = tenant.uid().unwrap_or_default();
    if shared.told.is_news(&uid, &note) {
        tracing::warn!(data_store = name, whose, removal, "what has the tenant's names is not its own and stays");
        if shared.context.event(tenant, EventType::Warning, "ForeignDataKept", "Delete", note.clone()).await {
            shared.told.mark(&uid, note);
        }
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
