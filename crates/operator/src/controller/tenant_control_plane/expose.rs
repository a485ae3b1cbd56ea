//! The expose step: applies the Service, and finds the address that the tenant is reached under.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kamaji_api::tenant_control_plane::ServiceType;
use kamaji_plan::{control_plane::service, exposed::Exposed, resolve::Resolved};
use kube::core::response::StatusCause;

use super::{
    Shared,
    error::{Error, Halt},
    observe::Observed,
};

/// Applies the Service. The address comes from the write's own answer, so that one pass goes all the way.
///
/// # Errors
/// [`Halt::Waiting`] while nothing has assigned an address, [`Halt::Failed`] when the Service cannot be written.
pub async fn expose(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    reported: &mut Option<Service>,
) -> Result<Exposed, Halt> {
    let live = observed.service.as_deref();
    let desired = service::service(resolved, live);
    let applied = match former_address(resolved, live) {
        None => shared.context.applier.apply(&desired, live).await,
        Some(former) => match shared.context.applier.apply(&at(&desired, former), live).await {
            // Somebody else has the address by now.
            Err(error) if error.category() == "invalid" => shared.context.applier.apply(&desired, live).await,
            other => other,
        },
    };
    let applied = applied.map_err(|error| refused(resolved, error))?;
    let applied = shared.stores.services.applied(applied);
    let address = service::address(resolved, &applied);
    *reported = Some(applied);
    match address {
        Ok(Some(address)) => Ok(Exposed::new(resolved, address)),
        Ok(None) => Err(Halt::watch(
            "WaitingForAddress",
            format!("The Service {} has no address yet; its load balancer has to assign one.", resolved.name),
        )),
        Err(sentence) => Err(Halt::watch("NoAddress", sentence)),
    }
}

/// The address to ask for when the Service of a tenant that had one is gone: clients know it, and certificates name it.
fn former_address(resolved: &Resolved, live: Option<&Service>) -> Option<IpAddr> {
    let own = resolved.tenant.spec.control_plane.service.service_type == ServiceType::ClusterIp;
    if live.is_some() || !own || resolved.network.address.is_some() {
        return None;
    }
    let endpoint = resolved.tenant.status.as_ref()?.control_plane_endpoint.as_deref()?;
    let (host, _) = endpoint.rsplit_once(':')?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn at(desired: &Service, address: IpAddr) -> Service {
    let mut desired = desired.clone();
    desired.spec.get_or_insert_default().cluster_ip = Some(address.to_string());
    desired
}

/// A rejection that names the tenant's field, where the API server refuses a port that is none of its node ports.
fn refused(resolved: &Resolved, error: kamaji_apply::Error) -> Halt {
    if let kamaji_apply::Error::Api { source, .. } = &error
        && let kube::Error::Api(status) = source.as_ref()
    {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let out_of_range = |cause: &StatusCause| service::out_of_range(resolved, &cause.field, &cause.message);
        if let Some(rejection) = causes.into_iter().find_map(out_of_range) {
            return rejection.into();
        }
    }
    Error::Write { what: format!("Service {}", resolved.name), source: error }.into()
}
