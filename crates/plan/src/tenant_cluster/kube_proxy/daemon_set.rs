//! kube-proxy's DaemonSet.

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy},
        core::v1::{
            ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, HostPathVolumeSource, ObjectFieldSelector, PodSpec,
            PodTemplateSpec, SecurityContext, Toleration, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kamaji_api::{contract::annotations, tenant_control_plane::KubeProxySpec};

use super::{
    NAME,
    configuration::{CONFIG_KEY, DIRECTORY},
};
use crate::{tenant_cluster::object, version::Version};

const REGISTRY: &str = "registry.k8s.io";
/// The label that the pods are selected by.
const SELECTOR: (&str, &str) = ("k8s-app", NAME);
const LOCK: (&str, &str) = ("xtables-lock", "/run/xtables.lock");
const MODULES: (&str, &str) = ("lib-modules", "/lib/modules");

/// The DaemonSet. `rolled_by` is the checksum whose change rolls the pods.
pub(super) fn daemon_set(version: &Version, addon: &KubeProxySpec, rolled_by: Option<String>) -> DaemonSet {
    let labels = object::map(&[SELECTOR]);
    let annotations = rolled_by.map(|checksum| [(annotations::KUBE_PROXY_CONFIG.to_owned(), checksum)].into());
    DaemonSet {
        metadata: object::namespaced(NAME, &[SELECTOR]),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..DaemonSetUpdateStrategy::default()
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() }),
                spec: Some(pod(image(version, addon))),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

/// The image: kubeadm's repository and the tenant's version where the specification has none, each for itself.
fn image(version: &Version, addon: &KubeProxySpec) -> String {
    let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let repository = set(&addon.image_repository).unwrap_or_else(|| REGISTRY.to_owned());
    let tag = set(&addon.image_tag).unwrap_or_else(|| version.as_str().to_owned());
    // A version may have a plus sign, a tag may not (kubeadm, `KubernetesVersionToImageTag`).
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let tag: String = tag.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    format!("{repository}/{NAME}:{tag}")
}

fn pod(image: String) -> PodSpec {
    let host_path = |(name, path): (&str, &str), kind: Option<&str>| Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: kind.map(str::to_owned) }),
        ..Volume::default()
    };
    PodSpec {
        priority_class_name: Some("system-node-critical".to_owned()),
        containers: vec![container(image)],
        host_network: Some(true),
        service_account_name: Some(NAME.to_owned()),
        volumes: Some(vec![
            Volume {
                name: NAME.to_owned(),
                config_map: Some(ConfigMapVolumeSource { name: NAME.to_owned(), ..ConfigMapVolumeSource::default() }),
                ..Volume::default()
            },
            host_path(LOCK, Some("FileOrCreate")),
            host_path(MODULES, None),
        ]),
        tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
        node_selector: Some(object::map(&[("kubernetes.io/os", "linux")])),
        ..PodSpec::default()
    }
}

fn container(image: String) -> Container {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let node_name = ObjectFieldSelector { api_version: None, field_path: "spec.nodeName".to_owned() };
    Container {
        name: NAME.to_owned(),
        image: Some(image),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![
            "/usr/local/bin/kube-proxy".to_owned(),
            format!("--config={DIRECTORY}/{CONFIG_KEY}"),
            "--hostname-override=$(NODE_NAME)".to_owned(),
        ]),
        security_context: Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() }),
        volume_mounts: Some(vec![
            mount(NAME, DIRECTORY, None),
            mount(LOCK.0, LOCK.1, None),
            mount(MODULES.0, MODULES.1, Some(true)),
        ]),
        env: Some(vec![EnvVar {
            name: "NODE_NAME".to_owned(),
            value_from: Some(EnvVarSource { field_ref: Some(node_name), ..EnvVarSource::default() }),
            ..EnvVar::default()
        }]),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(version: &str, repository: Option<&str>, tag: Option<&str>) -> String {
        let addon = KubeProxySpec {
            image_repository: repository.map(str::to_owned),
            image_tag: tag.map(str::to_owned),
            ..KubeProxySpec::default()
        };
        image(&Version::parse(version).unwrap(), &addon)
    }

    #[test]
    fn the_image_is_of_the_tenants_version_unless_the_specification_names_another() {
        assert_eq!(named("v1.36.3", None, None), "registry.k8s.io/kube-proxy:v1.36.3");
        assert_eq!(named("v1.36.3", Some("mirror.example"), Some("v1.36.4")), "mirror.example/kube-proxy:v1.36.4");
        assert_eq!(named("v1.36.3", Some(""), Some("v1.36.4")), "registry.k8s.io/kube-proxy:v1.36.4");
    }

    #[test]
    fn what_no_tag_can_hold_becomes_an_underscore() {
        assert_eq!(named("v1.36.3+build.1", None, None), "registry.k8s.io/kube-proxy:v1.36.3_build.1");
    }
}
