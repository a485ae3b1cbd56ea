//! What the tenant's pods are told of its datastore.

use std::sync::Arc;

use kamaji_api::contract::{annotations, keys};
use kamaji_apply::EventType;
use kamaji_datastore::Tenant;
use kamaji_plan::{
    control_plane::names::TenantSecret,
    issuance::{
        self, Moment,
        store_config::{self, Login, Wanted},
    },
    resolve::Resolved,
};

use super::{
    super::{Shared, error::Halt, observe::Observed, secrets},
    trouble::not_ready,
};
use crate::controller::pool::Opened;

/// Makes sure of the Secret. `opened` is the datastore, when it can be used.
///
/// # Errors
/// [`Halt::Waiting`] while it cannot be told, [`Halt::Failed`] when a write fails.
pub async fn config(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    opened: Option<&Opened>,
    moment: &Moment,
) -> Result<secrets::Good, Halt> {
    let which = TenantSecret::DatastoreConfig;
    let live = observed.secrets.get(&which);
    let last = shared.keyring.last(&resolved.uid, which);
    let login = opened.and_then(|opened| opened.connection.basic_auth.as_ref());
    let login = login.map(|login| Login { user: &login.username, password: login.password.expose() });
    let fresh = || uuid::Uuid::new_v4().to_string();
    let mut store = resolved.store.clone();
    if opened.is_none() {
        // Running pods keep the endpoint that was found to answer: what is written down now may not.
        let known = live.map(|live| String::from_utf8_lossy(issuance::value(live, keys::DB_CONNECTION_STRING)));
        store.endpoints.splice(0..0, known.filter(|known| !known.is_empty()).map(Into::into)).for_each(drop);
    }
    let wanted = store_config::wanted(&store, live.map(Arc::as_ref), last.as_deref(), login, fresh);
    let secret = match (wanted, live) {
        (Wanted::AsItIs, Some(live)) => Arc::clone(live),
        (Wanted::AsItIs | Wanted::Unknown, _) => return Err(not_ready(&resolved.store.name)),
        (Wanted::Data(data), None) => secrets::create(shared, resolved, which, data).await?,
        (Wanted::Data(data), Some(live)) => {
            if observed.deployment.is_some() && resolved.store.kine.is_some() {
                let note =
                    format!("{}: the login or the endpoint is another one; the pods roll.", which.name(&resolved.name));
                let tenant = resolved.tenant.as_ref();
                shared.context.event(tenant, EventType::Normal, "DataStoreConfigChanged", "Store", note).await;
            }
            secrets::replace(shared, resolved, which, data, live, moment).await?
        }
    };
    let secret = secrets::mend_metadata(shared, resolved, which, secret).await?;
    let secret = secrets::hold(shared, secret).await?;
    shared.keyring.keep(&resolved.uid, which, &secret);
    Ok(secret)
}

/// Whether the pods that run were told something else. On etcd they log in with a certificate alone.
pub fn is_news(resolved: &Resolved, observed: &Observed, config: &secrets::Good) -> bool {
    let template = observed.deployment.as_ref().and_then(|live| live.spec.as_ref()?.template.metadata.as_ref());
    let told = template.and_then(|metadata| metadata.annotations.as_ref()?.get(annotations::STORAGE_CONFIG));
    resolved.store.kine.is_some() && told.is_some_and(|told| *told != issuance::digest(config).hash)
}

/// The tenant as its datastore knows it.
pub fn tenant(resolved: &Resolved, config: &secrets::Good) -> Tenant {
    let password = String::from_utf8(issuance::value(config, keys::DB_PASSWORD).to_vec()).ok();
    Tenant {
        schema: resolved.store.identity.schema.clone(),
        user: resolved.store.identity.user.clone(),
        password: password.filter(|password| !password.is_empty()).map(Into::into),
    }
}
