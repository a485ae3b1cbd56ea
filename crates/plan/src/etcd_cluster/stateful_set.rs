//! The members.

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            Affinity, ConfigMapKeySelector, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
            HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodAffinityTerm,
            PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecretVolumeSource,
            Volume, VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kamaji_api::contract::ports;

use super::{
    metadata::metadata,
    names::{self, DATA, EtcdSecret},
    record,
    resolved::{Resolved, Storage},
    service,
};
use crate::component::container::restricted;

/// Name of the container.
pub const CONTAINER: &str = "etcd";
/// Port of metrics and probes, without TLS.
pub const METRICS: i32 = 2381;
/// User and group of the process.
const USER: i64 = 65_532;
/// Where the volume is. etcd makes a directory of its own in it, closed to everybody else.
const DATA_MOUNT: &str = "/var/lib/etcd";
/// Where the member's certificates are.
const PKI_MOUNT: &str = "/etc/kubernetes/pki/etcd";
const PKI: &str = "pki";

/// Keys of [`EtcdSecret::Member`], which are file names as well.
pub mod files {
    /// Authority of clients and servers.
    pub const CA: &str = "ca.crt";
    /// Serving certificate.
    pub const SERVER_CERT: &str = "server.crt";
    /// Its key.
    pub const SERVER_KEY: &str = "server.key";
    /// Authority of the members among each other.
    pub const PEER_CA: &str = "peer-ca.crt";
    /// Certificate towards other members.
    pub const PEER_CERT: &str = "peer.crt";
    /// Its key.
    pub const PEER_KEY: &str = "peer.key";
}

