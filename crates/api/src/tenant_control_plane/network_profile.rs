//! The addresses, ports and ranges of a tenant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The addresses, ports and ranges of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkProfileSpec {
    /// Client ranges that a LoadBalancer Service admits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_source_ranges: Option<Vec<String>>,
    /// Class of a LoadBalancer Service. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Address at which the management cluster and the tenant's nodes reach the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Address that the API server advertises to the tenant, where it differs from `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_address: Option<String>,
    /// The tenant's DNS domain; `cluster.local` when absent. It cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
    /// Whether `address` becomes an external IP of the Service.
    #[serde(rename = "allowAddressAsExternalIP", skip_serializing_if = "Option::is_none")]
    pub allow_address_as_external_ip: Option<bool>,
    /// Port of the API server; 6443 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Extra names and addresses of the API server's certificate.
    #[serde(rename = "certSANs", skip_serializing_if = "Option::is_none")]
    pub cert_sans: Option<Vec<String>>,
    /// Range of Service addresses. Deprecated: `serviceCidrs` wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<String>,
    /// Ranges of Service addresses, one per family, the primary family first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_cidrs: Option<Vec<String>>,
    /// Range of pod addresses. Deprecated: `podCidrs` wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<String>,
    /// Ranges of pod addresses, one per family, the primary family first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<Vec<String>>,
    /// Addresses of the tenant's DNS Service.
    #[serde(rename = "dnsServiceIPs", skip_serializing_if = "Option::is_none")]
    pub dns_service_ips: Option<Vec<String>>,
}
