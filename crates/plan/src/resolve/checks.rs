//! The rules that a specification must follow, each with its sentence.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::VolumeMount;
use kamaji_api::{
    TenantControlPlane, TenantControlPlaneSpec,
    tenant_control_plane::{NetworkProfileSpec, NodeAddressType, ServiceType},
};

use super::lists;
use crate::{
    address::{Cidr, is_dns_label, is_dns_name},
    component,
    internal_ca::VOLUME as INTERNAL_CA_VOLUME,
    rejection::Rejection,
    resolved::{DEFAULT_PORT, Network},
};

fn invalid(field: impl Into<String>, message: impl Into<String>) -> Rejection {
    Rejection::new("InvalidSpec", field, message)
}

/// The name becomes a Service's name and a label's value.
pub fn name(name: &str) -> Result<(), Rejection> {
    const FIELD: &str = "metadata.name";
    if name.len() > 63 {
        return Err(invalid(
            FIELD,
            format!("\"{name}\" has {} characters, and a label holds at most 63; choose a shorter name", name.len()),
        ));
    }
    if !is_dns_label(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(invalid(
            FIELD,
            format!(
                "\"{name}\" cannot name a Service; use lower-case letters, digits and dashes, beginning with a letter"
            ),
        ));
    }
    Ok(())
}

/// Checks the network profile and fills in its defaults.
pub fn network(tenant: &TenantControlPlane) -> Result<Network, Rejection> {
    let spec = &tenant.spec;
    if let ServiceType::Other(other) = &spec.control_plane.service.service_type {
        return Err(invalid(
            "spec.controlPlane.service.serviceType",
            format!("\"{other}\" is not one of ClusterIP, NodePort, LoadBalancer"),
        ));
    }
    let empty = NetworkProfileSpec::default();
    let profile = spec.network_profile.as_ref().unwrap_or(&empty);
    let field = |name: &str| format!("spec.networkProfile.{name}");
    let port = match profile.port {
        None => DEFAULT_PORT,
        Some(port) => u16::try_from(port)
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| invalid(field("port"), format!("{port} is not a port; choose one from 1 to 65535")))?,
    };
    let cluster_domain = profile.cluster_domain.clone().unwrap_or_else(|| "cluster.local".to_owned());
    if !is_dns_name(&cluster_domain, false) {
        return Err(invalid(field("clusterDomain"), format!("\"{cluster_domain}\" is not a DNS name")));
    }
    let service_cidrs = cidrs(
        profile.service_cidrs.as_deref(),
        profile.service_cidr.as_deref(),
        ("10.96.0.0/16", spec.network_profile.is_none()),
        "spec.networkProfile.serviceCidr",
    )?;
    let pod_cidrs = cidrs(
        profile.pod_cidrs.as_deref(),
        profile.pod_cidr.as_deref(),
        ("10.244.0.0/16", spec.network_profile.is_none()),
        "spec.networkProfile.podCidr",
    )?;
    let kubernetes_service_ip = match service_cidrs.first().and_then(|text| Cidr::parse(text)) {
        None => None,
        Some(range) => Some(range.nth(1).ok_or_else(|| {
            invalid(field("serviceCidrs"), "the first range has no room for the Service kubernetes; widen it")
        })?),
    };
    Ok(Network {
        port,
        address: address(profile.address.as_deref(), &field("address"))?,
        advertise_address: address(profile.advertise_address.as_deref(), &field("advertiseAddress"))?,
        public_host: public_host(spec, port)?,
        cluster_domain,
        service_cidrs,
        pod_cidrs,
        kubernetes_service_ip,
        cert_sans: cert_sans(profile)?,
    })
}

fn address(text: Option<&str>, field: &str) -> Result<Option<IpAddr>, Rejection> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(invalid(field, format!("\"{text}\" is not an IP address"))),
        },
    }
}

