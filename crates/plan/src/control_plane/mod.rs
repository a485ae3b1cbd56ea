//! The tenant's objects in the management cluster.

pub mod deployment;
pub mod egress_selector;
pub mod internal_ca;
pub mod kubeadm_config;
pub mod metadata;
pub mod names;
pub mod order;
pub mod service;
pub mod volumes;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};

use crate::{exposed::Exposed, issued::Issued, resolved::Resolved, stored::Stored};

/// What the management cluster has to hold for one tenant, besides what the earlier steps wrote already.
///
/// Whoever applies it destructures it without `..`, so that a new field does not compile until it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The kubeadm configuration, the egress selector where konnectivity is on, the copy of the owner's authorities.
    pub config_maps: Vec<ConfigMap>,
    /// The pods.
    pub deployment: Deployment,
}

/// Computes the plan. Total: same input, same bytes.
pub fn plan(
    resolved: &Resolved,
    exposed: &Exposed,
    issued: &Issued,
    stored: &Stored,
    live: Option<&Deployment>,
) -> Plan {
    let mut config_maps = vec![kubeadm_config::config_map(resolved, exposed, &issued.algorithm.to_string())];
    config_maps.extend(egress_selector::config_map(resolved));
    config_maps.extend(internal_ca::config_map(resolved));
    Plan { config_maps, deployment: deployment::deployment(resolved, exposed, issued, stored, live) }
}
