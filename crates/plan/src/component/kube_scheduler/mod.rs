//! The kube-scheduler container (docs/reference/compatibility.md, "kube-scheduler").

use k8s_openapi::api::core::v1::Container;

use crate::{
    component::{arguments::Arguments, container, mount::read_only, probes},
    resolved::Resolved,
};

/// Name of the container.
pub const NAME: &str = "kube-scheduler";

/// Name of the volume with its kubeconfig.
pub const KUBECONFIG_VOLUME: &str = "scheduler-kubeconfig";

/// Port of its health endpoint.
pub const PORT: u16 = 10259;

/// The container as the tenant's template revision has it.
pub fn container(resolved: &Resolved) -> Container {
    let mut mounts = resolved.additional_volume_mounts(|mounts| mounts.scheduler.as_ref()).to_vec();
    mounts.push(read_only(KUBECONFIG_VOLUME, "/etc/kubernetes"));
    let mut container = Container {
        name: NAME.to_owned(),
        image: Some(container::image(resolved, |images| images.scheduler_image.as_deref(), NAME)),
        image_pull_policy: container::pull_policy(resolved, false),
        command: Some(vec![NAME.to_owned()]),
        args: Some(arguments(resolved)),
        resources: Some(resolved.resources(|resources| resources.scheduler.as_ref())),
        security_context: container::security_context(resolved, |contexts| contexts.scheduler.as_ref(), &[]),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    probes::set(&mut container, resolved, |probes| probes.scheduler.as_ref(), &probes::Paths::HEALTHZ, PORT);
    container
}

/// The argument list, sorted: the operator's flags win.
pub fn arguments(resolved: &Resolved) -> Vec<String> {
    const KUBECONFIG: &str = "/etc/kubernetes/scheduler.conf";
    let mut arguments = Arguments::parse(resolved.extra_args(|extra| extra.scheduler.as_ref()));
    arguments
        .set("authentication-kubeconfig", KUBECONFIG)
        .set("authorization-kubeconfig", KUBECONFIG)
        .set("kubeconfig", KUBECONFIG)
        .set("bind-address", "0.0.0.0")
        .set("leader-elect", "true");
    arguments.to_list()
}
