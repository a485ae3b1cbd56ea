//! The Service in front of a tenant's API servers (docs/reference/compatibility.md, "Service").

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kamaji_api::{
    contract,
    tenant_control_plane::{NetworkProfileSpec, PortProtocol, ServiceType},
};

use super::metadata;
use crate::{rejection::Rejection, resolved::Resolved};

/// Component label of the Service.
pub const COMPONENT: &str = "service";

/// The Service that the specification asks for. `live` tells which address a ClusterIP Service has already.
pub fn service(resolved: &Resolved, live: Option<&Service>) -> Service {
    let spec = &resolved.tenant.spec.control_plane.service;
    let profile = resolved.tenant.spec.network_profile.as_ref();
    let mut metadata = metadata::owned(resolved, resolved.name.clone(), COMPONENT);
    if let Some(additional) = &spec.additional_metadata {
        metadata::merge_user(&mut metadata, additional.labels.as_ref(), additional.annotations.as_ref());
    }
    let balanced = spec.service_type == ServiceType::LoadBalancer;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(spec.service_type.as_str().to_owned()),
            selector: Some(BTreeMap::from([(contract::labels::NAME.to_owned(), resolved.name.clone())])),
            ports: Some(ports(resolved)),
            external_ips: external_ips(resolved, profile, live),
            allocate_load_balancer_node_ports: balanced.then(|| spec.allocate_load_balancer_node_ports.unwrap_or(true)),
            load_balancer_class: profile.filter(|_| balanced).and_then(|profile| profile.load_balancer_class.clone()),
            load_balancer_source_ranges: profile
                .filter(|_| balanced)
                .and_then(|profile| profile.load_balancer_source_ranges.clone())
                .filter(|ranges| !ranges.is_empty()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn ports(resolved: &Resolved) -> Vec<ServicePort> {
    let node_port = resolved.tenant.spec.control_plane.service.service_type == ServiceType::NodePort;
    let port = |name: &str, port: i32| ServicePort {
        name: Some(name.to_owned()),
        protocol: Some("TCP".to_owned()),
        port,
        target_port: Some(IntOrString::Int(port)),
        node_port: node_port.then_some(port),
        ..ServicePort::default()
    };
    let mut ports = vec![port("kube-apiserver", i32::from(resolved.network.port))];
    ports.extend(resolved.konnectivity.as_ref().map(|konnectivity| port("konnectivity-server", konnectivity.port)));
    for extra in resolved.tenant.spec.control_plane.service.additional_ports.iter().flatten() {
        ports.push(ServicePort {
            name: Some(extra.name.clone()),
            protocol: Some(extra.protocol.as_ref().map_or("TCP", PortProtocol::as_str).to_owned()),
            app_protocol: extra.app_protocol.clone().filter(|protocol| !protocol.is_empty()),
            port: extra.port,
            target_port: Some(extra.target_port.clone()),
            node_port: None,
        });
    }
    ports
}

fn external_ips(
    resolved: &Resolved,
    profile: Option<&NetworkProfileSpec>,
    live: Option<&Service>,
) -> Option<Vec<String>> {
    let allowed = profile.and_then(|profile| profile.allow_address_as_external_ip).unwrap_or(false);
    let kind = &resolved.tenant.spec.control_plane.service.service_type;
    if !allowed || *kind == ServiceType::LoadBalancer {
        return None;
    }
    let address = resolved.network.address.or_else(|| live.and_then(|live| address(resolved, live).ok().flatten()));
    address.map(|address| vec![address.to_string()])
}

/// The address under which the tenant is reached, as far as the Service knows it.
///
/// `Ok(None)` means that something has yet to assign it.
///
/// # Errors
/// A sentence when waiting cannot help.
pub fn address(resolved: &Resolved, live: &Service) -> Result<Option<IpAddr>, String> {
    if let Some(declared) = resolved.network.address {
        return Ok(Some(declared));
    }
    match &resolved.tenant.spec.control_plane.service.service_type {
        ServiceType::ClusterIp => {
            let ip = live.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
            Ok(ip.and_then(|ip| ip.parse().ok()))
        }
        ServiceType::LoadBalancer => balancer_address(live),
        ServiceType::NodePort => Err("spec.networkProfile.address: a NodePort Service has no address of its own; set \
                                      the address of the nodes"
            .to_owned()),
        ServiceType::Other(other) => {
            Err(format!("spec.controlPlane.service.serviceType: \"{other}\" is not a Service type"))
        }
    }
}

/// The rejection for a port that the management cluster does not have among its node ports. `field` and `message` are a
/// cause of the API server's refusal of the Service; `None` for another one.
pub fn out_of_range(resolved: &Resolved, field: &str, message: &str) -> Option<Rejection> {
    let (_, range) = message.split_once("The range of valid ports is ")?;
    let index: usize = field.strip_prefix("spec.ports[")?.strip_suffix("].nodePort")?.parse().ok()?;
    let port = ports(resolved).get(index)?.port;
    let field = match &resolved.konnectivity {
        Some(_) if index == 1 => "spec.addons.konnectivity.server.port",
        _ => "spec.networkProfile.port",
    };
    let message = format!(
        "{port} is none of the node ports of the management cluster ({range}), which a Service of type NodePort needs; \
         choose one of these"
    );
    Some(Rejection::new("PortOutOfRange", field, message))
}

fn balancer_address(live: &Service) -> Result<Option<IpAddr>, String> {
    let status = live.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    if let Some(address) = entries.iter().find_map(|entry| entry.ip.as_deref()?.parse().ok()) {
        return Ok(Some(address));
    }
    match entries.iter().find_map(|entry| entry.hostname.as_deref()) {
        None => Ok(None),
        Some(host) => Err(format!(
            "spec.networkProfile.address: the load balancer answers with the host name {host}, which this release \
             cannot use; set the address that it resolves to"
        )),
    }
}
