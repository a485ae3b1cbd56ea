//! The apply step: writes the plan, and takes away what it no longer holds.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kamaji_api::contract::{self, labels::component};
use kamaji_apply::prune_candidates;
use kamaji_plan::{
    control_plane::{
        Plan,
        names::{self, TenantSecret},
    },
    resolve::Resolved,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    Shared,
    error::{Error, Halt},
    internal_ca,
    observe::Observed,
};
use crate::controller::timed::timed;

/// What was written.
pub struct Written {
    /// Checksum of the kubeadm configuration.
    pub kubeadm_checksum: Option<String>,
    /// The Deployment as the API server has it.
    pub deployment: Deployment,
}

/// Applies the plan.
///
/// # Errors
/// When an object cannot be written.
pub async fn write(shared: &Shared, resolved: &Resolved, observed: &Observed, plan: Plan) -> Result<Written, Halt> {
    // Without `..`: a new field of the plan does not compile until it is written here.
    let Plan { config_maps, deployment } = plan;
    let kubeadm = names::kubeadm_config(&resolved.name);
    let egress = names::egress_selector(&resolved.name);
    let kubeadm_checksum = config_maps
        .iter()
        .find(|config_map| config_map.name_any() == kubeadm)
        .and_then(|config_map| config_map.annotations().get(contract::annotations::CHECKSUM).cloned());
    let context = &shared.context;
    let (_, deployment) = futures::try_join!(
        try_join_all(config_maps.iter().map(|desired| {
            let handler = match desired.name_any() {
                name if name == kubeadm => component::KUBEADM_CONFIG,
                name if name == egress => component::KONNECTIVITY_EGRESS,
                _ => component::INTERNAL_CA,
            };
            timed(context, handler, config_map(shared, observed, desired))
        })),
        timed(context, component::DEPLOYMENT, apply_deployment(shared, observed, &deployment)),
    )?;
    internal_ca::remember(shared, resolved, &config_maps);
    let mut wanted: BTreeSet<String> = config_maps.iter().map(ResourceExt::name_any).collect();
    wanted.extend(internal_ca::still_mounted(resolved, observed.config_maps.values(), &deployment));
    prune(shared, resolved, observed, &wanted).await?;
    Ok(Written { kubeadm_checksum, deployment })
}

async fn config_map(shared: &Shared, observed: &Observed, desired: &ConfigMap) -> Result<(), Halt> {
    let name = desired.name_any();
    let mut live = observed.config_maps.get(&name).map(AsRef::as_ref);
    // Somebody made it anew with another content: it cannot be changed back, only replaced.
    if let Some(other) = live.filter(|live| live.immutable == Some(true) && live.data != desired.data) {
        delete_failed(shared.context.applier.delete(other).await, "ConfigMap", &name)?;
        shared.stores.config_maps.recent.forget(&ObjectRef::from_obj(other));
        live = None;
    }
    let applied = shared
        .context
        .applier
        .apply(desired, live)
        .await
        .map_err(|source| Error::Write { what: format!("ConfigMap {name}"), source })?;
    shared.stores.config_maps.applied(applied);
    Ok(())
}

async fn apply_deployment(shared: &Shared, observed: &Observed, desired: &Deployment) -> Result<Deployment, Halt> {
    let live = observed.deployment.as_deref();
    let applied = shared
        .context
        .applier
        .apply(desired, live)
        .await
        .map_err(|source| Error::Write { what: format!("Deployment {}", desired.name_any()), source })?;
    Ok(shared.stores.deployments.applied(applied))
}

/// Absence from the plan means deletion, so that switching an addon off needs no code of its own.
async fn prune(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    wanted: &BTreeSet<String>,
) -> Result<(), Halt> {
    let live = observed.config_maps.values().map(AsRef::as_ref);
    for unwanted in prune_candidates::<ConfigMap>(&resolved.uid, wanted, live) {
        delete_failed(shared.context.applier.delete(unwanted).await, "ConfigMap", &unwanted.name_any())?;
        shared.stores.config_maps.recent.forget(&ObjectRef::from_obj(unwanted));
    }
    if resolved.konnectivity.is_none() {
        for which in [TenantSecret::KonnectivityCertificate, TenantSecret::KonnectivityKubeconfig] {
            let Some(secret) = observed.secrets.get(&which) else { continue };
            let nothing = BTreeSet::new();
            for unwanted in prune_candidates::<Secret>(&resolved.uid, &nothing, [secret.as_ref()]) {
                delete_failed(shared.context.applier.delete(unwanted).await, "Secret", &unwanted.name_any())?;
                shared.stores.secrets.recent.forget(&ObjectRef::from_obj(unwanted));
            }
        }
    }
    Ok(())
}

fn delete_failed<T>(deleted: Result<T, kamaji_apply::Error>, kind: &str, name: &str) -> Result<(), Halt> {
    deleted.map(|_| ()).map_err(|source| Error::Write { what: format!("{kind} {name}"), source }.into())
}
