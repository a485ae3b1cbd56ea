//! Reports of a Secret and of a Service, which several parts of the status have.

use k8s_openapi::{
    api::core::v1::{LoadBalancerStatus, Service},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kamaji_api::tenant_control_plane::{SecretReferenceStatus, ServiceReport};

use crate::{issued::SecretDigest, resolved::Resolved};

/// Reports a Secret; the time moves only with what it dates.
pub(super) fn reference(reference: &mut SecretReferenceStatus, digest: Option<&SecretDigest>, now: &Time) {
    let Some(digest) = digest else { return };
    let same =
        reference.secret_name.as_ref() == Some(&digest.name) && reference.checksum.as_ref() == Some(&digest.checksum);
    if !same {
        reference.secret_name = Some(digest.name.clone());
        reference.checksum = Some(digest.checksum.clone());
        reference.last_update = Some(now.clone());
    }
}

/// Reports a Service as it is.
pub(super) fn service_report(service: &Service, name: &str, resolved: &Resolved) -> ServiceReport {
    let live = service.status.as_ref();
    let mut balancer = live.and_then(|status| status.load_balancer.clone()).unwrap_or_default();
    for entry in balancer.ingress.iter_mut().flatten() {
        entry.ports = None;
    }
    ServiceReport {
        conditions: live.and_then(|status| status.conditions.clone()).filter(|conditions| !conditions.is_empty()),
        load_balancer: LoadBalancerStatus { ingress: balancer.ingress },
        name: name.to_owned(),
        namespace: resolved.namespace.clone(),
        port: i32::from(resolved.network.port),
    }
}
