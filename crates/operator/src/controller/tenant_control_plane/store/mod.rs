//! The store step: the tenant's names, rights and client certificate on its datastore.

use std::sync::Arc;

use kamaji_api::{
    TenantControlPlane,
    contract::{keys, labels::component},
};
use kamaji_apply::EventType;
use kamaji_datastore::Tenant;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{
        self, Moment, authorities,
        datastore::{self, StoreAuthority},
        mint,
    },
    resolve::Resolved,
    status::conditions::Trouble,
    stored::Stored,
};
use kube::Api;

use super::{
    Shared,
    error::{Error, Halt},
    finish::Held,
    observe::Observed,
    secrets,
};
use crate::controller::{data_store::pool::Opened, timed::timed};

/// What the step found.
pub struct Found {
    /// The tenant's place on the datastore.
    pub stored: Stored,
    /// What is wrong with the datastore and does not keep a running tenant from being looked after.
    pub trouble: Option<Trouble>,
}

/// Makes sure that the tenant has its place on the datastore.
///
/// A tenant whose pods were made has everything that it needs there. When its datastore does not answer, the rest of
/// it is looked after all the same, and the trouble is reported.
///
/// # Errors
/// [`Halt::Waiting`] while the datastore of a new tenant is not usable, [`Halt::Failed`] when a call or a write fails.
pub async fn store(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    held: Held,
    moment: &Moment,
) -> Result<Found, Halt> {
    let context = &shared.context;
    let config = timed(context, component::DATASTORE_CONFIG, config(shared, resolved, observed, moment)).await?;
    let opened = shared.pool.get(&resolved.store.name);
    let algorithm = resolved.encryption_algorithm.unwrap_or(authorities::DEFAULT_ALGORITHM);
    let certificate = match &opened {
        Some(opened) => {
            let step = certificate(shared, resolved, observed, opened, algorithm, moment);
            timed(context, component::DATASTORE_CERTIFICATE, step).await?
        }
        None => known_certificate(shared, resolved, observed, moment).await?,
    };
    shared.keyring.keep(&resolved.uid, TenantSecret::DatastoreCertificate, &certificate);
    let runs = observed.deployment.is_some();
    let trouble = match &opened {
        Some(opened) => match timed(context, "datastore-setup", grant(shared, resolved, held, opened)).await {
            // It says so itself as long as it does not answer.
            Ok(()) => known_bad(observed).then(|| unconfirmed(resolved)),
            Err(Halt::Failed(Error::Store { source, name })) if runs => {
                tracing::warn!(error = %source, "the tenant's rights on its datastore could not be looked at");
                // It finds out at once what this tenant has found out, and tells the others.
                shared.doubt(&name);
                Some(unconfirmed(resolved))
            }
            Err(halt) => return Err(halt),
        },
        None if !runs && !shared.granted.was(&resolved.uid) => return Err(not_ready(resolved)),
        // While the DataStore's own verdict is good, it is only that it was not opened yet.
        None => known_bad(observed).then(|| unconfirmed(resolved)),
    };
    let stored = Stored {
        schema: resolved.store.identity.schema.clone(),
        user: resolved.store.identity.user.clone(),
        config_checksum: issuance::digest(&config).hash,
        certificate_checksum: issuance::digest(&certificate).hash,
    };
    Ok(Found { stored, trouble })
}

fn known_bad(observed: &Observed) -> bool {
    observed.data_store.as_ref().and_then(|data_store| data_store.status.as_ref()).is_some_and(|status| !status.ready)
}

/// The sentence does not change while the cause stays, whatever the datastore answers: it is written to the status.
fn unconfirmed(resolved: &Resolved) -> Trouble {
    let name = &resolved.store.name;
    let message = format!(
        "The DataStore {name} does not answer or cannot be used; its conditions say why. It is tried again by itself."
    );
    Trouble::new("DataStoreNotReady", message)
}

fn not_ready(resolved: &Resolved) -> Halt {
    Halt::watch(
        "DataStoreNotReady",
        format!("The DataStore {} is not ready; its conditions say why.", resolved.store.name),
    )
}

