//! The members' Service, and what keeps a drain from taking two of them.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kamaji_api::contract::ports;

use super::{metadata::metadata, names, resolved::Resolved};

/// Name of the client port.
pub const CLIENT: &str = "client";
/// Name of the port for the other members.
pub const PEER: &str = "peer";

/// The headless Service. Members find each other by it before they are ready.
pub fn service(resolved: &Resolved) -> Service {
    let port = |name: &str, port: i32| ServicePort {
        name: Some(name.to_owned()),
        protocol: Some("TCP".to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata(resolved, names::base(&resolved.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            ip_family_policy: Some("PreferDualStack".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(names::selector(&resolved.name)),
            ports: Some(vec![port(CLIENT, ports::ETCD_CLIENT), port(PEER, ports::ETCD_PEER)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// One member may be evicted at a time; of one member, this one: a budget that forbade it would block every drain.
pub fn disruption_budget(resolved: &Resolved) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(resolved, names::base(&resolved.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&resolved.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
