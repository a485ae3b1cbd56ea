//! The konnectivity-server container (docs/reference/compatibility.md, "konnectivity-server"), and what the agent in the
//! tenant's cluster must know of it.

mod release;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kamaji_api::contract::ports;

pub(crate) use self::release::is_derived;
pub use self::release::version;
use crate::{
    component::{
        arguments::Arguments,
        container,
        mount::{API_SERVER_PKI_VOLUME, read_only, writable},
        shutdown::linger,
    },
    resolved::{Konnectivity, Resolved},
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "konnectivity-server";
/// The user that the server is in the tenant's cluster, and the audience of the agents' tokens.
pub const USER: &str = "system:konnectivity-server";
/// Path of the egress selector in kube-apiserver's container.
pub const EGRESS_SELECTOR_FILE: &str = "/etc/kubernetes/konnectivity/configurations/egress-selector-configuration.yaml";
/// Volume with the socket between kube-apiserver and konnectivity-server.
pub const SOCKET_VOLUME: &str = "konnectivity-uds";
/// Volume with the egress selector.
pub const EGRESS_SELECTOR_VOLUME: &str = "egress-selector-configuration";
/// Volume with konnectivity-server's kubeconfig.
pub const KUBECONFIG_VOLUME: &str = "konnectivity-server-kubeconfig";
/// Volume with the certificate that agents are shown, and its key, from template `R1` on.
pub const PKI_VOLUME: &str = "konnectivity-server-pki";
/// Default port for agents.
pub const DEFAULT_PORT: i32 = ports::KONNECTIVITY_AGENT;
/// Ports that konnectivity-server takes in the pod, besides the one for agents.
pub const OWN_PORTS: [i32; 2] = [ports::KONNECTIVITY_ADMIN, ports::KONNECTIVITY_HEALTH];
/// The ports that konnectivity-server agrees to listen on for agents; with any other it does not start.
pub const PORTS: std::ops::RangeInclusive<i32> = 1024..=49151;
const DEFAULT_IMAGE: &str = "registry.k8s.io/kas-network-proxy/proxy-server";

/// The container; `None` when the tenant has no konnectivity.
pub fn container(resolved: &Resolved) -> Option<Container> {
    let konnectivity = resolved.konnectivity.as_ref()?;
    let image = konnectivity.image.as_deref().filter(|image| !image.is_empty()).unwrap_or(DEFAULT_IMAGE);
    let r1 = resolved.revision >= TemplateRevision::R1;
    Some(Container {
        name: NAME.to_owned(),
        image: Some(format!("{image}:{}", konnectivity.tag)),
        image_pull_policy: Some(if r1 { "IfNotPresent" } else { "Always" }.to_owned()),
        command: Some(vec!["/proxy-server".to_owned()]),
        args: Some(arguments(resolved, konnectivity)),
        env: counts_leases(resolved).then(|| vec![pod_name("PROXY_SERVER_ID")]),
        ports: Some(vec![
            port(ports::NAME_KONNECTIVITY_AGENT, konnectivity.port),
            port(ports::NAME_KONNECTIVITY_ADMIN, ports::KONNECTIVITY_ADMIN),
            port(ports::NAME_KONNECTIVITY_HEALTH, ports::KONNECTIVITY_HEALTH),
        ]),
        liveness_probe: Some(liveness()),
        lifecycle: r1.then(linger),
        resources: Some(konnectivity.resources.clone().unwrap_or_default()),
        security_context: konnectivity.security_context.clone().or_else(|| r1.then(|| container::restricted(&[]))),
        volume_mounts: Some(vec![
            read_only(if r1 { PKI_VOLUME } else { API_SERVER_PKI_VOLUME }, "/etc/kubernetes/pki"),
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
pub fn api_server_mounts(resolved: &Resolved) -> [VolumeMount; 2] {
    const CONFIGURATIONS: &str = "/etc/kubernetes/konnectivity/configurations";
    // A ConfigMap cannot be written to; only the Go operator does not say so.
    let configurations = if resolved.revision >= TemplateRevision::R1 {
        read_only(EGRESS_SELECTOR_VOLUME, CONFIGURATIONS)
    } else {
        writable(EGRESS_SELECTOR_VOLUME, CONFIGURATIONS)
    };
    [writable(SOCKET_VOLUME, "/run/konnectivity"), configurations]
}

/// Whether servers announce themselves by Leases in the tenant's `kube-system`, so that agents find all of them.
///
/// The older way is a flag with the number of servers. It makes every change of replicas another pod template, which
/// restarts the control plane, and while pods roll it keeps agents at the old servers. So template `R1` uses Leases,
/// where the image is known to.
pub fn counts_leases(resolved: &Resolved) -> bool {
    resolved.revision >= TemplateRevision::R1
        && resolved.konnectivity.as_ref().is_some_and(|konnectivity| release::knows_leases(&konnectivity.tag))
}

/// Tag of the agent's image: what was asked for, else the one that a server without a version of its own has.
pub fn agent_tag(resolved: &Resolved, asked: Option<&str>) -> String {
    let derived = resolved.konnectivity.as_ref().map(|konnectivity| konnectivity.derived_tag.as_str());
    version(resolved.version.minor, asked.filter(|asked| !asked.is_empty()).or(derived))
}

/// Whether agents of this tag count the servers' Leases.
pub fn agent_counts_leases(resolved: &Resolved, tag: &str) -> bool {
    counts_leases(resolved) && release::knows_leases(tag)
}

/// The flags, name and value, by which agents of this tag find all servers; none where the servers tell their number.
pub fn agent_flags(resolved: &Resolved, tag: &str) -> Vec<(&'static str, &'static str)> {
    if !agent_counts_leases(resolved, tag) {
        return Vec::new();
    }
    let mut flags = vec![("count-server-leases", "true")];
    if release::knows_count_source(tag) {
        // Servers of an earlier template, which are there until the pods have rolled, have no Leases.
        flags.push(("server-count-source", "max"));
    }
    flags
}

fn arguments(resolved: &Resolved, konnectivity: &Konnectivity) -> Vec<String> {
    let mut arguments = Arguments::parse(&konnectivity.extra_args);
    arguments
        .set("admin-port", ports::KONNECTIVITY_ADMIN.to_string())
        .set("agent-namespace", "kube-system")
        .set("agent-port", konnectivity.port.to_string())
        .set("agent-service-account", "konnectivity-agent")
        .set("authentication-audience", USER)
        .set("cluster-cert", "/etc/kubernetes/pki/apiserver.crt")
        .set("cluster-key", "/etc/kubernetes/pki/apiserver.key")
        .set("health-port", ports::KONNECTIVITY_HEALTH.to_string())
        .set("kubeconfig", "/etc/kubernetes/konnectivity-server.conf")
        .set("mode", "grpc")
        .set("server-count", resolved.replicas().to_string())
        .set("server-port", "0")
        .set("uds-name", "/run/konnectivity/konnectivity-server.socket");
    if counts_leases(resolved) {
        // An agent that cannot list Leases stays with one server.
        arguments.set("enable-lease-controller", "true").set("server-count", "1");
    }
    arguments.to_list()
}

/// As the contract has it: no readiness, because a server is ready only when an agent is there, and agents come through
/// the API server.
fn liveness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::Int(ports::KONNECTIVITY_HEALTH),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(30),
        timeout_seconds: Some(60),
        period_seconds: Some(10),
        success_threshold: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// The pod's name: a server that restarts keeps its Lease, and people see whose it is.
fn pod_name(variable: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() };
    let value_from = Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() });
    EnvVar { name: variable.to_owned(), value_from, ..EnvVar::default() }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}
