//! What the tenant's pods show its datastore.
//!
//! On etcd a client certificate of the tenant's own, signed by the DataStore's authority. kine is given what the
//! DataStore has.

use std::sync::Arc;

use k8s_openapi::ByteString;
use kamaji_api::contract::keys;
use kamaji_apply::EventType;
use kamaji_datastore::Tls;
use kamaji_pki::{Authority, KeyAlgorithm, chain};
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{
        Data, Moment,
        datastore::{self, StoreAuthority},
    },
    resolve::Resolved,
};

use super::{
    super::{
        Shared,
        error::{Error, Halt},
        observe::Observed,
        secrets,
    },
    overrides::Named,
    trouble::not_ready,
};
use crate::controller::pool::Opened;

/// Makes sure of the Secret. `stores` is the tenant's own datastore and those of its overrides.
///
/// # Errors
/// [`Halt::Waiting`] while it cannot be used and there is no certificate yet, [`Halt::Failed`] when a write fails.
pub async fn certificate(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    stores: &[Named],
    algorithm: KeyAlgorithm,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    // What is empty can be told without asking, and a tenant of the Go operator has it where no watch finds it.
    if resolved.store.kine.as_ref().is_some_and(|kine| kine.tls.is_none()) {
        return copied(shared, resolved, observed, None, moment).await;
    }
    // One for some of them would be refused by the rest.
    let opened: Option<Vec<&Opened>> = stores.iter().map(|(_, opened)| opened.as_deref()).collect();
    let opened = opened.unwrap_or_default();
    let Some((own, others)) = opened.split_first() else { return known(shared, resolved, observed, moment).await };
    match &own.authority {
        Some(authority) => {
            let others: Vec<_> = others.iter().filter_map(|other| other.authority.as_ref()).collect();
            signed(shared, resolved, observed, (authority, &others), algorithm, moment).await
        }
        None => copied(shared, resolved, observed, own.connection.tls.as_ref(), moment).await,
    }
}

/// A copy of what the DataStore has; empty in clear text.
async fn copied(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    tls: Option<&Tls>,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreCertificate;
    let live = observed.secrets.get(&which);
    let mut data = Data::new();
    if let Some(tls) = tls {
        data.insert(keys::CA_CERT.to_owned(), ByteString(tls.ca.clone()));
        if let Some((certificate, key)) = &tls.client {
            data.insert(keys::DATASTORE_CERT.to_owned(), ByteString(certificate.clone()));
            data.insert(keys::DATASTORE_KEY.to_owned(), ByteString(key.clone()));
        }
    }
    match live {
        Some(live) if live.data.clone().unwrap_or_default() == data => {
            secrets::mend_metadata(shared, resolved, which, Arc::clone(live)).await
        }
        Some(live) => {
            if observed.deployment.is_some() {
                let note = format!("{}: the DataStore {} has others.", which.name(&resolved.name), resolved.store.name);
                shared
                    .context
                    .event(resolved.tenant.as_ref(), EventType::Normal, "CertificateIssued", "Issue", note)
                    .await;
            }
            secrets::replace(shared, resolved, which, data, live, moment).await
        }
        None => secrets::create(shared, resolved, which, data).await,
    }
}

/// The certificate that is there, while nobody can sign another.
async fn known(
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
        (None, None) => Err(not_ready(&resolved.store.name)),
    }
}

async fn signed(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    (authority, others): (&Authority, &[&Authority]),
    algorithm: KeyAlgorithm,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreCertificate;
    let live = observed.secrets.get(&which);
    let last = secrets::lost(shared, &resolved.uid, which, live);
    let candidate = last.as_ref().or(live).map(Arc::as_ref);
    let name = which.name(&resolved.name);
    let failed = |source| Error::Mint { what: name.clone(), source };
    let user = &resolved.store.identity.user;
    let signers: Vec<_> = others.iter().map(|other| StoreAuthority::from(*other)).collect();
    let asked = datastore::missing(user, &authority.into(), &signers, algorithm, candidate, moment).map_err(failed)?;
    let Some(request) = asked else { return known(shared, resolved, observed, moment).await };
    let made = chain::issue(&request.profile, request.algorithm, authority, others).map_err(failed)?;
    let reasons = request.reasons.join("; ");
    let data = datastore::certificate_data(request, made);
    // Told before it is done: see the issue step.
    if observed.deployment.is_some() || live.is_some() {
        let note = format!("{name}: {reasons}.");
        shared.context.event(resolved.tenant.as_ref(), EventType::Normal, "CertificateIssued", "Issue", note).await;
    }
    shared.keyring.drop_secret(&resolved.uid, which);
    match live {
        None => secrets::create(shared, resolved, which, data).await,
        Some(live) => secrets::replace(shared, resolved, which, data, live, moment).await,
    }
}
