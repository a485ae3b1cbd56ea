//! The tenant's place and login in its datastore.

use std::sync::Arc;

use kamaji_api::{TenantControlPlane, contract::annotations::FORMER_UID};
use kamaji_apply::EventType;
use kamaji_datastore::{Change, Tenant};
use kamaji_plan::resolve::Resolved;
use kube::Api;

use super::super::{
    Shared,
    error::{Error, Halt},
    finish::Held,
    former,
};
use crate::controller::pool::Opened;

/// Makes sure of database, user, role and rights. Asked again only when the connection or the tenant's login changed, or
/// the last look is old: the datastore has no watch on its users. What bears no record is the tenant's only if it
/// `may_adopt` it.
///
/// # Errors
/// When the datastore does not do it, or the tenant is gone.
pub async fn grant(
    shared: &Shared,
    resolved: &Resolved,
    held: Held,
    (name, opened, may_adopt): (&str, &Arc<Opened>, bool),
    tenant: &Tenant,
) -> Result<(), Halt> {
    if shared.granted.is_fresh(&resolved.uid, name, opened, tenant) {
        return Ok(());
    }
    let owner = former::owner(shared, &resolved.tenant);
    let store = opened.on_behalf_of(&owner, may_adopt);
    let failed = |source| Error::Store { name: name.to_owned(), source };
    if held == Held::Now || !store.is_set_up(tenant).await.map_err(failed)? {
        if held == Held::Before {
            still_there(shared, resolved).await?;
        }
        let changed = store.ensure_tenant(tenant).await.map_err(failed)?;
        tracing::info!(data_store = name, %changed, "the tenant's rights were set up");
        if let Some(former) = owner.former.filter(|_| changed.0.contains(&Change::OwnerReplaced)) {
            let Tenant { schema, user, .. } = tenant;
            let note = format!(
                "The schema {schema:?} and the user {user:?} on the DataStore {name} were recorded for the UID {former}, which \
                 this tenant had before, and are recorded for its present one now. The annotation {FORMER_UID} has done what \
                 it was for."
            );
            let tenant = resolved.tenant.as_ref();
            shared.context.event(tenant, EventType::Normal, "FormerDataTakenOver", "Store", note).await;
        }
    }
    shared.granted.mark(&resolved.uid, name, opened, tenant);
    Ok(())
}

/// A watch may show a tenant that is gone, and nobody would take back what is set up for it then.
async fn still_there(shared: &Shared, resolved: &Resolved) -> Result<(), Halt> {
    let api: Api<TenantControlPlane> = Api::namespaced(shared.context.process.client.clone(), &resolved.namespace);
    let live = api.get_metadata_opt(&resolved.name).await.map_err(|source| Error::Read {
        what: format!("TenantControlPlane {}", resolved.name),
        source: Box::new(source),
    })?;
    let lives = live.is_some_and(|live| {
        live.metadata.uid.as_ref() == Some(&resolved.uid) && live.metadata.deletion_timestamp.is_none()
    });
    if lives { Ok(()) } else { Err(Halt::watch("Synchronizing", "The tenant has just been deleted.")) }
}
