//! Where a tenant's API is reached.

use std::net::IpAddr;

use crate::{address::join_host_port, resolved::Resolved};

/// The outcome of the expose step: the tenant has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Address inside the management network that the Service answers on.
    pub address: IpAddr,
    /// Port of the API server, the same on the Service and in the pod.
    pub port: u16,
    /// `address:port`; what `status.controlPlaneEndpoint` reports.
    pub endpoint: String,
    /// What kubeconfigs and kubeadm carry: the ingress or gateway host name, else the advertised address, else
    /// `endpoint` (docs/reference/compatibility.md, "Endpoint").
    pub public_endpoint: String,
    /// The host of `public_endpoint`, without brackets.
    pub public_host: String,
}

impl Exposed {
    /// The endpoints of a tenant whose Service has `address`.
    pub fn new(resolved: &Resolved, address: IpAddr) -> Self {
        let port = resolved.network.port;
        let endpoint = join_host_port(&address.to_string(), port);
        let (public_host, public_port) = match (&resolved.network.public_host, resolved.network.advertise_address) {
            (Some((host, port)), _) => (host.clone(), *port),
            (None, Some(advertised)) => (advertised.to_string(), port),
            (None, None) => (address.to_string(), port),
        };
        Self { address, port, endpoint, public_endpoint: join_host_port(&public_host, public_port), public_host }
    }
}
