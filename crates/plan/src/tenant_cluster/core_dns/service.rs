//! The Service `kube-dns`, and which addresses it has.

use std::net::IpAddr;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::SELECTOR;
use crate::{
    resolved::Resolved,
    tenant_cluster::{dns, object},
    trouble::Trouble,
};

/// Name of the Service.
const NAME: &str = "kube-dns";

/// The Service. An address that nodes are told and that CoreDNS does not answer at becomes a trouble.
pub(super) fn service(resolved: &Resolved, troubles: &mut Vec<Trouble>) -> Service {
    let told = dns::addresses(resolved);
    let addresses = addresses(resolved, &told);
    troubles.extend(trouble(&told, &addresses));
    let port = |name: &str, number: i32, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(number)),
        ..ServicePort::default()
    };
    let labels = [SELECTOR, ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];
    let mut metadata = object::namespaced(NAME, &labels);
    metadata.annotations = Some(object::map(&[("prometheus.io/port", "9153"), ("prometheus.io/scrape", "true")]));
    let mut spec = ServiceSpec {
        ports: Some(vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")]),
        selector: Some(object::map(&[SELECTOR])),
        ..ServiceSpec::default()
    };
    address(&mut spec, &addresses);
    Service { metadata, spec: Some(spec), ..Service::default() }
}

/// Writes every field that depends on the addresses, so that a Service that loses its second family loses it whole.
fn address(spec: &mut ServiceSpec, addresses: &[IpAddr]) {
    let Some(first) = addresses.first() else { return };
    let family = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned();
    let policy = if addresses.len() > 1 { "PreferDualStack" } else { "SingleStack" };
    spec.cluster_ip = Some(first.to_string());
    spec.cluster_ips = Some(addresses.iter().map(ToString::to_string).collect());
    spec.ip_families = Some(addresses.iter().map(family).collect());
    spec.ip_family_policy = Some(policy.to_owned());
}

/// The Service's addresses: kubeadm's, then the first of the other family that nodes are told. A Service has at most
/// one address of a family, the primary family's first.
fn addresses(resolved: &Resolved, told: &[IpAddr]) -> Vec<IpAddr> {
    let Some(primary) = dns::service_address(resolved).or_else(|| told.first().copied()) else { return Vec::new() };
    let second = told.iter().copied().find(|address| address.is_ipv4() != primary.is_ipv4());
    [primary].into_iter().chain(second).collect()
}

fn trouble(told: &[IpAddr], addresses: &[IpAddr]) -> Option<Trouble> {
    const FIELD: &str = "spec.networkProfile.dnsServiceIPs";
    let Some(first) = addresses.first() else {
        let message = format!(
            "{FIELD}: the first service range has no tenth address for the Service kube-dns, so nodes do not know where \
             CoreDNS answers; list an address of a service range here, or widen spec.networkProfile.serviceCidrs"
        );
        return Some(Trouble::new("NoDNSServiceIP", message));
    };
    // One address that answers is enough: a resolver asks the next.
    if told.is_empty() || told.iter().any(|address| addresses.contains(address)) {
        return None;
    }
    let asked = told.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "{FIELD}: nodes ask {asked}, and CoreDNS answers at {first}; list {first}, or remove spec.addons.coreDNS and run \
         another DNS server where nodes ask"
    );
    Some(Trouble::new("UnservedDNSServiceIP", message))
}
