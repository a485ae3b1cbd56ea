//! The kube-controller-manager container (docs/reference/compatibility.md, "kube-controller-manager").

use k8s_openapi::api::core::v1::Container;

use crate::{
    component::{
        arguments::Arguments,
        container,
        mount::{API_SERVER_PKI_VOLUME, read_only},
        probes, trust,
    },
    resolved::Resolved,
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "kube-controller-manager";

/// Name of the volume with its kubeconfig.
pub const KUBECONFIG_VOLUME: &str = "controller-manager-kubeconfig";

/// Name of the volume with its certificates and keys, from template `R1` on.
pub const PKI_VOLUME: &str = "controller-manager-pki";

/// Port of its health endpoint.
pub const PORT: u16 = 10257;

/// The container as the tenant's template revision has it.
pub fn container(resolved: &Resolved) -> Container {
    let pki = if resolved.revision >= TemplateRevision::R1 { PKI_VOLUME } else { API_SERVER_PKI_VOLUME };
    let mut mounts = resolved.additional_volume_mounts(|mounts| mounts.controller_manager.as_ref()).to_vec();
    mounts.push(read_only(KUBECONFIG_VOLUME, "/etc/kubernetes"));
    mounts.push(read_only(pki, "/etc/kubernetes/pki"));
    mounts.extend(trust::mounts());
    let mut container = Container {
        name: NAME.to_owned(),
        image: Some(container::image(resolved, |images| images.controller_manager_image.as_deref(), NAME)),
        image_pull_policy: container::pull_policy(resolved, false),
        command: Some(vec![NAME.to_owned()]),
        args: Some(arguments(resolved)),
        resources: Some(resolved.resources(|resources| resources.controller_manager.as_ref())),
        security_context: container::security_context(resolved, |contexts| contexts.controller_manager.as_ref(), &[]),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    probes::set(&mut container, resolved, |probes| probes.controller_manager.as_ref(), &probes::Paths::HEALTHZ, PORT);
    container
}

/// The argument list, sorted: every flag is a default that a user's flag replaces.
pub fn arguments(resolved: &Resolved) -> Vec<String> {
    const KUBECONFIG: &str = "/etc/kubernetes/controller-manager.conf";
    let mut arguments = Arguments::default();
    arguments
        .set("allocate-node-cidrs", "true")
        .set("authentication-kubeconfig", KUBECONFIG)
        .set("authorization-kubeconfig", KUBECONFIG)
        .set("kubeconfig", KUBECONFIG)
        .set("bind-address", "0.0.0.0")
        .set("client-ca-file", "/etc/kubernetes/pki/ca.crt")
        .set("cluster-name", resolved.name.clone())
        .set("cluster-signing-cert-file", "/etc/kubernetes/pki/ca.crt")
        .set("cluster-signing-key-file", "/etc/kubernetes/pki/ca.key")
        .set("controllers", "*,bootstrapsigner,tokencleaner")
        .set("leader-elect", "true")
        .set_list("service-cluster-ip-range", &resolved.network.service_cidrs)
        .set_list("cluster-cidr", &resolved.network.pod_cidrs)
        .set("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt")
        .set("root-ca-file", "/etc/kubernetes/pki/ca.crt")
        .set("service-account-private-key-file", "/etc/kubernetes/pki/sa.key")
        .set("use-service-account-credentials", "true")
        .override_with(Arguments::parse(resolved.extra_args(|extra| extra.controller_manager.as_ref())));
    arguments.to_list()
}
