//! The owner's certificate authorities: reads the ConfigMap that the tenant names, and keeps the copies that pods mount.
//!
//! The operator does not own that ConfigMap: it is watched by its name and read by each pass.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::{
    TenantControlPlane,
    contract::labels::{self, component},
};
use kamaji_apply::EventType;
use kamaji_plan::{internal_ca, resolve::Resolved, status::phase};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use super::{
    Shared,
    error::{Error, Halt},
};

/// The last good copy of each tenant, by the tenant's UID. It comes back from here when somebody deletes it while the
/// owner's own ConfigMap is no good.
#[derive(Default)]
pub struct Copies(Mutex<HashMap<String, Arc<ConfigMap>>>);

impl Copies {
    /// The copies in `live`, and the remembered one where that is what pods mount and it is not there as it was.
    pub fn known<'a>(
        &self,
        tenant: &TenantControlPlane,
        mounted: Option<&str>,
        live: impl Iterator<Item = &'a Arc<ConfigMap>>,
    ) -> Vec<Arc<ConfigMap>> {
        let name = tenant.name_any();
        let mut copies: Vec<_> = live.filter(|live| internal_ca::is_genuine(&name, live)).cloned().collect();
        let Some(mounted) = mounted else { return copies };
        let uid = tenant.uid().unwrap_or_default();
        match copies.iter().find(|copy| copy.name_any() == mounted) {
            Some(there) => self.keep(&uid, there),
            None => copies.extend(self.all().get(&uid).filter(|copy| copy.name_any() == mounted).cloned()),
        }
        copies
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.all().remove(tenant_uid);
    }

    fn keep(&self, tenant_uid: &str, copy: &Arc<ConfigMap>) {
        let mut all = self.all();
        if all.get(tenant_uid).is_none_or(|kept| kept.name_any() != copy.name_any()) {
            all.insert(tenant_uid.to_owned(), Arc::clone(copy));
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<ConfigMap>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the ConfigMap that the tenant names, and reads it; `None` where it names none or there is none.
///
/// # Errors
/// When the API server does not answer.
pub async fn asked(shared: &Shared, tenant: &TenantControlPlane) -> Result<Option<ConfigMap>, Halt> {
    let name = tenant.internal_ca_config_map().filter(|name| internal_ca::is_name(name));
    let namespace = tenant.namespace().unwrap_or_default();
    let followed: BTreeSet<_> = name.map(|name| (namespace.clone(), name.to_owned())).into_iter().collect();
    shared.authorities.follow(&ObjectRef::from_obj(tenant), followed);
    let Some(name) = name else { return Ok(None) };
    let api: Api<ConfigMap> = Api::namespaced(shared.context.process.client.clone(), &namespace);
    let found = api.get_opt(name).await;
    found.map_err(|source| Error::Read { what: format!("ConfigMap {name}"), source: Box::new(source) }.into())
}

/// The copies that there are: by their labels, and the mounted one by its name.
pub fn copies(shared: &Shared, tenant: &TenantControlPlane, live: Option<&Deployment>) -> Vec<Arc<ConfigMap>> {
    let (name, namespace) = (tenant.name_any(), tenant.namespace());
    let store = &shared.stores.config_maps;
    let is_copy = |found: &ConfigMap| {
        let label = |key| found.labels().get(key).map(String::as_str);
        label(labels::COMPONENT) == Some(component::INTERNAL_CA)
            && label(labels::NAME) == Some(&name)
            && found.metadata.namespace == namespace
    };
    let labelled = store.store.state().into_iter().filter(|found| is_copy(found)).map(|found| found.name_any());
    let names: BTreeSet<String> = labelled.chain(live.and_then(internal_ca::mounted).map(str::to_owned)).collect();
    names.iter().filter_map(|copy| store.get(namespace.as_deref(), copy)).collect()
}

/// Tells the owner that the pods are about to roll, and why. `live` is the tenant's Deployment as it is.
pub async fn announce(shared: &Shared, resolved: &Resolved, live: Option<&Deployment>) {
    let Some(live) = live else { return };
    let (before, after) = (internal_ca::mounted(live), resolved.internal_ca.as_ref());
    let copy = after.and_then(|after| after.copy(&resolved.name));
    if before == copy.as_deref() {
        return;
    }
    let name = resolved.tenant.internal_ca_config_map().unwrap_or_default();
    let why = match (before, &copy) {
        (None, _) => format!("they are to trust the certificate authorities of the ConfigMap {name}"),
        (Some(_), Some(_)) => format!("the certificate authorities of the ConfigMap {name} changed"),
        (Some(_), None) => "they are to trust no internal certificate authorities any more".to_owned(),
    };
    let note = format!("The pods of the control plane are replaced: {why}.");
    shared.context.event(resolved.tenant.as_ref(), EventType::Normal, "InternalCAChanged", "Roll", note).await;
}

/// Remembers the copy that was written.
pub fn remember(shared: &Shared, resolved: &Resolved, written: &[ConfigMap]) {
    match written.iter().find(|written| internal_ca::is_genuine(&resolved.name, written)) {
        Some(copy) => shared.copies.keep(&resolved.uid, &Arc::new(copy.clone())),
        None if resolved.internal_ca.is_none() => shared.copies.forget(&resolved.uid),
        None => {}
    }
}

/// Copies that pods mount: the wanted one, and until a rollout is over those of the pods before. `present` are the
/// tenant's ConfigMaps.
pub fn still_mounted<'a>(
    resolved: &Resolved,
    present: impl Iterator<Item = &'a Arc<ConfigMap>>,
    live: &Deployment,
) -> Vec<String> {
    let mut names: Vec<String> = resolved.internal_ca.iter().filter_map(|ca| ca.copy(&resolved.name)).collect();
    if phase::is_progressing(live) {
        let is_copy = |found: &&Arc<ConfigMap>| {
            found.labels().get(labels::COMPONENT).is_some_and(|label| label == component::INTERNAL_CA)
        };
        names.extend(present.filter(is_copy).map(|copy| copy.name_any()));
    }
    names
}
