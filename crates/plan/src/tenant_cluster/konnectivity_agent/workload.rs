//! The agent's workload: a DaemonSet, or a Deployment.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, Container, EnvVar, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
            SeccompProfile, SecurityContext, ServiceAccountTokenProjection, Toleration, Volume, VolumeMount,
            VolumeProjection,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kamaji_api::{
    contract::{
        labels::{self, component},
        ports,
    },
    tenant_control_plane::{KonnectivityAgentMode, KonnectivityAgentSpec},
};

use super::NAME;
use crate::{
    component::{arguments::Arguments, konnectivity},
    exposed::Exposed,
    resolved::Resolved,
    template::TemplateRevision,
    tenant_cluster::{TenantCluster, object},
    trouble::Trouble,
};

/// The CRD's default.
const DEFAULT_IMAGE: &str = "registry.k8s.io/kas-network-proxy/proxy-agent";
/// The label that the pods are selected by.
const SELECTOR: (&str, &str) = ("k8s-app", NAME);
/// Volume and file of the token that the agent shows.
const TOKEN: &str = "konnectivity-agent-token";
const TOKENS: &str = "/var/run/secrets/tokens";
/// How long a token is valid, in seconds; kubelet renews it before.
const TOKEN_SECONDS: i64 = 3600;

/// Adds the workload. Of a mode and a number of replicas that exclude each other the mode counts, and a trouble tells.
pub(super) fn add(
    cluster: &mut TenantCluster,
    resolved: &Resolved,
    exposed: &Exposed,
    port: i32,
    agent: &KonnectivityAgentSpec,
    tag: &str,
) {
    let (mode, replicas) = workload(agent, &mut cluster.troubles);
    let mut metadata = object::namespaced(NAME, &[]);
    metadata.labels = Some(labels::of(&resolved.name, component::KONNECTIVITY_AGENT));
    let pod_labels = object::map(&[SELECTOR]);
    let selector = LabelSelector { match_labels: Some(pod_labels.clone()), ..LabelSelector::default() };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(pod_labels), ..ObjectMeta::default() }),
        spec: Some(pod(resolved, exposed, arguments(resolved, exposed, port, agent, tag), agent, tag)),
    };
    match mode {
        Mode::Deployment => cluster.deployments.push(Deployment {
            metadata,
            spec: Some(DeploymentSpec { replicas, selector, template, ..DeploymentSpec::default() }),
            ..Deployment::default()
        }),
        Mode::DaemonSet => cluster.daemon_sets.push(DaemonSet {
            metadata,
            spec: Some(DaemonSetSpec { selector, template, ..DaemonSetSpec::default() }),
            ..DaemonSet::default()
        }),
    }
}

#[derive(Clone, Copy)]
enum Mode {
    DaemonSet,
    Deployment,
}

fn workload(agent: &KonnectivityAgentSpec, troubles: &mut Vec<Trouble>) -> (Mode, Option<i32>) {
    const FIELD: &str = "spec.addons.konnectivity.agent";
    let mut trouble = |message: String| troubles.push(Trouble::new("InvalidKonnectivityAgent", message));
    let mode = match &agent.mode {
        Some(KonnectivityAgentMode::Deployment) => Mode::Deployment,
        None | Some(KonnectivityAgentMode::DaemonSet) => Mode::DaemonSet,
        Some(KonnectivityAgentMode::Other(other)) => {
            trouble(format!(
                "{FIELD}.mode: \"{other}\" is not one of DaemonSet, Deployment; it is taken for DaemonSet"
            ));
            Mode::DaemonSet
        }
    };
    match (mode, agent.replicas) {
        (Mode::DaemonSet, None | Some(0)) => (mode, None),
        (Mode::DaemonSet, Some(replicas)) => {
            trouble(format!(
                "{FIELD}.replicas: a DaemonSet runs one agent on each node, not {replicas}; remove the field, or set \
                 {FIELD}.mode to Deployment"
            ));
            (mode, None)
        }
        (Mode::Deployment, Some(replicas)) if replicas < 1 => {
            trouble(format!(
                "{FIELD}.replicas: with {replicas} agents the API server reaches no node; set 1 or more, or remove \
                 spec.addons.konnectivity. One agent runs until then"
            ));
            (mode, Some(1))
        }
        (Mode::Deployment, replicas) => (mode, replicas),
    }
}

