//! The konnectivity-server container (docs/reference/compatibility.md, "konnectivity-server").

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, HTTPGetAction, Probe, VolumeMount},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    component::{
        arguments::Arguments,
        container,
        kube_apiserver::{PKI_VOLUME, read_only},
    },
    resolve::Resolved,
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "konnectivity-server";
/// Path of the egress selector in kube-apiserver's container.
pub const EGRESS_SELECTOR_FILE: &str = "/etc/kubernetes/konnectivity/configurations/egress-selector-configuration.yaml";
/// Volume with the socket between kube-apiserver and konnectivity-server.
pub const SOCKET_VOLUME: &str = "konnectivity-uds";
/// Volume with the egress selector.
pub const EGRESS_SELECTOR_VOLUME: &str = "egress-selector-configuration";
/// Volume with konnectivity-server's kubeconfig.
pub const KUBECONFIG_VOLUME: &str = "konnectivity-server-kubeconfig";
/// Default port for agents.
pub const DEFAULT_PORT: i32 = 8132;
const ADMIN_PORT: i32 = 8133;
const HEALTH_PORT: i32 = 8134;
const DEFAULT_IMAGE: &str = "registry.k8s.io/kas-network-proxy/proxy-server";

/// The container; `None` when the tenant has no konnectivity.
pub fn container(resolved: &Resolved) -> Option<Container> {
    let konnectivity = resolved.konnectivity.as_ref()?;
    let version = konnectivity.version.clone().unwrap_or_else(|| format!("v0.{}.0", resolved.version.minor));
    let image = konnectivity.image.as_deref().filter(|image| !image.is_empty()).unwrap_or(DEFAULT_IMAGE);
    let r1 = resolved.revision >= TemplateRevision::R1;
    let port = |name: &str, port: i32| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    Some(Container {
        name: NAME.to_owned(),
        image: Some(format!("{image}:{version}")),
        image_pull_policy: Some(if r1 { "IfNotPresent" } else { "Always" }.to_owned()),
        command: Some(vec!["/proxy-server".to_owned()]),
        args: Some(arguments(resolved, konnectivity.port, &konnectivity.extra_args)),
        ports: Some(vec![
            port("agentport", konnectivity.port),
            port("adminport", ADMIN_PORT),
            port("healthport", HEALTH_PORT),
        ]),
        liveness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/healthz".to_owned()),
                port: IntOrString::Int(HEALTH_PORT),
                scheme: Some("HTTP".to_owned()),
                ..HTTPGetAction::default()
            }),
            initial_delay_seconds: Some(30),
            timeout_seconds: Some(60),
            period_seconds: Some(10),
            success_threshold: Some(1),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        resources: Some(konnectivity.resources.clone().unwrap_or_default()),
        security_context: konnectivity.security_context.clone().or_else(|| r1.then(|| container::restricted(&[]))),
        volume_mounts: Some(vec![
            read_only(PKI_VOLUME, "/etc/kubernetes/pki"),
            VolumeMount {
                sub_path: Some("konnectivity-server.conf".to_owned()),
                ..read_only(KUBECONFIG_VOLUME, "/etc/kubernetes/konnectivity-server.conf")
            },
            writable(SOCKET_VOLUME, "/run/konnectivity"),
        ]),
        ..Container::default()
    })
}

/// kube-apiserver's mounts for the socket and the egress selector.
pub fn api_server_mounts() -> [VolumeMount; 2] {
    [
        writable(SOCKET_VOLUME, "/run/konnectivity"),
        writable(EGRESS_SELECTOR_VOLUME, "/etc/kubernetes/konnectivity/configurations"),
    ]
}

fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn arguments(resolved: &Resolved, port: i32, extra: &[String]) -> Vec<String> {
    let mut arguments = Arguments::parse(extra);
    arguments
        .set("admin-port", ADMIN_PORT.to_string())
        .set("agent-namespace", "kube-system")
        .set("agent-port", port.to_string())
        .set("agent-service-account", "konnectivity-agent")
        .set("authentication-audience", "system:konnectivity-server")
        .set("cluster-cert", "/etc/kubernetes/pki/apiserver.crt")
        .set("cluster-key", "/etc/kubernetes/pki/apiserver.key")
        .set("health-port", HEALTH_PORT.to_string())
        .set("kubeconfig", "/etc/kubernetes/konnectivity-server.conf")
        .set("mode", "grpc")
        .set("server-count", resolved.replicas().to_string())
        .set("server-port", "0")
        .set("uds-name", "/run/konnectivity/konnectivity-server.socket");
    arguments.to_list()
}
