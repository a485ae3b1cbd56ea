//! The expose step: applies the Service, and finds the address that the tenant is reached under.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kamaji_api::tenant_control_plane::ServiceType;
use kamaji_plan::{control_plane::service, exposed::Exposed, resolve::Resolved};
use kube::core::response::StatusCause;

use super::{
    Shared,
    error::{Error, Halt},
    observe::Observed,
};

/// Pauses between requests for a former address. The API server tells of a Service's end before it lets go of the
/// address: milliseconds, or a second where it is busy.
const RELEASE_MILLIS: [u64; 6] = [50, 100, 200, 400, 800, 1600];

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
        Some(former) => {
            let former = at(&desired, former);
            match until_released(async || shared.context.applier.apply(&former, live).await, is_held).await {
                // Somebody else has the address by now, or it is none of this cluster's any more.
                Err(error) if error.category() == "invalid" => shared.context.applier.apply(&desired, live).await,
                other => other,
            }
        }
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

/// Asks until the answer is another than that the address is held, for three seconds at most.
///
/// A new address means new certificates and new pods, so the former one is worth a moment.
async fn until_released<T, E>(ask: impl AsyncFn() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    for pause in RELEASE_MILLIS {
        match ask().await {
            Err(error) if is_held(&error) => tokio::time::sleep(Duration::from_millis(pause)).await,
            other => return other,
        }
    }
    ask().await
}

/// Whether a Service was refused because its address belongs to another, or to one that has just gone.
fn is_held(error: &kamaji_apply::Error) -> bool {
    causes(error).any(|cause| cause.message.contains("already allocated"))
}

/// What the API server found wrong, field by field.
fn causes(error: &kamaji_apply::Error) -> impl Iterator<Item = &StatusCause> {
    let status = match error {
        kamaji_apply::Error::Api { source, .. } => match source.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    status.and_then(|status| status.details.as_ref()).into_iter().flat_map(|details| &details.causes)
}

fn at(desired: &Service, address: IpAddr) -> Service {
    let mut desired = desired.clone();
    desired.spec.get_or_insert_default().cluster_ip = Some(address.to_string());
    desired
}

/// A rejection that names the tenant's field, where the API server refuses a port that is none of its node ports.
fn refused(resolved: &Resolved, error: kamaji_apply::Error) -> Halt {
    let out_of_range = |cause: &StatusCause| service::out_of_range(resolved, &cause.field, &cause.message);
    if let Some(rejection) = causes(&error).find_map(out_of_range) {
        return rejection.into();
    }
    Error::Write { what: format!("Service {}", resolved.name), source: error }.into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often was asked, and the answer, where the address is free at the `free`th time.
    async fn asked(free: usize) -> (usize, Result<usize, &'static str>) {
        let count = Cell::new(0);
        let ask = async || {
            count.set(count.get() + 1);
            if count.get() < free { Err("held") } else { Ok(count.get()) }
        };
        let answer = until_released(ask, |error| *error == "held").await;
        (count.get(), answer)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_being_released_is_asked_for_again() {
        assert_eq!(asked(1).await, (1, Ok(1)));
        assert_eq!(asked(4).await, (4, Ok(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_somebody_keeps_is_given_up_after_three_seconds() {
        let began = tokio::time::Instant::now();
        assert_eq!(asked(100).await, (7, Err("held")));
        assert!((3..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn another_answer_ends_the_asking() {
        let refused: Result<(), _> = until_released(async || Err("port out of range"), |error| *error == "held").await;
        assert_eq!(refused, Err("port out of range"));
    }
}