/// The flags; the user's win.
fn arguments(
    resolved: &Resolved,
    exposed: &Exposed,
    port: i32,
    agent: &KonnectivityAgentSpec,
    tag: &str,
) -> Vec<String> {
    let mut arguments = Arguments::parse(agent.extra_args.as_deref().unwrap_or_default());
    arguments
        .default_to("admin-server-port", ports::KONNECTIVITY_ADMIN.to_string())
        .default_to("ca-cert", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
        .default_to("health-server-port", ports::KONNECTIVITY_HEALTH.to_string())
        .default_to("logtostderr", "true")
        .default_to("proxy-server-host", server_host(resolved, exposed))
        .default_to("proxy-server-port", port.to_string())
        .default_to("service-account-token-path", format!("{TOKENS}/{TOKEN}"));
    for (flag, value) in konnectivity::agent_flags(resolved, tag) {
        arguments.default_to(flag, value);
    }
    let has_verbosity = arguments.contains("v");
    let mut list = arguments.to_list();
    if !has_verbosity {
        list.push("-v=8".to_owned());
    }
    list
}

/// Where agents find the server: the gateway, else the advertised address, else the Service. An ingress passes
/// konnectivity's port to nobody, so its host name is not used.
fn server_host(resolved: &Resolved, exposed: &Exposed) -> String {
    let gateway = resolved.tenant.spec.control_plane.gateway.as_ref();
    let hostname = gateway.and_then(|gateway| gateway.hostname.as_deref()).filter(|hostname| !hostname.is_empty());
    if let Some(hostname) = hostname {
        return hostname.split(':').next().unwrap_or_default().to_owned();
    }
    resolved.network.advertise_address.unwrap_or(exposed.address).to_string()
}

/// The API server that the agent lists Leases from, under the address that it has the servers from: it does so before
/// it serves its health, and must not wait for kube-proxy. The agent's library takes it from these variables.
fn api_server(resolved: &Resolved, exposed: &Exposed) -> Vec<EnvVar> {
    let host = server_host(resolved, exposed);
    let public = exposed.public_endpoint.rsplit_once(':').filter(|_| host == exposed.public_host);
    let port = public.map_or_else(|| exposed.port.to_string(), |(_, port)| port.to_owned());
    let variable = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    vec![variable("KUBERNETES_SERVICE_HOST", host), variable("KUBERNETES_SERVICE_PORT", port)]
}

fn pod(
    resolved: &Resolved,
    exposed: &Exposed,
    arguments: Vec<String>,
    agent: &KonnectivityAgentSpec,
    tag: &str,
) -> PodSpec {
    let image = agent.image.as_deref().filter(|image| !image.is_empty()).unwrap_or(DEFAULT_IMAGE);
    let tolerations = agent.tolerations.clone().unwrap_or_else(|| {
        vec![Toleration {
            key: Some("CriticalAddonsOnly".to_owned()),
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]
    });
    PodSpec {
        priority_class_name: Some("system-cluster-critical".to_owned()),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        node_selector: Some(object::map(&[("kubernetes.io/os", "linux")])),
        host_network: agent.host_network.filter(|&host_network| host_network),
        service_account_name: Some(NAME.to_owned()),
        containers: vec![Container {
            name: NAME.to_owned(),
            image: Some(format!("{image}:{tag}")),
            command: Some(vec!["/proxy-agent".to_owned()]),
            args: Some(arguments),
            env: konnectivity::agent_counts_leases(resolved, tag).then(|| api_server(resolved, exposed)),
            volume_mounts: Some(vec![VolumeMount {
                name: TOKEN.to_owned(),
                mount_path: TOKENS.to_owned(),
                ..VolumeMount::default()
            }]),
            liveness_probe: Some(liveness()),
            // A takeover rolls no pods.
            security_context: (resolved.revision >= TemplateRevision::R1).then(security_context),
            ..Container::default()
        }],
        volumes: Some(vec![Volume {
            name: TOKEN.to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(ServiceAccountTokenProjection {
                        path: TOKEN.to_owned(),
                        audience: Some(konnectivity::USER.to_owned()),
                        expiration_seconds: Some(TOKEN_SECONDS),
                    }),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn liveness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::Int(ports::KONNECTIVITY_HEALTH),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(15),
        timeout_seconds: Some(15),
        period_seconds: Some(10),
        ..Probe::default()
    }
}

/// What the agent does without. The user is the image's: whether that is root is not known here.
fn security_context() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        read_only_root_filesystem: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
        ..SecurityContext::default()
    }
}
