//! Which datastore a tenant is on, and under which names.

use std::sync::Arc;

use kamaji_api::{DataStore, Driver, TenantControlPlane};

use super::Observed;
use crate::rejection::Rejection;

/// Schema and user of a tenant on its datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// First part of the tenant's keys on etcd.
    pub schema: String,
    /// User that the tenant's certificate names.
    pub user: String,
}

/// A tenant's datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Name of the DataStore.
    pub name: String,
    /// Its driver's name, as the status reports it.
    pub driver: String,
    /// Its endpoints, `host:port` each.
    pub endpoints: Vec<String>,
    /// Whether the store asks for TLS.
    pub tls: bool,
    /// The tenant's names there.
    pub identity: StoreIdentity,
}

pub(super) fn resolve(tenant: &Arc<TenantControlPlane>, observed: &Observed<'_>) -> Result<Store, Rejection> {
    const FIELD: &str = "spec.dataStore";
    let spec = &tenant.spec;
    if spec.data_store_overrides.as_ref().is_some_and(|overrides| !overrides.is_empty()) {
        return Err(Rejection::new(
            "Unsupported",
            "spec.dataStoreOverrides",
            "a second datastore for some resources is not supported by this release; remove the list",
        ));
    }
    let named = spec.data_store.as_deref().filter(|name| !name.is_empty()).or(observed.default_data_store);
    let Some(named) = named else {
        return Err(Rejection::new(
            "DataStoreNotChosen",
            FIELD,
            "no DataStore is named and the operator has no default; name one, or start the operator with --datastore",
        ));
    };
    let Some(store) = observed.data_store else {
        return Err(Rejection::new(
            "DataStoreNotFound",
            FIELD,
            format!("the DataStore \"{named}\" does not exist; create it or name another"),
        ));
    };
    supported(store, named)?;
    let identity = identity(tenant, observed);
    check_name("spec.dataStoreSchema", &identity.schema)?;
    check_name("spec.dataStoreUsername", &identity.user)?;
    Ok(Store {
        name: named.to_owned(),
        driver: store.spec.driver.as_str().to_owned(),
        endpoints: store.spec.endpoints.clone(),
        tls: store.spec.tls_config.is_some(),
        identity,
    })
}

fn supported(store: &DataStore, named: &str) -> Result<(), Rejection> {
    match &store.spec.driver {
        Driver::Etcd => Ok(()),
        driver => Err(Rejection::new(
            "Unsupported",
            "spec.dataStore",
            format!("the DataStore \"{named}\" has the driver {driver}, which this release cannot serve; use an etcd"),
        )),
    }
}

/// The names are facts once data lives under them. The status reports them, the datastore-config Secret repeats them,
/// and only a tenant without either takes those of its specification or its UID.
fn identity(tenant: &TenantControlPlane, observed: &Observed<'_>) -> StoreIdentity {
    let setup = tenant.status.as_ref().map(|status| &status.storage.setup);
    let uid = tenant.metadata.uid.clone().unwrap_or_default();
    let pick = |reported: Option<&String>, recorded: Option<&String>, specified: Option<&String>| {
        [reported, recorded, specified]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_else(|| uid.clone())
    };
    let recorded = observed.recorded_identity;
    StoreIdentity {
        schema: pick(
            setup.and_then(|setup| setup.schema.as_ref()),
            recorded.map(|identity| &identity.schema),
            tenant.spec.data_store_schema.as_ref(),
        ),
        user: pick(
            setup.and_then(|setup| setup.user.as_ref()),
            recorded.map(|identity| &identity.user),
            tenant.spec.data_store_username.as_ref(),
        ),
    }
}

/// On etcd the name is a path element and a role: a slash or the superuser's name would reach into another tenant.
fn check_name(field: &str, name: &str) -> Result<(), Rejection> {
    let wrong = |message: &str| Err(Rejection::new("InvalidSpec", field, message));
    if name.is_empty() {
        return wrong("the name is empty and the object has no UID yet");
    }
    if name == "root" {
        return wrong("\"root\" is etcd's superuser; choose another name");
    }
    if name.len() > 200 {
        return wrong("the name is longer than 200 bytes; choose a shorter one");
    }
    if name.contains('/') || name.chars().any(char::is_control) {
        return wrong(
            "a name with a slash or a control character could reach another tenant's keys; use letters, \
                      digits, dashes and dots",
        );
    }
    Ok(())
}
