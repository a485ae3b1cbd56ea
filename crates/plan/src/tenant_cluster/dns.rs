//! Where a tenant's DNS answers.

use std::net::IpAddr;

use crate::{address::Cidr, resolved::Resolved, trouble::Trouble};

/// The range that kube-apiserver takes when it is given none.
const API_SERVER_RANGE: &str = "10.0.0.0/24";
/// kubeadm gives DNS the tenth address of the first service range.
const INDEX: u32 = 10;

/// Address of the Service `kube-dns`: the tenth of the first service range (kubeadm v1beta4), counted from the network
/// address. `None` when the range has no tenth address.
pub fn service_address(resolved: &Resolved) -> Option<IpAddr> {
    ranges(resolved).first()?.nth(INDEX)
}

/// The addresses that kubelets tell pods to ask, in the user's order: those of `spec.networkProfile.dnsServiceIPs` that
/// can be a Service's, else [`service_address`]. Each once; empty only when there is no such address either.
pub fn addresses(resolved: &Resolved) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in listed(resolved).filter_map(Result::ok) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        addresses.extend(service_address(resolved));
    }
    addresses
}

/// What is wrong with `spec.networkProfile.dnsServiceIPs`: the first entry that is no address, or lies outside of every
/// service range.
pub fn trouble(resolved: &Resolved) -> Option<Trouble> {
    let message = listed(resolved).find_map(Result::err)?;
    Some(Trouble::new("InvalidDNSServiceIP", message))
}

fn listed(resolved: &Resolved) -> impl Iterator<Item = Result<IpAddr, String>> + '_ {
    let profile = resolved.tenant.spec.network_profile.as_ref();
    let listed = profile.and_then(|profile| profile.dns_service_ips.as_deref()).unwrap_or_default();
    listed.iter().enumerate().map(move |(index, text)| {
        let wrong = |sentence: String| format!("spec.networkProfile.dnsServiceIPs[{index}]: {sentence}");
        let address: IpAddr = text
            .parse()
            .map_err(|_| wrong(format!("\"{text}\" is not an IP address; it is left out until you correct it")))?;
        if ranges(resolved).iter().any(|range| range.contains(address)) {
            return Ok(address);
        }
        let ranges = &resolved.network.service_cidrs;
        let ranges = if ranges.is_empty() { API_SERVER_RANGE.to_owned() } else { ranges.join(", ") };
        Err(wrong(format!("{text} lies in no service range ({ranges}); it is left out until you choose one inside")))
    })
}

fn ranges(resolved: &Resolved) -> Vec<Cidr> {
    let ranges: Vec<Cidr> = resolved.network.service_cidrs.iter().filter_map(|range| Cidr::parse(range)).collect();
    if ranges.is_empty() { Cidr::parse(API_SERVER_RANGE).into_iter().collect() } else { ranges }
}