async fn config(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreConfig;
    let live = observed.secrets.get(&which);
    let right =
        |config: &secrets::Good| datastore::recorded_identity(config).as_ref() == Some(&resolved.store.identity);
    let secret = match (secrets::lost(shared, &resolved.uid, which, live).filter(right), live) {
        (Some(last), live) => secrets::restore(shared, resolved, which, &last, live, moment).await?,
        (None, Some(live)) if right(live) => Arc::clone(live),
        (None, live) => {
            let password = live.map(|live| issuance::value(live, keys::DB_PASSWORD)).unwrap_or_default();
            let password = String::from_utf8(password.to_vec()).ok().filter(|password| !password.is_empty());
            let password = password.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            let data = datastore::config_data(&resolved.store, password);
            match live {
                None => secrets::create(shared, resolved, which, data).await?,
                Some(live) => secrets::replace(shared, resolved, which, data, live, moment).await?,
            }
        }
    };
    let secret = secrets::mend_metadata(shared, resolved, which, secret).await?;
    let secret = secrets::hold(shared, secret).await?;
    shared.keyring.keep(&resolved.uid, which, &secret);
    Ok(secret)
}

/// The certificate that is there, while nobody can sign another.
async fn known_certificate(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreCertificate;
    let live = observed.secrets.get(&which);
    match (secrets::lost(shared, &resolved.uid, which, live), live) {
        (Some(last), live) => secrets::restore(shared, resolved, which, &last, live, moment).await,
        (None, Some(live)) => secrets::mend_metadata(shared, resolved, which, Arc::clone(live)).await,
        (None, None) => Err(not_ready(resolved)),
    }
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
    let live = observed.secrets.get(&which);
    let last = secrets::lost(shared, &resolved.uid, which, live);
    let authority = StoreAuthority { certificate: opened.authority.certificate(), pem: &opened.authority_pem };
    let candidate = last.as_ref().or(live).map(Arc::as_ref);
    let user = &resolved.store.identity.user;
    let Some(request) = datastore::missing(user, &authority, algorithm, candidate, moment) else {
        return known_certificate(shared, resolved, observed, moment).await;
    };
    let name = which.name(&resolved.name);
    let made = mint::pair(&request.profile, &opened.authority, request.algorithm)
        .map_err(|source| Error::Mint { what: name.clone(), source })?;
    let data = datastore::certificate_data(&opened.authority_pem, made);
    // Told before it is done: see the issue step.
    if observed.deployment.is_some() || live.is_some() {
        let note = format!("{name}: {}.", request.reasons.join("; "));
        shared.context.event(resolved.tenant.as_ref(), EventType::Normal, "CertificateIssued", "Issue", note).await;
    }
    shared.keyring.drop_secret(&resolved.uid, which);
    match live {
        None => secrets::create(shared, resolved, which, data).await,
        Some(live) => secrets::replace(shared, resolved, which, data, live, moment).await,
    }
}

/// Makes sure of user, role and permission. Asked again only when the connection changed or the last look is old: the
/// datastore has no watch on its users.
async fn grant(shared: &Shared, resolved: &Resolved, held: Held, opened: &Arc<Opened>) -> Result<(), Halt> {
    if shared.granted.is_fresh(&resolved.uid, opened) {
        return Ok(());
    }
    let identity = &resolved.store.identity;
    let tenant = Tenant { schema: identity.schema.clone(), user: identity.user.clone(), password: None };
    let failed = |source| Error::Store { name: resolved.store.name.clone(), source };
    if held == Held::Now || !opened.store.is_set_up(&tenant).await.map_err(failed)? {
        if held == Held::Before {
            still_there(shared, resolved).await?;
        }
        let changed = opened.store.ensure_tenant(&tenant).await.map_err(failed)?;
        tracing::info!(data_store = resolved.store.name, %changed, "the tenant's rights were set up");
    }
    shared.granted.mark(&resolved.uid, opened);
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
