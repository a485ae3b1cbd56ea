//! The kube-apiserver container.

mod arguments;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

pub use self::arguments::arguments;
use crate::{
    component::{container, kine, konnectivity, probes, trust},
    exposed::Exposed,
    resolve::Resolved,
    stored::Stored,
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "kube-apiserver";

/// How long kube-apiserver goes on answering after it was told to stop, in seconds: longer than the slowest kube-proxy
/// takes to drop an endpoint.
pub const SHUTDOWN_DELAY_SECONDS: u32 = 10;

/// Name of the volume with kube-apiserver's certificates and keys.
pub const PKI_VOLUME: &str = "etc-kubernetes-pki";

/// The container as the tenant's template revision has it.
pub fn container(resolved: &Resolved, exposed: &Exposed, stored: &Stored) -> Container {
    let mut mounts = resolved.additional_volume_mounts(|mounts| mounts.api_server.as_ref()).to_vec();
    mounts.push(read_only(PKI_VOLUME, "/etc/kubernetes/pki"));
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

/// A read-only mount of `volume` at `path`.
pub fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
