//! The store step: the tenant's names, rights and client certificate on its datastore.

mod certificate;
mod config;
mod grant;
pub mod overrides;
mod trouble;

use kamaji_api::contract::{keys, labels::component};
use kamaji_datastore::Error as StoreError;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{self, Moment, authorities},
    rejection::Rejection,
    resolve::{Resolved, names},
    status::conditions::Trouble,
    stored::{Stored, was_set_up},
};

use self::{
    certificate::certificate,
    config::config,
    grant::grant,
    trouble::{known_bad, not_ready, unconfirmed},
};
use super::{
    Shared,
    error::{Error, Halt},
    finish::Held,
    observe::Observed,
};
use crate::controller::timed::timed;

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
    let all = overrides::all(observed, resolved);
    let opened = all.first().and_then(|(_, own)| own.as_deref());
    let step = config(shared, resolved, observed, opened, moment);
    let config = timed(context, component::DATASTORE_CONFIG, step).await?;
    let algorithm = resolved.encryption_algorithm.unwrap_or(authorities::DEFAULT_ALGORITHM);
    let step = certificate(shared, resolved, observed, &all, algorithm, moment);
    let certificate = timed(context, component::DATASTORE_CERTIFICATE, step).await?;
    shared.keyring.keep(&resolved.uid, TenantSecret::DatastoreCertificate, &certificate);
    let tenant = config::tenant(resolved, &config);
    let is_news = config::is_news(resolved, observed, &config);
    let mut trouble = None;
    for (name, opened) in &all {
        // What no pod uses yet has to be usable before one does.
        let live = observed.deployment.as_deref();
        let in_use = live.is_some_and(|live| overrides::is_used(live, resolved, name));
        let is_new = !in_use && (live.is_some() || !shared.granted.was(&resolved.uid, name));
        // The connection may be an older one, which still works where the DataStore as it is now does not.
        let found = match opened.as_ref().filter(|_| !(is_new && known_bad(shared, name))) {
            Some(opened) => {
                overrides::hold(shared, resolved, name).await?;
                // On another DataStore its names may be somebody else's, whatever it has on its own.
                let may_adopt = was_set_up(&resolved.tenant) && (in_use || *name == resolved.store.name);
                let step = grant(shared, resolved, held, (name, opened, may_adopt), &tenant);
                granted(shared, in_use && !is_news, name, timed(context, "datastore-setup", step).await)?
            }
            // Pods that run are not told of what cannot be tried.
            None if is_new => return Err(not_ready(name)),
            // While the DataStore's own verdict is good, it is only that it was not opened yet.
            None => known_bad(shared, name).then(|| unconfirmed(name)),
        };
        trouble = trouble.or(found);
    }
    // Pods do not roll onto a login that the datastore does not have yet.
    let name = &resolved.store.name;
    let takes = shared.granted.takes(&resolved.uid, name, &tenant);
    if is_news && !takes {
        return Err(not_ready(name));
    }
    // On NATS it is the DataStore's.
    let user = String::from_utf8_lossy(issuance::value(&config, keys::DB_USER)).into_owned();
    let stored = Stored {
        schema: resolved.store.identity.schema.clone(),
        user,
        set_up: takes,
        config_checksum: issuance::digest(&config).hash,
        certificate_checksum: issuance::digest(&certificate).hash,
    };
    Ok(Found { stored, trouble })
}

/// A name that the datastore's driver does not take is a fault of the specification.
fn refused(source: &StoreError) -> Option<Rejection> {
    let StoreError::InvalidName { field, .. } = source else { return None };
    let field = if *field == "schema" { names::SCHEMA } else { names::USER };
    Some(Rejection::new("InvalidSpec", field, source.to_string()))
}

/// What a look at the tenant's rights on a datastore came to. It `can_wait` where pods run with them all the same.
fn granted(shared: &Shared, can_wait: bool, name: &str, ended: Result<(), Halt>) -> Result<Option<Trouble>, Halt> {
    match ended {
        // It says so itself as long as it does not answer.
        Ok(()) => Ok(known_bad(shared, name).then(|| unconfirmed(name))),
        Err(Halt::Failed(Error::Store { source, name })) => match refused(&source) {
            Some(rejection) => Err(rejection.into()),
            None if can_wait => {
                tracing::warn!(error = %source, "the tenant's rights on its datastore could not be looked at");
                // It finds out at once what this tenant has found out, and tells the others.
                shared.doubt(&name, &source);
                let failed = || Trouble::new("DataStoreFailed", format!("the DataStore {name}: {source}"));
                Ok(Some(if source.is_outage() { unconfirmed(&name) } else { failed() }))
            }
            None => Err(Error::Store { source, name }.into()),
        },
        Err(halt) => Err(halt),
    }
}
