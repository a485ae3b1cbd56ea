//! How the tenant's Secrets are read and written.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract;
use kamaji_apply::Created;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{self, Data, Moment},
    resolve::Resolved,
};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use super::{
    Shared,
    error::{Error, Halt},
    namesake,
};

/// A Secret that exists and is good, as [`own`] shows it.
pub type Good = Arc<Secret>;

/// The Secret without what others put beside our keys: it is nothing to us, and pods must not roll for it.
pub fn own(which: TenantSecret, secret: Arc<Secret>) -> Arc<Secret> {
    let keys = which.keys();
    let foreign = |key: &String| !keys.contains(&key.as_str());
    if !secret.data.iter().flatten().any(|(key, _)| foreign(key)) {
        return secret;
    }
    let mut own = Secret::clone(&secret);
    own.data.get_or_insert_default().retain(|key, _| !foreign(key));
    Arc::new(own)
}

/// The copy that was found good before, where the live Secret is not it: somebody deleted or edited it by hand.
/// `None` when nothing is to be given back, or when new keys are asked for.
pub fn lost(shared: &Shared, tenant_uid: &str, which: TenantSecret, live: Option<&Good>) -> Option<Good> {
    let last = shared.keyring.last(tenant_uid, which)?;
    let changed = live.is_none_or(|live| live.data != last.data && !issuance::rotation_requested(live));
    changed.then_some(last)
}

/// Gives a Secret the data of `last`, whether it still exists or not.
///
/// # Errors
/// As [`create`] and [`replace`].
pub async fn restore(
    shared: &Shared,
    resolved: &Resolved,
    which: TenantSecret,
    last: &Good,
    live: Option<&Good>,
    moment: &Moment,
) -> Result<Good, Halt> {
    let data = last.data.clone().unwrap_or_default();
    tracing::info!(secret = which.name(&resolved.name), "the Secret was deleted or edited by hand and is restored");
    match live {
        Some(live) => replace(shared, resolved, which, data, live, moment).await,
        None => create(shared, resolved, which, data).await,
    }
}

/// Creates a Secret that is not known to exist. One that exists after all is taken if it holds the same, and read again
/// if not: our watch was behind, or lost sight of it because a label was taken off.
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
            namesake::not_of_a_namesake(&resolved.tenant, &object)?;
            shared.stores.secrets.recent.wrote(&object);
            let existing = own(which, Arc::new(object));
            if existing.data == desired.data {
                return mend_metadata(shared, resolved, which, existing).await;
            }
            Err(Halt::poll("Synchronizing", format!("The Secret {} exists and is read again.", existing.name_any())))
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
    let live = live_version(shared, resolved, &name).await?;
    if live.is_none() || live != existing.metadata.resource_version {
        return Err(Halt::poll("Synchronizing", format!("The Secret {name} has just changed and is read again.")));
    }
    let rotated_at = issuance::rotation_requested(existing).then_some(moment.now);
    let mut desired = issuance::secret(resolved, which, data, rotated_at);
    if rotated_at.is_none() {
        keep_rotation_mark(&mut desired, existing);
    }
    write(shared, which, &desired, existing).await
}

/// Puts labels, owner and checksum of a good Secret right; its data stays.
///
/// # Errors
/// When it cannot be written.
pub async fn mend_metadata(
    shared: &Shared,
    resolved: &Resolved,
    which: TenantSecret,
    secret: Good,
) -> Result<Good, Halt> {
    if issuance::metadata_is_right(resolved, which, &secret) {
        return Ok(secret);
    }
    let mut desired = issuance::secret(resolved, which, secret.data.clone().unwrap_or_default(), None);
    keep_rotation_mark(&mut desired, &secret);
    write(shared, which, &desired, &secret).await
}

/// Puts our finalizer back on the Secret with the datastore configuration, which a deletion of the tenant needs last.
///
/// # Errors
/// When it cannot be written.
pub async fn hold(shared: &Shared, config: Good) -> Result<Good, Halt> {
    let finalizer = contract::finalizers::DATASTORE_SECRET;
    if config.finalizers().iter().any(|present| present == finalizer) {
        return Ok(config);
    }
    let mut finalizers = config.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    let held = shared.context.applier.set_finalizers(config.as_ref(), finalizers).await;
    let held = held.map_err(|source| failed(&config, source))?;
    shared.stores.secrets.recent.wrote(&held);
    Ok(own(TenantSecret::DatastoreConfig, Arc::new(held)))
}

/// Takes our finalizer off a Secret; gives the finalizers of others.
///
/// # Errors
/// When it cannot be written.
pub async fn release(shared: &Shared, secret: &Arc<Secret>) -> Result<Vec<String>, Halt> {
    let ours = contract::finalizers::DATASTORE_SECRET;
    let others: Vec<String> = secret.finalizers().iter().filter(|finalizer| *finalizer != ours).cloned().collect();
    if others.len() == secret.finalizers().len() {
        return Ok(others);
    }
    match shared.context.applier.set_finalizers(secret.as_ref(), others.clone()).await {
        Err(error) if error.code() != Some(404) => Err(failed(secret, error)),
        Err(_) => Ok(Vec::new()),
        Ok(left) => {
            let gone = others.is_empty() && left.metadata.deletion_timestamp.is_some();
            if gone {
                shared.stores.secrets.recent.forget(&ObjectRef::from_obj(&left));
            } else {
                shared.stores.secrets.recent.wrote(&left);
            }
            Ok(others)
        }
    }
}

/// Lets Secrets go that someone deleted, so that they can come back. What somebody else's finalizer holds is waited for.
///
/// # Errors
/// When a finalizer cannot be taken off.
pub async fn let_go(shared: &Shared, going: &[Arc<Secret>]) -> Result<(), Halt> {
    for secret in going {
        let others = release(shared, secret).await?;
        if !others.is_empty() {
            let (name, others) = (secret.name_any(), others.join(", "));
            return Err(Halt::watch(
                "WaitingForDeletion",
                format!(
                    "The Secret {name} is being deleted and comes back when it is gone; the finalizer {others} holds it."
                ),
            ));
        }
    }
    Ok(())
}

async fn live_version(shared: &Shared, resolved: &Resolved, name: &str) -> Result<Option<String>, Halt> {
    let api: Api<Secret> = Api::namespaced(shared.context.process.client.clone(), &resolved.namespace);
    let live = api
        .get_metadata_opt(name)
        .await
        .map_err(|source| Error::Read { what: format!("Secret {name}"), source: Box::new(source) })?;
    Ok(live.and_then(|live| live.metadata.resource_version))
}

async fn write(shared: &Shared, which: TenantSecret, desired: &Secret, existing: &Good) -> Result<Good, Halt> {
    let written = shared.context.applier.apply(desired, Some(existing.as_ref())).await;
    let written = written.map_err(|source| failed(desired, source))?;
    Ok(own(which, Arc::new(shared.stores.secrets.applied(written))))
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
