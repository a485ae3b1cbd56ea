//! Where a tenant's API is, and the ranges of its cluster.

use std::net::IpAddr;

/// Port of the API server where the specification has none (CRD default).
pub const DEFAULT_PORT: u16 = 6443;

/// Addresses, ranges and names of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Port of the API server.
    pub port: u16,
    /// Address that the specification declares for the Service.
    pub address: Option<IpAddr>,
    /// Address that clients outside are told.
    pub advertise_address: Option<IpAddr>,
    /// Host and port of the ingress or gateway in front.
    pub public_host: Option<(String, u16)>,
    /// DNS suffix of the tenant.
    pub cluster_domain: String,
    /// Service ranges in the user's order: the first is the primary family.
    pub service_cidrs: Vec<String>,
    /// Pod ranges in the user's order.
    pub pod_cidrs: Vec<String>,
    /// First address of the first service range: the Service `kubernetes` in the tenant.
    pub kubernetes_service_ip: Option<IpAddr>,
    /// Names and addresses that the user wants in the API server's certificate.
    pub cert_sans: Vec<String>,
}
