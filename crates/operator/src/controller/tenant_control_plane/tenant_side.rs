//! Hands what a pass found to the session with the tenant's own API.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Secret, Service},
};
use kamaji_api::contract::{annotations, keys};
use kamaji_plan::{
    control_plane::names::TenantSecret, exposed::Exposed, resolve::Resolved, status::phase, tenant_cluster,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{Findings, Shared};
use crate::tenant::{Credentials, Endpoint, Planner, Rollout, Wish};

/// Keeps the tenant's session, or ends it when the tenant sleeps. A pass that did not come far enough leaves it alone.
pub fn keep(shared: &Shared, findings: &Findings) {
    let Some(resolved) = &findings.resolved else { return };
    if resolved.replicas() == 0 {
        shared.sessions.stop(&resolved.uid);
        return;
    }
    // Gone since the pass began: nobody would end the session.
    let tenant = shared.stores.tenants.get(Some(&resolved.namespace), &resolved.name);
    if tenant.and_then(|tenant| tenant.uid()).as_ref() != Some(&resolved.uid) {
        return;
    }
    if let Some(wish) = wish(shared, resolved, findings) {
        let tenant = ObjectRef::new(&resolved.name).within(&resolved.namespace);
        shared.sessions.keep(&resolved.uid, tenant, wish);
    }
}

fn wish(shared: &Shared, resolved: &Resolved, findings: &Findings) -> Option<Wish> {
    let (exposed, issued) = (findings.exposed.as_ref()?, findings.issued.as_ref()?);
    let secret =
        |which: TenantSecret| shared.stores.secrets.get(Some(&resolved.namespace), &which.name(&resolved.name));
    let (authority, kubeconfigs) = (secret(TenantSecret::Ca)?, secret(TenantSecret::AdminKubeconfig)?);
    let chosen = resolved.tenant.annotations().get(annotations::KUBECONFIG_SECRET_KEY);
    let key = chosen.map_or(keys::SUPER_ADMIN_CONF, String::as_str).to_owned();
    Some(Wish {
        generation: resolved.tenant.metadata.generation,
        plan: planner(resolved, exposed, issued.algorithm, Arc::clone(&authority)),
        endpoint: endpoint(resolved, exposed, findings.service.as_ref()),
        credentials: Credentials { authority, kubeconfigs, key },
        rollout: findings.deployment.as_ref().map(rollout).unwrap_or_default(),
    })
}

fn planner(
    resolved: &Resolved,
    exposed: &Exposed,
    algorithm: kamaji_pki::KeyAlgorithm,
    authority: Arc<Secret>,
) -> Planner {
    let mut resolved = resolved.clone();
    // It waits in memory for as long as the tenant lives, and its status is the larger part.
    let mut tenant = resolved.tenant.as_ref().clone();
    tenant.status = None;
    tenant.metadata.managed_fields = None;
    resolved.tenant = Arc::new(tenant);
    resolved.internal_ca = None;
    let exposed = exposed.clone();
    Arc::new(move || {
        let ca = authority.data.as_ref().and_then(|data| data.get(keys::CA_CERT));
        let ca = ca.map(|value| value.0.as_slice()).unwrap_or_default();
        tenant_cluster::plan(&resolved, &exposed, algorithm, ca)
    })
}

/// The Service from within the management cluster, whatever clients outside are told.
fn endpoint(resolved: &Resolved, exposed: &Exposed, service: Option<&Service>) -> Endpoint {
    let own = service.and_then(|service| service.spec.as_ref()?.cluster_ip.as_deref()?.parse::<IpAddr>().ok());
    Endpoint {
        address: SocketAddr::new(own.unwrap_or(exposed.address), resolved.network.port),
        server_name: format!("{}.{}.svc", resolved.name, resolved.namespace),
    }
}

fn rollout(live: &Deployment) -> Rollout {
    let status = live.status.as_ref();
    Rollout {
        generation: status.and_then(|status| status.observed_generation).unwrap_or(0),
        ready: phase::ready_replicas(live),
        updated: status.and_then(|status| status.updated_replicas).unwrap_or(0),
    }
}
