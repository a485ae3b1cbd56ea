//! How the tenant's Secrets are written.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract;
use kamaji_apply::Created;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{self, Data, Moment},
    resolve::Resolved,
};
use kube::{Api, ResourceExt};

use super::{
    Shared,
    error::{Error, Halt},
};

/// A Secret that exists and is good.
pub type Good = Arc<Secret>;

/// Creates a Secret that is not known to exist. One that exists after all is taken as it is: our watch was behind.
///
/// # Errors
/// When it cannot be written.
pub async fn create(shared: &Shared, resolved: &Resolved, which: TenantSecret, data: Data) -> Result<Good, Halt> {
    let mut desired = issuance::secret(resolved, which, data, None);
    if which == TenantSecret::DatastoreConfig {
        desired.metadata.finalizers = Some(vec![contract::finalizers::DATASTORE_SECRET.to_owned()]);
    }
    let created = shared.context.applier.create_if_absent(&desired).await.map_err(|source| failed(&desired, source))?;
    match created {
        Created::New(object) => {
            shared.stores.secrets.recent.wrote(&object);
            Ok(Arc::new(object))
        }
        Created::Existing(object) if object.metadata.deletion_timestamp.is_some() => Err(Halt::poll(
            "WaitingForDeletion",
            format!("The Secret {} is being deleted and comes back when it is gone.", object.name_any()),
        )),
        Created::Existing(object) => {
            shared.stores.secrets.recent.wrote(&object);
            Err(Halt::poll("Synchronizing", format!("The Secret {} exists and is read again.", object.name_any())))
        }
    }
}

/// Writes new data to a Secret that exists, unless it changed since it was read.
///
/// # Errors
/// When it cannot be written, or was changed meanwhile.
pub async fn replace(
    shared: &Shared,
    resolved: &Resolved,
    which: TenantSecret,
    data: Data,
    existing: &Good,
    moment: &Moment,
) -> Result<Good, Halt> {
    let name = which.name(&resolved.name);
    let api: Api<Secret> = Api::namespaced(shared.context.process.client.clone(), &resolved.namespace);
    let live = api
        .get_metadata(&name)
        .await
        .map_err(|source| Error::Read { what: format!("Secret {name}"), source: Box::new(source) })?;
    if live.metadata.resource_version != existing.metadata.resource_version {
        return Err(Halt::poll("Synchronizing", format!("The Secret {name} has just changed and is read again.")));
    }
    let rotated_at = issuance::rotation_requested(existing).then_some(moment.now);
    let mut desired = issuance::secret(resolved, which, data, rotated_at);
    if rotated_at.is_none() {
        keep_rotation_mark(&mut desired, existing);
    }
    let applied =
        shared.context.applier.apply(&desired, Some(existing)).await.map_err(|source| failed(&desired, source))?;
    shared.stores.secrets.recent.wrote(&applied.object);
    Ok(Arc::new(applied.object))
}

/// Puts labels, owner and checksum of a good Secret right; its data stays.
///
/// # Errors
/// When it cannot be written.
pub async fn mend_metadata(
    shared: &Shared,
    resolved: &Resolved,
    which: TenantSecret,
    secret: &Good,
) -> Result<(), Halt> {
    if issuance::metadata_is_right(resolved, which, secret) {
        return Ok(());
    }
    let mut desired = issuance::secret(resolved, which, secret.data.clone().unwrap_or_default(), None);
    keep_rotation_mark(&mut desired, secret);
    let applied =
        shared.context.applier.apply(&desired, Some(secret)).await.map_err(|source| failed(&desired, source))?;
    shared.stores.secrets.recent.wrote(&applied.object);
    Ok(())
}

/// Lets Secrets go that someone deleted and that a finalizer of ours holds, so that they can come back.
///
/// # Errors
/// When a finalizer cannot be taken off.
pub async fn release(shared: &Shared, going: &[Arc<Secret>]) -> Result<(), Halt> {
    for secret in going {
        if secret.finalizers().is_empty() {
            continue;
        }
        shared.context.applier.set_finalizers(secret.as_ref(), Vec::new()).await.map_err(|source| failed(secret, source))?;
    }
    Ok(())
}

fn keep_rotation_mark(desired: &mut Secret, live: &Secret) {
    let key = contract::annotations::ROTATE;
    if let Some(mark) = live.annotations().get(key).filter(|mark| !mark.is_empty()) {
        desired.annotations_mut().insert(key.to_owned(), mark.clone());
    }
}

fn failed(secret: &Secret, source: kamaji_apply::Error) -> Halt {
    Error::Write { what: format!("Secret {}", secret.name_any()), source }.into()
}