/// The StatefulSet with `size` pods. Claim templates of `live` stay as they are: they cannot change.
pub fn stateful_set(resolved: &Resolved, size: i32, live: Option<&StatefulSet>) -> StatefulSet {
    let labels = names::labels(&resolved.name);
    // The new pod of the only member starts without its data, if that was ephemeral: that is for a person to decide.
    let rolls = resolved.storage.is_persistent() || size > 1;
    StatefulSet {
        metadata: metadata(resolved, names::base(&resolved.name)),
        spec: Some(StatefulSetSpec {
            replicas: Some(size),
            service_name: Some(names::base(&resolved.name)),
            pod_management_policy: Some("Parallel".to_owned()),
            // Whoever deletes the StatefulSet by hand gets it back with its data.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            selector: LabelSelector { match_labels: Some(names::selector(&resolved.name)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(pod(resolved)),
            },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some(if rolls { "RollingUpdate" } else { "OnDelete" }.to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            volume_claim_templates: claim_templates(resolved, live),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim_templates(resolved: &Resolved, live: Option<&StatefulSet>) -> Option<Vec<PersistentVolumeClaim>> {
    if let Some(live) = live.and_then(|live| live.spec.as_ref()) {
        return live.volume_claim_templates.clone();
    }
    let Storage::Persistent { size, storage_class } = &resolved.storage else { return None };
    Some(vec![PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(DATA.to_owned()),
            labels: Some(names::labels(&resolved.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage_class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }])
}

fn pod(resolved: &Resolved) -> PodSpec {
    let spec = &resolved.cluster.spec;
    let mut volumes = vec![Volume {
        name: PKI.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(EtcdSecret::Member.name(&resolved.name)),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if let Storage::Ephemeral { size_limit } = &resolved.storage {
        volumes.push(Volume {
            name: DATA.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { size_limit: size_limit.clone(), ..EmptyDirVolumeSource::default() }),
            ..Volume::default()
        });
    }
    PodSpec {
        affinity: Some(spec.affinity.clone().unwrap_or_else(|| spread(resolved))),
        automount_service_account_token: Some(false),
        containers: vec![container(resolved)],
        enable_service_links: Some(false),
        node_selector: spec.node_selector.clone().filter(|selector| !selector.is_empty()),
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            // A large volume is not walked at every start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        // On SIGTERM etcd hands its leadership over before it ends.
        termination_grace_period_seconds: Some(30),
        tolerations: spec.tolerations.clone().filter(|tolerations| !tolerations.is_empty()),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn spread(resolved: &Resolved) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(names::selector(&resolved.name)),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                pod_affinity_term: term,
                weight: 100,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn container(resolved: &Resolved) -> Container {
    let port = |name: &str, port: i32| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(resolved.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/usr/local/bin/etcd".to_owned()]),
        args: Some(arguments(resolved)),
        env: Some(environment(resolved)),
        ports: Some(vec![
            port(service::CLIENT, ports::ETCD_CLIENT),
            port(service::PEER, ports::ETCD_PEER),
            port("metrics", METRICS),
        ]),
        // A member that loads a large database, or waits for its peers, is alive for ten minutes before it serves.
        startup_probe: Some(probe("/livez", 1, 600)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 1, 3)),
        resources: resolved.cluster.spec.resources.clone(),
        security_context: Some(restricted(&[])),
        volume_mounts: Some(vec![mount(DATA, DATA_MOUNT, false), mount(PKI, PKI_MOUNT, true)]),
        ..Container::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(METRICS),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        success_threshold: Some(1),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// etcd's flags. How an empty member starts is not among them: see [`record`].
pub fn arguments(resolved: &Resolved) -> Vec<String> {
    let host = format!("$(POD_NAME).{}.{}.svc", names::base(&resolved.name), resolved.namespace);
    let pki = |file: &str| format!("{PKI_MOUNT}/{file}");
    // Go listens on both families for either family's unspecified address, and on IPv4 alone where there is no IPv6.
    let listen = |scheme: &str, port: i32| format!("{scheme}://0.0.0.0:{port}");
    let url = |port: i32| format!("https://{host}:{port}");
    let flags = [
        ("name", "$(POD_NAME)".to_owned()),
        ("data-dir", format!("{DATA_MOUNT}/{DATA}")),
        ("listen-client-urls", listen("https", ports::ETCD_CLIENT)),
        ("advertise-client-urls", url(ports::ETCD_CLIENT)),
        ("listen-peer-urls", listen("https", ports::ETCD_PEER)),
        ("initial-advertise-peer-urls", url(ports::ETCD_PEER)),
        ("listen-metrics-urls", listen("http", METRICS)),
        ("client-cert-auth", "true".to_owned()),
        ("trusted-ca-file", pki(files::CA)),
        ("cert-file", pki(files::SERVER_CERT)),
        ("key-file", pki(files::SERVER_KEY)),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-trusted-ca-file", pki(files::PEER_CA)),
        ("peer-cert-file", pki(files::PEER_CERT)),
        ("peer-key-file", pki(files::PEER_KEY)),
        // The peer authority signs members alone. Looking up every name of the certificate instead would shut a new
        // member out until DNS knows its address.
        ("peer-skip-client-san-verification", "true".to_owned()),
        // The gateway would act under the server's own certificate.
        ("enable-grpc-gateway", "false".to_owned()),
        ("auto-compaction-mode", "periodic".to_owned()),
        // Tenants compact nothing: they are started with --etcd-compaction-interval=0.
        ("auto-compaction-retention", "5m".to_owned()),
        ("quota-backend-bytes", resolved.quota_bytes.to_string()),
        // A member that is being defragmented answers nothing: let its clients go elsewhere.
        ("feature-gates", "StopGRPCServiceOnDefrag=true".to_owned()),
        // As kubeadm sets it, for kube-apiserver's consistent lists from cache.
        ("watch-progress-notify-interval", "5s".to_owned()),
    ];
    flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn environment(resolved: &Resolved) -> Vec<EnvVar> {
    let recorded = |key: &str| EnvVar {
        name: key.to_owned(),
        value_from: Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: names::base(&resolved.name),
                key: key.to_owned(),
                ..ConfigMapKeySelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    vec![
        EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
        recorded(record::INITIAL_CLUSTER),
        recorded(record::INITIAL_CLUSTER_STATE),
        recorded(record::INITIAL_CLUSTER_TOKEN),
    ]
}
