//! The kube-apiserver container.

mod arguments;

use k8s_openapi::api::core::v1::Container;

pub use self::arguments::arguments;
use crate::{
    component::{
        container, kine, konnectivity,
        mount::{API_SERVER_PKI_VOLUME, read_only},
        probes, trust,
    },
    exposed::Exposed,
    resolved::Resolved,
    stored::Stored,
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "kube-apiserver";

/// The container as the tenant's template revision has it.
pub fn container(resolved: &Resolved, exposed: &Exposed, stored: &Stored) -> Container {
    let mut mounts = resolved.additional_volume_mounts(|mounts| mounts.api_server.as_ref()).to_vec();
    mounts.push(read_only(API_SERVER_PKI_VOLUME, "/etc/kubernetes/pki"));
    mounts.extend(trust::mounts());
    mounts.extend(resolved.store.kine.as_ref().map(|_| kine::socket_mount()));
    if resolved.konnectivity.is_some() {
        mounts.extend(konnectivity::api_server_mounts(resolved));
    }
    // The first readiness probe follows the start-up probe at once, the second a whole period later. So start-up waits
    // for readiness where the revision allows, and a tenant is Ready when it can be used, not ten seconds later.
    let startup = if resolved.revision >= TemplateRevision::R1 { "/readyz" } else { "/livez" };
    let paths = probes::Paths { liveness: "/livez", readiness: "/readyz", startup };
    let mut container = Container {
        name: NAME.to_owned(),
        image: Some(container::image(resolved, |images| images.api_server_image.as_deref(), NAME)),
        image_pull_policy: container::pull_policy(resolved, true),
        command: Some(vec![NAME.to_owned()]),
        args: Some(arguments(resolved, exposed, stored)),
        resources: Some(resolved.resources(|resources| resources.api_server.as_ref())),
        security_context: container::security_context(
            resolved,
            |contexts| contexts.api_server.as_ref(),
            &["NET_BIND_SERVICE"],
        ),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    probes::set(&mut container, resolved, |probes| probes.api_server.as_ref(), &paths, exposed.port);
    container
}
