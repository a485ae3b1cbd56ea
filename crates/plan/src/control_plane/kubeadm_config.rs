//! The ConfigMap `<tcp>-kubeadmconfig`: kubeadm's view of the tenant, in the encoding of its internal Go structs.
//!
//! Nothing outside an operator reads it, but running tenants have it, so the bytes stay those that they know
//! (docs/reference/compatibility.md, "kubeadm configuration").

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use crate::{
    control_plane::{metadata, names},
    exposed::Exposed,
    resolved::Resolved,
};

/// Component label of the ConfigMap.
pub const COMPONENT: &str = "kubeadmconfig";

/// Where kubeadm keeps certificates.
pub(crate) const CERTIFICATES_DIR: &str = "/etc/kubernetes/pki";
/// Where kubeadm takes images from.
pub(crate) const IMAGE_REPOSITORY: &str = "registry.k8s.io";
/// How long kubeadm's certificates are valid.
pub(crate) const CERTIFICATE_VALIDITY: &str = "8760h0m0s";
/// How long kubeadm's authorities are valid.
pub(crate) const AUTHORITY_VALIDITY: &str = "87600h0m0s";

/// The ConfigMap with its two documents and their checksum.
pub fn config_map(resolved: &Resolved, exposed: &Exposed, algorithm: &str) -> ConfigMap {
    let data = BTreeMap::from([
        ("ClusterConfiguration".to_owned(), line(&cluster_configuration(resolved, exposed, algorithm))),
        ("InitConfiguration".to_owned(), line(&init_configuration(exposed))),
    ]);
    let mut metadata = metadata::owned(resolved, names::kubeadm_config(&resolved.name), COMPONENT);
    let values = data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
    metadata::set_checksum(&mut metadata, kamaji_pki::checksum::map(&values));
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// The names that the API server's certificate carries because kubeadm's `apiServer.certSANs` lists them, in order.
pub fn cert_sans(resolved: &Resolved, exposed: &Exposed) -> Vec<String> {
    let (name, namespace) = (&resolved.name, &resolved.namespace);
    let mut sans = vec![
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        name.clone(),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
        exposed.address.to_string(),
    ];
    sans.extend(resolved.network.cert_sans.iter().cloned());
    sans.extend(
        resolved.network.advertise_address.filter(|address| *address != exposed.address).map(|a| a.to_string()),
    );
    sans
}

/// The flags of kube-apiserver that kubeadm is told of, name and value; for information only.
pub(crate) fn api_server_arguments(resolved: &Resolved) -> [(&'static str, String); 2] {
    [("etcd-compaction-interval", "0s".to_owned()), ("etcd-prefix", format!("/{}", resolved.name))]
}

fn line<T: Serialize>(value: &T) -> String {
    // These structs hold only strings, numbers and lists of them: serialising cannot fail.
    serde_json::to_string(value).map(|json| json + "\n").unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InitConfiguration {
    bootstrap_tokens: [BootstrapToken; 1],
    dry_run: bool,
    node_registration: NodeRegistration,
    #[serde(rename = "LocalAPIEndpoint")]
    local_api_endpoint: LocalApiEndpoint,
    certificate_key: &'static str,
    skip_phases: (),
    patches: (),
    timeouts: Timeouts,
}

#[derive(Serialize)]
struct BootstrapToken {
    token: &'static str,
    ttl: &'static str,
    usages: [&'static str; 2],
    groups: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeRegistration {
    name: &'static str,
    #[serde(rename = "CRISocket")]
    cri_socket: &'static str,
    taints: (),
    kubelet_extra_args: (),
    ignore_preflight_errors: (),
    #[serde(rename = "imagePullPolicy")]
    image_pull_policy: &'static str,
    image_pull_serial: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LocalApiEndpoint {
    advertise_address: String,
    bind_port: u16,
}

#[derive(Serialize)]
struct Timeouts {
    #[serde(rename = "ControlPlaneComponentHealthCheck")]
    control_plane_component_health_check: &'static str,
    #[serde(rename = "KubeletHealthCheck")]
    kubelet_health_check: &'static str,
    #[serde(rename = "KubernetesAPICall")]
    kubernetes_api_call: &'static str,
    #[serde(rename = "EtcdAPICall")]
    etcd_api_call: &'static str,
    #[serde(rename = "TLSBootstrap")]
    tls_bootstrap: &'static str,
    #[serde(rename = "Discovery")]
    discovery: &'static str,
    #[serde(rename = "UpgradeManifests")]
    upgrade_manifests: &'static str,
}

fn init_configuration(exposed: &Exposed) -> InitConfiguration {
    InitConfiguration {
        // A placeholder that kubeadm's defaulting demands; it is never created in a tenant.
        bootstrap_tokens: [BootstrapToken {
            token: "abcdef.0123456789abcdef",
            ttl: "24h0m0s",
            usages: ["signing", "authentication"],
            groups: ["system:bootstrappers:kubeadm:default-node-token"],
        }],
        dry_run: false,
        node_registration: NodeRegistration {
            name: "node",
            cri_socket: "unix:///var/run/containerd/containerd.sock",
            taints: (),
            kubelet_extra_args: (),
            ignore_preflight_errors: (),
            image_pull_policy: "IfNotPresent",
            image_pull_serial: true,
        },
        local_api_endpoint: LocalApiEndpoint {
            advertise_address: exposed.address.to_string(),
            bind_port: exposed.port,
        },
        certificate_key: "",
        skip_phases: (),
        patches: (),
        timeouts: Timeouts {
            control_plane_component_health_check: "4m0s",
            kubelet_health_check: "4m0s",
            kubernetes_api_call: "1m0s",
            etcd_api_call: "2m0s",
            tls_bootstrap: "5m0s",
            discovery: "5m0s",
            upgrade_manifests: "5m0s",
        },
    }
}

#[derive(Serialize)]
struct ClusterConfiguration<'a> {
    #[serde(rename = "ComponentConfigs")]
    component_configs: (),
    #[serde(rename = "Etcd")]
    etcd: Etcd<'a>,
    #[serde(rename = "Networking")]
    networking: Networking<'a>,
    #[serde(rename = "KubernetesVersion")]
    kubernetes_version: &'a str,
    #[serde(rename = "CIKubernetesVersion")]
    ci_kubernetes_version: &'static str,
    #[serde(rename = "ControlPlaneEndpoint")]
    control_plane_endpoint: &'a str,
    #[serde(rename = "APIServer")]
    api_server: ApiServer,
    #[serde(rename = "ControllerManager")]
    controller_manager: Component,
    #[serde(rename = "Scheduler")]
    scheduler: Component,
    #[serde(rename = "DNS")]
    dns: Dns,
    #[serde(rename = "Proxy")]
    proxy: Proxy,
    #[serde(rename = "CertificatesDir")]
    certificates_dir: &'static str,
    #[serde(rename = "ImageRepository")]
    image_repository: &'static str,
    #[serde(rename = "CIImageRepository")]
    ci_image_repository: &'static str,
    #[serde(rename = "FeatureGates")]
    feature_gates: (),
    #[serde(rename = "ClusterName")]
    cluster_name: &'a str,
    #[serde(rename = "EncryptionAlgorithm")]
    encryption_algorithm: &'a str,
    #[serde(rename = "CertificateValidityPeriod")]
    certificate_validity_period: &'static str,
    #[serde(rename = "CACertificateValidityPeriod")]
    ca_certificate_validity_period: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Etcd<'a> {
    local: (),
    external: ExternalEtcd<'a>,
}

#[derive(Serialize)]
struct ExternalEtcd<'a> {
    #[serde(rename = "Endpoints")]
    endpoints: Cow<'a, [String]>,
    #[serde(rename = "HTTPEndpoints")]
    http_endpoints: (),
    #[serde(rename = "CAFile")]
    ca_file: &'static str,
    #[serde(rename = "CertFile")]
    cert_file: &'static str,
    #[serde(rename = "KeyFile")]
    key_file: &'static str,
}

#[derive(Serialize)]
struct Networking<'a> {
    #[serde(rename = "ServiceSubnet")]
    service_subnet: String,
    #[serde(rename = "PodSubnet")]
    pod_subnet: String,
    #[serde(rename = "DNSDomain")]
    dns_domain: &'a str,
}

#[derive(Serialize)]
struct ApiServer {
    #[serde(rename = "ExtraArgs")]
    extra_args: [Argument; 2],
    #[serde(rename = "ExtraVolumes")]
    extra_volumes: (),
    #[serde(rename = "ExtraEnvs")]
    extra_envs: (),
    #[serde(rename = "CertSANs")]
    cert_sans: Vec<String>,
    #[serde(rename = "TimeoutForControlPlane")]
    timeout_for_control_plane: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Argument {
    name: &'static str,
    value: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    extra_args: (),
    extra_volumes: (),
    extra_envs: (),
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dns {
    image_repository: &'static str,
    image_tag: &'static str,
    disabled: bool,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Proxy {
    disabled: bool,
}

/// kubeadm knows etcd only: where kine is in between, it is told what kine would answer on.
fn etcd_endpoints(resolved: &Resolved) -> Cow<'_, [String]> {
    match resolved.store.kine {
        Some(_) => Cow::Owned(vec!["127.0.0.1:2379".to_owned()]),
        None => Cow::Borrowed(&resolved.store.endpoints),
    }
}

fn cluster_configuration<'a>(
    resolved: &'a Resolved,
    exposed: &'a Exposed,
    algorithm: &'a str,
) -> ClusterConfiguration<'a> {
    ClusterConfiguration {
        component_configs: (),
        etcd: Etcd {
            local: (),
            external: ExternalEtcd {
                endpoints: etcd_endpoints(resolved),
                http_endpoints: (),
                ca_file: "",
                cert_file: "",
                key_file: "",
            },
        },
        networking: Networking {
            service_subnet: resolved.network.service_cidrs.join(","),
            pod_subnet: resolved.network.pod_cidrs.join(","),
            dns_domain: &resolved.network.cluster_domain,
        },
        kubernetes_version: resolved.version.as_str(),
        ci_kubernetes_version: "",
        control_plane_endpoint: &exposed.public_endpoint,
        api_server: ApiServer {
            extra_args: api_server_arguments(resolved).map(|(name, value)| Argument { name, value }),
            extra_volumes: (),
            extra_envs: (),
            cert_sans: cert_sans(resolved, exposed),
            timeout_for_control_plane: "0s",
        },
        controller_manager: Component::default(),
        scheduler: Component::default(),
        dns: Dns::default(),
        proxy: Proxy::default(),
        certificates_dir: CERTIFICATES_DIR,
        image_repository: IMAGE_REPOSITORY,
        ci_image_repository: "",
        feature_gates: (),
        cluster_name: &resolved.name,
        encryption_algorithm: algorithm,
        certificate_validity_period: CERTIFICATE_VALIDITY,
        ca_certificate_validity_period: AUTHORITY_VALIDITY,
    }
}