/// The plural list wins over the deprecated singular field. A range that both leave out has the CRD's default only when
/// the whole profile is absent, because then the API server could not fill it in.
fn cidrs(
    plural: Option<&[String]>,
    singular: Option<&str>,
    (default, profile_is_absent): (&str, bool),
    field: &str,
) -> Result<Vec<String>, Rejection> {
    let plural = plural.filter(|list| !list.is_empty());
    let singular = singular.filter(|text| !text.is_empty());
    let mut ranges: Vec<String> = match (plural, singular) {
        (Some(list), _) => list.to_vec(),
        (None, Some(text)) => vec![text.to_owned()],
        (None, None) if profile_is_absent => vec![default.to_owned()],
        (None, None) => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    ranges.retain(|range| seen.insert(range.clone()));
    let mut families = BTreeSet::new();
    for (index, text) in ranges.iter().enumerate() {
        let field = if plural.is_some() { format!("{field}s[{index}]") } else { field.to_owned() };
        let range = Cidr::parse(text)
            .ok_or_else(|| invalid(&field, format!("\"{text}\" is not a range; write it like {default}")))?;
        if !families.insert(range.address.is_ipv4()) {
            return Err(invalid(field, "two ranges of one address family; give at most one IPv4 and one IPv6 range"));
        }
    }
    Ok(ranges)
}

fn cert_sans(profile: &NetworkProfileSpec) -> Result<Vec<String>, Rejection> {
    let sans = profile.cert_sans.clone().unwrap_or_default();
    for (index, san) in sans.iter().enumerate() {
        if san.parse::<IpAddr>().is_err() && !is_dns_name(san, true) {
            return Err(invalid(
                format!("spec.networkProfile.certSANs[{index}]"),
                format!("\"{san}\" is neither an IP address nor a DNS name; a port does not belong here"),
            ));
        }
    }
    Ok(sans)
}

fn public_host(spec: &TenantControlPlaneSpec, port: u16) -> Result<Option<(String, u16)>, Rejection> {
    let ingress = spec.control_plane.ingress.as_ref().and_then(|ingress| ingress.hostname.as_deref());
    let gateway = spec.control_plane.gateway.as_ref().and_then(|gateway| gateway.hostname.as_deref());
    let (field, host) = match (ingress.filter(|h| !h.is_empty()), gateway.filter(|h| !h.is_empty())) {
        (Some(host), _) => ("spec.controlPlane.ingress.hostname", host),
        (None, Some(host)) => ("spec.controlPlane.gateway.hostname", host),
        (None, None) => return Ok(None),
    };
    let (name, port) = match host.split_once(':') {
        None => (host, port),
        Some((name, text)) => match text.parse::<u16>() {
            Ok(port) if port != 0 => (name, port),
            _ => return Err(invalid(field, format!("\"{host}\" has no usable port; write host or host:port"))),
        },
    };
    if name.parse::<IpAddr>().is_err() && !is_dns_name(name, true) {
        return Err(invalid(field, format!("\"{name}\" is not a DNS name")));
    }
    Ok(Some((name.to_owned(), port)))
}

/// Which node addresses kube-apiserver prefers.
pub fn preferred_address_types(spec: &TenantControlPlaneSpec) -> Result<Vec<String>, Rejection> {
    let Some(types) = spec.kubernetes.kubelet.preferred_address_types.as_ref().filter(|types| !types.is_empty()) else {
        return Ok(["InternalIP", "ExternalIP", "Hostname"].map(str::to_owned).to_vec());
    };
    for (index, kind) in types.iter().enumerate() {
        if let NodeAddressType::Other(other) = kind {
            return Err(invalid(
                format!("spec.kubernetes.kubelet.preferredAddressTypes[{index}]"),
                format!("\"{other}\" is not one of Hostname, InternalIP, ExternalIP, InternalDNS, ExternalDNS"),
            ));
        }
    }
    Ok(types.iter().map(|kind| kind.as_str().to_owned()).collect())
}

/// Names and paths in the pod that a user's additions must not take. With `internal_ca`, every container has the
/// directories of certificate authorities; with `kine`, there is its socket.
pub fn deployment(spec: &TenantControlPlaneSpec, internal_ca: bool, kine: bool) -> Result<(), Rejection> {
    let Some(deployment) = &spec.control_plane.deployment else { return Ok(()) };
    let field = |name: &str| format!("spec.controlPlane.deployment.{name}");
    if let Some(replicas) = deployment.replicas.filter(|&replicas| replicas < 0) {
        return Err(invalid(field("replicas"), format!("{replicas} is negative; 0 puts the tenant to sleep")));
    }
    let mut containers: BTreeSet<&str> = [
        component::kube_apiserver::NAME,
        component::kube_scheduler::NAME,
        component::kube_controller_manager::NAME,
        component::konnectivity::NAME,
    ]
    .into();
    for (list, items) in [
        ("additionalInitContainers", &deployment.additional_init_containers),
        ("additionalContainers", &deployment.additional_containers),
    ] {
        for (index, container) in items.iter().flatten().enumerate() {
            if !containers.insert(&container.name) {
                return Err(invalid(
                    format!("{}[{index}].name", field(list)),
                    format!("a container named \"{}\" is in the pod already; rename it", container.name),
                ));
            }
        }
    }
    let mut volumes: BTreeSet<&str> = component::trust::DIRECTORIES.iter().map(|(volume, _)| *volume).collect();
    volumes.extend([
        component::mount::API_SERVER_PKI_VOLUME,
        component::kube_controller_manager::PKI_VOLUME,
        component::kube_controller_manager::KUBECONFIG_VOLUME,
        component::kube_scheduler::KUBECONFIG_VOLUME,
        component::konnectivity::SOCKET_VOLUME,
        component::konnectivity::EGRESS_SELECTOR_VOLUME,
        component::konnectivity::KUBECONFIG_VOLUME,
        component::konnectivity::PKI_VOLUME,
    ]);
    volumes.extend(internal_ca.then_some(INTERNAL_CA_VOLUME));
    volumes.extend(component::kine::VOLUMES.into_iter().filter(|_| kine));
    for (index, volume) in deployment.additional_volumes.iter().flatten().enumerate() {
        if !volumes.insert(&volume.name) {
            return Err(invalid(
                format!("{}[{index}].name", field("additionalVolumes")),
                format!("a volume named \"{}\" is in the pod already; rename it", volume.name),
            ));
        }
    }
    let mounts = deployment.additional_volume_mounts.clone().unwrap_or_default();
    let trust = || component::trust::DIRECTORIES.iter().map(|(_, path)| *path);
    let in_api_server =
        trust().chain(["/etc/kubernetes/pki", "/run/konnectivity", "/etc/kubernetes/konnectivity/configurations"]);
    let in_controller_manager = trust().chain(["/etc/kubernetes", "/etc/kubernetes/pki"]);
    let in_scheduler = trust().filter(|_| internal_ca).chain(["/etc/kubernetes"]);
    let in_all = || internal_ca.then_some(component::trust::INTERNAL_PATH);
    lists::deployment(deployment)?;
    let in_api_server = in_api_server.chain(in_all()).chain(kine.then_some(component::kine::SOCKET_PATH));
    mount_paths("apiServer", mounts.api_server.as_deref(), in_api_server.collect())?;
    let in_controller_manager = in_controller_manager.chain(in_all()).collect();
    mount_paths("controllerManager", mounts.controller_manager.as_deref(), in_controller_manager)?;
    mount_paths("scheduler", mounts.scheduler.as_deref(), in_scheduler.chain(in_all()).collect())
}

fn mount_paths(component: &str, mounts: Option<&[VolumeMount]>, taken: BTreeSet<&str>) -> Result<(), Rejection> {
    let mut taken = taken;
    for (index, mount) in mounts.unwrap_or_default().iter().enumerate() {
        if !taken.insert(mount.mount_path.as_str()) {
            return Err(invalid(
                format!("spec.controlPlane.deployment.additionalVolumeMounts.{component}[{index}].mountPath"),
                format!("\"{}\" is mounted already; choose another path", mount.mount_path),
            ));
        }
    }
    Ok(())
}
