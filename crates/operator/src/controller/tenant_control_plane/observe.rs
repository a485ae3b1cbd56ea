//! What a pass reads before it decides: the tenant's objects, from the shared stores.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_plan::{
    component::kine::Tls,
    control_plane::names::{self, TenantSecret},
    internal_ca as plan_ca,
    issuance::datastore::recorded_identity,
    resolve::{self, KnownGood, Resolved, StoreIdentity},
};
use kube::{Api, ResourceExt};

use super::{
    Shared,
    error::{Error, Halt},
    internal_ca,
    namesake::not_of_a_namesake,
    secrets,
};
use crate::controller::pool::Opened;

/// A tenant's objects as they are now.
pub struct Observed {
    /// The DataStore that was chosen, once it is.
    pub data_store: Option<Arc<DataStore>>,
    /// Those of its DataStores that are open, by name. One look for a whole pass: its steps go by the same connection.
    pub opened: BTreeMap<String, Arc<Opened>>,
    /// Its Service.
    pub service: Option<Arc<Service>>,
    /// Its Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// Its ConfigMaps, by name.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// The owner's ConfigMap with certificate authorities, if one is asked for and there.
    pub internal_ca: Option<ConfigMap>,
    /// The copies of it, as far as they are or were there.
    pub internal_ca_copies: Vec<Arc<ConfigMap>>,
    /// Its Secrets that exist and are not being deleted.
    pub secrets: BTreeMap<TenantSecret, Arc<Secret>>,
    /// Its Secrets that are being deleted and wait for a finalizer.
    pub going: Vec<Arc<Secret>>,
    identity: Option<StoreIdentity>,
}

/// Reads the stores; only what seems to be missing is asked for.
///
/// # Errors
/// When the API server does not answer.
pub async fn observe(shared: &Shared, tenant: &TenantControlPlane) -> Result<Observed, Halt> {
    let name = tenant.name_any();
    let namespace = tenant.namespace().unwrap_or_default();
    let within = Some(namespace.as_str());
    let stores = &shared.stores;
    let mut kept = BTreeMap::new();
    let mut going = Vec::new();
    for which in TenantSecret::ALL {
        let Some(secret) = stores.secrets.get(within, &which.name(&name)) else { continue };
        not_of_a_namesake(tenant, secret.as_ref())?;
        if secret.metadata.deletion_timestamp.is_some() {
            // Before it is let go: an operator that has just started knows it from nowhere else.
            shared.keyring.rescue(&tenant.uid().unwrap_or_default(), which, &secret);
            going.push(secret);
        } else {
            kept.insert(which, secrets::own(which, secret));
        }
    }
    let mut config_maps = BTreeMap::new();
    for name in [names::kubeadm_config(&name), names::egress_selector(&name)] {
        let Some(config_map) = stores.config_maps.get(within, &name) else { continue };
        not_of_a_namesake(tenant, config_map.as_ref())?;
        config_maps.insert(name, config_map);
    }
    let service = stores.services.get(within, &name);
    service.as_deref().map_or(Ok(()), |service| not_of_a_namesake(tenant, service))?;
    let identity = kept.get(&TenantSecret::DatastoreConfig).and_then(|config| recorded_identity(config));
    let new = kept.is_empty() && going.is_empty();
    let deployment = if new { None } else { deployment(shared, tenant).await? };
    for copy in internal_ca::copies(shared, tenant, deployment.as_deref()) {
        not_of_a_namesake(tenant, copy.as_ref())?;
        config_maps.insert(copy.name_any(), copy);
    }
    let mounted = deployment.as_deref().and_then(plan_ca::mounted);
    Ok(Observed {
        internal_ca: internal_ca::asked(shared, tenant).await?,
        internal_ca_copies: shared.copies.known(tenant, mounted, config_maps.values()),
        data_store: None,
        opened: BTreeMap::new(),
        service,
        deployment: deployment.map(|live| shared.revisions.remembered(&tenant.uid().unwrap_or_default(), live)),
        config_maps,
        secrets: kept,
        going,
        identity,
    })
}

/// The tenant's Deployment. Looked for past the watch store, because a label that was taken off hides it, and it alone
/// says with which template and which issuer the pods run.
///
/// # Errors
/// When the API server does not answer.
pub async fn deployment(shared: &Shared, tenant: &TenantControlPlane) -> Result<Option<Arc<Deployment>>, Halt> {
    let (name, namespace) = (tenant.name_any(), tenant.namespace().unwrap_or_default());
    let known = shared.stores.deployments.get(Some(&namespace), &name);
    let found = if known.is_some() {
        known
    } else {
        let api: Api<Deployment> = Api::namespaced(shared.context.process.client.clone(), &namespace);
        let live = api.get_opt(&name).await;
        live.map_err(|source| Error::Read { what: format!("Deployment {name}"), source: Box::new(source) })?
            .map(Arc::new)
    };
    found.as_deref().map_or(Ok(()), |found| not_of_a_namesake(tenant, found))?;
    Ok(found)
}

impl Observed {
    /// Resolves the specification against what was observed and the DataStore of this name.
    ///
    /// # Errors
    /// The rejection, as a sentence.
    pub fn resolve(
        &mut self,
        shared: &Shared,
        tenant: &Arc<TenantControlPlane>,
        data_store: &str,
        now: Timestamp,
    ) -> Result<Resolved, kamaji_plan::rejection::Rejection> {
        let overrides = tenant.spec.data_store_overrides.as_ref().is_some_and(|overrides| !overrides.is_empty());
        let others = if overrides { shared.stores.data_stores.all() } else { Vec::new() };
        self.data_store = shared.stores.data_stores.get(None, data_store);
        let named = tenant.spec.data_store_overrides.iter().flatten().filter_map(|entry| entry.data_store.as_deref());
        let open = |name: &str| Some((name.to_owned(), shared.pool.get(name)?));
        self.opened = [data_store].into_iter().chain(named).filter_map(open).collect();
        let known_good: Vec<KnownGood> = self.opened.iter().map(|(name, opened)| known_good(name, opened)).collect();
        let observed = resolve::Observed {
            data_store: self.data_store.as_deref(),
            chosen: Some(data_store),
            data_stores: &others,
            known_good: &known_good,
            deployment: self.deployment.as_deref(),
            kine_image: Some(&shared.context.process.options.kine_image),
            recorded_identity: self.identity.as_ref(),
            internal_ca: self.internal_ca.as_ref(),
            internal_ca_copies: &self.internal_ca_copies,
            now,
        };
        resolve::resolve(tenant, &observed)
    }

    /// Whether keys of this tenant were in use before: then they must not be made anew.
    pub fn is_recorded(&self, tenant: &TenantControlPlane) -> bool {
        let reported = tenant.status.as_ref().is_some_and(|status| status.certificates.ca.checksum.is_some());
        let signed = self.secrets.keys().any(|which| {
            !TenantSecret::ROOTS.contains(which)
                && !matches!(which, TenantSecret::DatastoreConfig | TenantSecret::DatastoreCertificate)
        });
        reported || signed || self.deployment.is_some()
    }
}

/// The pool keeps a connection until another one was found to work.
fn known_good(name: &str, opened: &Opened) -> KnownGood {
    let tls = opened.connection.tls.as_ref().map(|tls| match tls.client {
        Some(_) => Tls::ClientCertificate,
        None => Tls::Authority,
    });
    KnownGood { name: name.to_owned(), endpoints: opened.connection.endpoints.clone(), tls }
}
