//! The store step: the tenant's names, rights and client certificate on its datastore.

use std::sync::Arc;

use kamaji_apply::EventType;
use kamaji_datastore::Tenant;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{
        self, Moment,
        datastore::{self, StoreAuthority},
        mint,
    },
    resolve::Resolved,
    stored::Stored,
};

use super::{
    Shared,
    error::{Error, Halt},
    observe::Observed,
    secrets,
};
use crate::controller::data_store::pool::Opened;

/// Makes sure that the tenant has its place on the datastore.
///
/// # Errors
/// [`Halt::Waiting`] while the datastore is not usable, [`Halt::Failed`] when a call or a write fails.
pub async fn store(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    algorithm: KeyAlgorithm,
    moment: &Moment,
) -> Result<Stored, Halt> {
    let config = config(shared, resolved, observed).await?;
    let opened = shared.pool.get(&resolved.store.name);
    let certificate = match &opened {
        Some(opened) => certificate(shared, resolved, observed, opened, algorithm, moment).await?,
        // A tenant that has its certificate goes on while its DataStore is being read.
        None => observed.secrets.get(&TenantSecret::DatastoreCertificate).cloned().ok_or_else(|| not_ready(resolved))?,
    };
    shared.keyring.keep(&resolved.uid, TenantSecret::DatastoreCertificate, &certificate);
    if let Some(opened) = &opened {
        grant(shared, resolved, opened).await?;
    } else if !shared.granted.was(&resolved.uid) && observed.deployment.is_none() {
        return Err(not_ready(resolved));
    }
    Ok(Stored {
        schema: resolved.store.identity.schema.clone(),
        user: resolved.store.identity.user.clone(),
        config_checksum: issuance::digest(&config).hash,
        certificate_checksum: issuance::digest(&certificate).hash,
    })
}

fn not_ready(resolved: &Resolved) -> Halt {
    Halt::watch(
        "DataStoreNotReady",
        format!("The DataStore {} is not ready; its conditions say why.", resolved.store.name),
    )
}

async fn config(shared: &Shared, resolved: &Resolved, observed: &Observed) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreConfig;
    let last = shared.keyring.last(&resolved.uid, which);
    let secret = match (observed.secrets.get(&which), last) {
        (Some(live), Some(last)) if live.data != last.data => {
            let moment = shared.moment();
            let data = last.data.clone().unwrap_or_default();
            secrets::replace(shared, resolved, which, data, live, &moment).await?
        }
        (Some(live), _) => Arc::clone(live),
        (None, Some(last)) => {
            secrets::create(shared, resolved, which, last.data.clone().unwrap_or_default()).await?
        }
        (None, None) => {
            let data = datastore::config_data(&resolved.store, uuid::Uuid::new_v4().to_string());
            secrets::create(shared, resolved, which, data).await?
        }
    };
    secrets::mend_metadata(shared, resolved, which, &secret).await?;
    shared.keyring.keep(&resolved.uid, which, &secret);
    Ok(secret)
}

async fn certificate(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    opened: &Opened,
    algorithm: KeyAlgorithm,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreCertificate;
    let live = observed.secrets.get(&which).cloned();
    let last = shared.keyring.last(&resolved.uid, which).filter(|_| live.is_none());
    let authority = StoreAuthority { certificate: opened.authority.certificate(), pem: &opened.authority_pem };
    let candidate = live.as_deref().or(last.as_deref());
    let user = &resolved.store.identity.user;
    let Some(request) = datastore::missing(user, &authority, algorithm, candidate, moment) else {
        return match (live, last) {
            (Some(live), _) => {
                secrets::mend_metadata(shared, resolved, which, &live).await?;
                Ok(live)
            }
            (None, last) => {
                let data = last.and_then(|last| last.data.clone()).unwrap_or_default();
                secrets::create(shared, resolved, which, data).await
            }
        };
    };
    let made = mint::pair(&request.profile, &opened.authority, request.algorithm)
        .map_err(|source| Error::Mint { what: which.name(&resolved.name), source })?;
    let data = datastore::certificate_data(&opened.authority_pem, made);
    let Some(live) = live else { return secrets::create(shared, resolved, which, data).await };
    let written = secrets::replace(shared, resolved, which, data, &live, moment).await?;
    let note = format!("{}: {}.", which.name(&resolved.name), request.reasons.join("; "));
    shared.context.event(resolved.tenant.as_ref(), EventType::Normal, "CertificateIssued", "Issue", note).await;
    Ok(written)
}

/// Makes sure of user, role and permission. Asked again only when the connection changed or the last look is old: the
/// datastore has no watch on its users.
async fn grant(shared: &Shared, resolved: &Resolved, opened: &Arc<Opened>) -> Result<(), Halt> {
    if shared.granted.is_fresh(&resolved.uid, opened) {
        return Ok(());
    }
    let identity = &resolved.store.identity;
    let tenant = Tenant { schema: identity.schema.clone(), user: identity.user.clone(), password: None };
    let changed = opened
        .store
        .ensure_tenant(&tenant)
        .await
        .map_err(|source| Error::Store { name: resolved.store.name.clone(), source })?;
    if changed.any() {
        tracing::info!(data_store = resolved.store.name, %changed, "the tenant's rights were set up");
    }
    shared.granted.mark(&resolved.uid, opened);
    Ok(())
}
