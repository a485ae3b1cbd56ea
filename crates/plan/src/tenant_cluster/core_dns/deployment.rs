//! CoreDNS' Deployment.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, KeyToPath,
            PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SecurityContext,
            Toleration, Volume, VolumeMount, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kamaji_api::tenant_control_plane::ImageOverride;

use super::{CONFIG_KEY, NAME, SELECTOR};
use crate::tenant_cluster::{minors::Minor, object};

/// kubeadm's repository, and the one below which CoreDNS has a folder of its own.
const REGISTRY: &str = "registry.k8s.io";
/// Volume of the configuration.
const CONFIG_VOLUME: &str = "config-volume";

/// The Deployment. The addon has no field for replicas; there are kubeadm's two.
pub(super) fn deployment(minor: &Minor, image: &ImageOverride) -> Deployment {
    let labels = object::map(&[SELECTOR]);
    Deployment {
        metadata: object::namespaced(NAME, &[SELECTOR]),
        spec: Some(DeploymentSpec {
            replicas: Some(2),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(1)),
                    ..RollingUpdateDeployment::default()
                }),
            }),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(pod(minor, image_name(minor, image))),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// The image: kubeadm's repository and tag where the specification has none, each for itself.
fn image_name(minor: &Minor, image: &ImageOverride) -> String {
    let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let repository = match set(&image.image_repository) {
        Some(repository) if repository != REGISTRY => repository,
        _ => format!("{REGISTRY}/{NAME}"),
    };
    let tag = set(&image.image_tag).unwrap_or_else(|| minor.core_dns.to_owned());
    format!("{repository}/{NAME}:{tag}")
}

fn pod(minor: &Minor, image: String) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-cluster-critical".to_owned()),
        service_account_name: Some(NAME.to_owned()),
        affinity: Some(on_different_nodes()),
        tolerations: Some(vec![
            Toleration {
                key: Some("CriticalAddonsOnly".to_owned()),
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            },
            Toleration {
                key: Some("node-role.kubernetes.io/control-plane".to_owned()),
                effect: Some("NoSchedule".to_owned()),
                ..Toleration::default()
            },
        ]),
        node_selector: Some(object::map(&[("kubernetes.io/os", "linux")])),
        containers: vec![container(minor, image)],
        dns_policy: Some("Default".to_owned()),
        volumes: Some(vec![Volume {
            name: CONFIG_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: NAME.to_owned(),
                items: Some(vec![KeyToPath {
                    key: CONFIG_KEY.to_owned(),
                    path: CONFIG_KEY.to_owned(),
                    ..KeyToPath::default()
                }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn on_different_nodes() -> Affinity {
    let (key, value) = SELECTOR;
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(LabelSelector {
                        match_expressions: Some(vec![LabelSelectorRequirement {
                            key: key.to_owned(),
                            operator: "In".to_owned(),
                            values: Some(vec![value.to_owned()]),
                        }]),
                        ..LabelSelector::default()
                    }),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn container(minor: &Minor, image: String) -> Container {
    const LIVENESS: (&str, i32) = ("liveness-probe", 8080);
    const READINESS: (&str, i32) = ("readiness-probe", 8181);
    let port = |name: &str, number: i32, protocol: &str| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")];
    let mut health = |(name, number): (&str, i32)| {
        if !minor.core_dns_names_probe_ports {
            return IntOrString::Int(number);
        }
        ports.push(port(name, number, "TCP"));
        IntOrString::String(name.to_owned())
    };
    let (liveness, readiness) = (probe("/health", health(LIVENESS)), probe("/ready", health(READINESS)));
    let quantities = |pairs: &[(&str, &str)]| {
        let quantity = |&(name, value): &(&str, &str)| (name.to_owned(), Quantity(value.to_owned()));
        pairs.iter().map(quantity).collect::<BTreeMap<_, _>>()
    };
    Container {
        name: NAME.to_owned(),
        image: Some(image),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(ResourceRequirements {
            limits: Some(quantities(&[("memory", "170Mi")])),
            requests: Some(quantities(&[("cpu", "100m"), ("memory", "70Mi")])),
            ..ResourceRequirements::default()
        }),
        args: Some(vec!["-conf".to_owned(), format!("/etc/coredns/{CONFIG_KEY}")]),
        volume_mounts: Some(vec![VolumeMount {
            name: CONFIG_VOLUME.to_owned(),
            mount_path: "/etc/coredns".to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ports: Some(ports),
        liveness_probe: Some(Probe {
            initial_delay_seconds: Some(60),
            timeout_seconds: Some(5),
            success_threshold: Some(1),
            failure_threshold: Some(5),
            ..liveness
        }),
        readiness_probe: Some(readiness),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_BIND_SERVICE".to_owned()]),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn probe(path: &str, port: IntOrString) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port,
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tenant_cluster::minors, version::Version};

    fn named(version: &str, repository: Option<&str>, tag: Option<&str>) -> String {
        let image =
            ImageOverride { image_repository: repository.map(str::to_owned), image_tag: tag.map(str::to_owned) };
        image_name(&minors::of(&Version::parse(version).unwrap()), &image)
    }

    #[test]
    fn the_image_is_kubeadms_unless_the_specification_names_another() {
        assert_eq!(named("v1.36.3", None, None), "registry.k8s.io/coredns/coredns:v1.14.2");
        assert_eq!(named("v1.36.3", Some("mirror.example/k8s"), None), "mirror.example/k8s/coredns:v1.14.2");
        assert_eq!(named("v1.36.3", Some("registry.k8s.io"), None), "registry.k8s.io/coredns/coredns:v1.14.2");
        assert_eq!(named("v1.36.3", Some(""), Some("")), "registry.k8s.io/coredns/coredns:v1.14.2");
    }

    #[test]
    fn a_tag_counts_without_a_repository() {
        assert_eq!(named("v1.36.3", None, Some("v1.15.0")), "registry.k8s.io/coredns/coredns:v1.15.0");
    }
}
