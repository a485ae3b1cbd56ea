//! The expose step: applies the Service, and finds the address that the tenant is reached under.

use k8s_openapi::api::core::v1::Service;
use kamaji_plan::{control_plane::service, exposed::Exposed, resolve::Resolved};

use super::{Shared, error::{Error, Halt}, observe::Observed};

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
    let applied = shared
        .context
        .applier
        .apply(&desired, live)
        .await
        .map_err(|source| Error::Write { what: format!("Service {}", resolved.name), source })?;
    shared.stores.services.recent.wrote(&applied.object);
    let address = service::address(resolved, &applied.object);
    *reported = Some(applied.object);
    match address {
        Ok(Some(address)) => Ok(Exposed::new(resolved, address)),
        Ok(None) => Err(Halt::watch(
            "WaitingForAddress",
            format!("The Service {} has no address yet; its load balancer has to assign one.", resolved.name),
        )),
        Err(sentence) => Err(Halt::watch("NoAddress", sentence)),
    }
}
