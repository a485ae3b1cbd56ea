//! What a pass reads before it decides: the tenant's objects, from the shared stores.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_plan::{
    control_plane::names::{self, TenantSecret},
    issuance::datastore::recorded_identity,
    resolve::{self, Resolved, StoreIdentity},
};
use kube::ResourceExt;

use super::Shared;

/// A tenant's objects as they are now.
pub struct Observed {
    /// The DataStore that the tenant asks for.
    pub data_store: Option<Arc<DataStore>>,
    /// Its Service.
    pub service: Option<Arc<Service>>,
    /// Its Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// Its ConfigMaps, by name.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// Its Secrets that exist and are not being deleted.
    pub secrets: BTreeMap<TenantSecret, Arc<Secret>>,
    /// Its Secrets that are being deleted and wait for a finalizer.
    pub going: Vec<Arc<Secret>>,
    identity: Option<StoreIdentity>,
}

/// Reads the stores. No call leaves the process.
pub fn observe(shared: &Shared, tenant: &TenantControlPlane) -> Observed {
    let name = tenant.name_any();
    let namespace = tenant.namespace().unwrap_or_default();
    let within = Some(namespace.as_str());
    let stores = &shared.stores;
    let default = shared.context.process.options.default_data_store.clone();
    let store_name = tenant.spec.data_store.clone().filter(|name| !name.is_empty()).or(default);
    let mut secrets = BTreeMap::new();
    let mut going = Vec::new();
    for which in TenantSecret::ALL {
        let Some(secret) = stores.secrets.get(within, &which.name(&name)) else { continue };
        if secret.metadata.deletion_timestamp.is_some() {
            going.push(secret);
        } else {
            secrets.insert(which, secret);
        }
    }
    let config_maps = [names::kubeadm_config(&name), names::egress_selector(&name)]
        .into_iter()
        .filter_map(|name| stores.config_maps.get(within, &name).map(|config_map| (name, config_map)))
        .collect();
    let identity = secrets.get(&TenantSecret::DatastoreConfig).and_then(|config| recorded_identity(config));
    Observed {
        data_store: store_name.and_then(|name| stores.data_stores.get(None, &name)),
        service: stores.services.get(within, &name),
        deployment: stores.deployments.get(within, &name),
        config_maps,
        secrets,
        going,
        identity,
    }
}

impl Observed {
    /// Resolves the specification against what was observed.
    ///
    /// # Errors
    /// The rejection, as a sentence.
    pub fn resolve(
        &self,
        shared: &Shared,
        tenant: &Arc<TenantControlPlane>,
    ) -> Result<Resolved, kamaji_plan::rejection::Rejection> {
        let observed = resolve::Observed {
            data_store: self.data_store.as_deref(),
            default_data_store: shared.context.process.options.default_data_store.as_deref(),
            deployment: self.deployment.as_deref(),
            recorded_identity: self.identity.as_ref(),
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
