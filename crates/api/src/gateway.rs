//! The parts of the Gateway API (`gateway.networking.k8s.io/v1`) that a TenantControlPlane embeds.

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reference from a route to the Gateway (or other parent) that it attaches to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent; `gateway.networking.k8s.io` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind of the parent; `Gateway` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace of the parent; the route's own namespace when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    #[serde(default)]
    pub name: String,
    /// Listener of the parent to attach to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of the parent to attach to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// What one parent's controller says about a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteParentStatus {
    /// The parent that the status is about.
    pub parent_ref: ParentReference,
    /// The controller that wrote the status, as `domain/path`.
    pub controller_name: String,
    /// The parent's conditions for the route, such as `Accepted`.
    pub conditions: Vec<Condition>,
}

/// An address at which a route serves the tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayAccessPoint {
    /// The address type: `Hostname`, `IPAddress`, `NamedAddress` or a domain-prefixed type.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub value: String,
    /// The listener's port.
    pub port: i32,
    /// Complete URLs of the access point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
}

/// The state of a TLSRoute that the operator owns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// The state of the route at each of its parents.
    pub parents: Vec<RouteParentStatus>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_ref: Option<LocalObjectReference>,
    /// Where the route serves the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_points: Option<Vec<GatewayAccessPoint>>,
}
