//! Which datastore a tenant is on, and under which names.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;
use kamaji_api::{DataStore, Driver, TenantControlPlane};

use super::{known_good, names, observed::Observed, overrides};
use crate::{
    component::kine::DEFAULT_IMAGE,
    rejection::Rejection,
    resolved::{Kine, Store, StoreIdentity, Tls, identity::default_user},
};

/// `running` is the kine container in a Deployment whose template is not about to change.
pub(super) fn resolve(
    tenant: &Arc<TenantControlPlane>,
    observed: &Observed<'_>,
    running: Option<&Container>,
) -> Result<Store, Rejection> {
    const FIELD: &str = "spec.dataStore";
    let named = observed.chosen.or(tenant.spec.data_store.as_deref()).unwrap_or_default();
    let Some(store) = observed.data_store else {
        return Err(Rejection::new(
            "DataStoreNotFound",
            FIELD,
            format!("the DataStore \"{named}\" does not exist; create it or name another"),
        ));
    };
    let driver = store.spec.driver.clone();
    let known = known_good::own(named, store, observed);
    let kine = match &driver {
        Driver::Etcd => None,
        Driver::MySql | Driver::PostgreSql | Driver::Nats => Some(kine(known.tls, observed, running)),
        Driver::Other(other) => {
            let message = format!("the DataStore \"{named}\" has the driver {other}, which nobody knows; name another");
            return Err(Rejection::new("Unsupported", FIELD, message));
        }
    };
    let identity = identity(tenant, &driver, observed);
    names::check(tenant, store, &identity, observed.recorded_identity)?;
    let is_named = |store: &&Arc<DataStore>, name: &str| store.metadata.name.as_deref() == Some(name);
    let lookup = |name: &str| observed.data_stores.iter().find(|store| is_named(store, name)).map(AsRef::as_ref);
    let mut overrides = overrides::resolve(tenant, store, lookup)?;
    for entry in &mut overrides {
        if entry.store == named {
            entry.endpoints.clone_from(&known.endpoints);
        } else if let Some(endpoints) = known_good::elsewhere(tenant, entry, observed) {
            entry.endpoints = endpoints;
        }
    }
    Ok(Store { name: named.to_owned(), endpoints: known.endpoints, kine, identity, overrides, driver })
}

/// A running tenant keeps its image, because another one rolls its pods.
fn kine(tls: Option<Tls>, observed: &Observed<'_>, running: Option<&Container>) -> Kine {
    let image = running.and_then(|running| running.image.as_deref()).or(observed.kine_image).unwrap_or(DEFAULT_IMAGE);
    Kine { image: image.to_owned(), tls }
}

/// The names are facts once data lives under them. The status reports them, the datastore-config Secret repeats them,
/// and only a tenant without either takes those of its specification or its UID.
fn identity(tenant: &TenantControlPlane, driver: &Driver, observed: &Observed<'_>) -> StoreIdentity {
    let setup = tenant.status.as_ref().map(|status| &status.storage.setup);
    let uid = tenant.metadata.uid.clone().unwrap_or_default();
    let pick = |reported: Option<&String>, recorded: Option<&String>, specified: Option<&String>| {
        [reported, recorded, specified].into_iter().flatten().find(|name| !name.is_empty()).cloned()
    };
    let recorded = observed.recorded_identity;
    let schema = pick(
        setup.and_then(|setup| setup.schema.as_ref()),
        recorded.map(|identity| &identity.schema),
        tenant.spec.data_store_schema.as_ref(),
    );
    let user = pick(
        setup.and_then(|setup| setup.user.as_ref()),
        recorded.map(|identity| &identity.user),
        tenant.spec.data_store_username.as_ref(),
    );
    StoreIdentity { user: user.unwrap_or_else(|| default_user(driver, &uid)), schema: schema.unwrap_or(uid) }
}
