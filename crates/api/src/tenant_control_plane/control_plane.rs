//! How a control plane is exposed in the management cluster.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeploymentSpec;
use crate::additional_metadata::AdditionalMetadata;
use crate::gateway::ParentReference;
use crate::open_enum::open_enum;

/// How the control plane runs and is exposed. `ingress` and `gateway` exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneSpec {
    /// The pods. Absent for clients that do not send it; its defaults then do not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentSpec>,
    /// The Service, always present.
    #[serde(default)]
    pub service: ServiceSpec,
    /// An Ingress in front of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// A TLSRoute in front of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,
}

open_enum! {
    /// Type of the Service that exposes a control plane.
    #[derive(Default)]
    pub enum ServiceType {
        /// Reachable within the management cluster.
        #[default]
        ClusterIp = "ClusterIP",
        /// Reachable at a port of the management cluster's nodes.
        NodePort = "NodePort",
        /// Reachable at an address that a load balancer implementation assigns.
        LoadBalancer = "LoadBalancer",
    }
}

open_enum! {
    /// Transport protocol of a Service port.
    pub enum PortProtocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    }
}

/// The Service of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Labels and annotations of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_metadata: Option<AdditionalMetadata>,
    /// Ports beside those of the API server and konnectivity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_ports: Option<Vec<AdditionalPort>>,
    /// Type of the Service.
    #[serde(default = "crate::open_enum::missing::<ServiceType>")]
    pub service_type: ServiceType,
    /// Whether a LoadBalancer Service gets node ports; yes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocate_load_balancer_node_ports: Option<bool>,
}

/// A user's own port of the control plane's Service, served by an additional container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalPort {
    /// Name of the port.
    #[serde(default)]
    pub name: String,
    /// Transport protocol; TCP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<PortProtocol>,
    /// Application protocol hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// Port of the Service.
    #[serde(default)]
    pub port: i32,
    /// Port, by number or name, of the pods.
    #[serde(default)]
    pub target_port: IntOrString,
}

/// An Ingress in front of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressSpec {
    /// Labels and annotations of the Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_metadata: Option<AdditionalMetadata>,
    /// The IngressClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Host at which the tenant is reached, as `host` or `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// A TLSRoute in front of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Labels and annotations of the TLSRoutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_metadata: Option<AdditionalMetadata>,
    /// Gateways that the routes attach to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Host at which the tenant is reached, without a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}
