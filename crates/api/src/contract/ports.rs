//! Port numbers and names.

/// The API server, when `networkProfile.port` is absent.
pub const API_SERVER: i32 = 6443;
/// kube-scheduler's health endpoint.
pub const SCHEDULER: i32 = 10259;
/// kube-controller-manager's health endpoint.
pub const CONTROLLER_MANAGER: i32 = 10257;
/// kine's client port.
pub const KINE: i32 = 2379;
/// konnectivity-server, for agents, when `konnectivity.server.port` is absent.
pub const KONNECTIVITY_AGENT: i32 = 8132;
/// konnectivity-server's administration endpoint.
pub const KONNECTIVITY_ADMIN: i32 = 8133;
/// Health endpoint of konnectivity's server and agent.
pub const KONNECTIVITY_HEALTH: i32 = 8134;
/// etcd, for clients.
pub const ETCD_CLIENT: i32 = 2379;
/// etcd, for its peers.
pub const ETCD_PEER: i32 = 2380;
/// The operator's admission webhooks.
pub const WEBHOOK: i32 = 9443;
/// The operator's metrics.
pub const METRICS: i32 = 8080;
/// The operator's health endpoints.
pub const HEALTH: i32 = 8081;

/// Name of the Service port of the API server.
pub const NAME_API_SERVER: &str = "kube-apiserver";
/// Name of the Service port of konnectivity-server.
pub const NAME_KONNECTIVITY: &str = "konnectivity-server";
/// Name of konnectivity-server's container port for agents.
pub const NAME_KONNECTIVITY_AGENT: &str = "agentport";
/// Name of konnectivity-server's container port for administration.
pub const NAME_KONNECTIVITY_ADMIN: &str = "adminport";
/// Name of konnectivity-server's container port for health.
pub const NAME_KONNECTIVITY_HEALTH: &str = "healthport";
/// Name of kine's container port.
pub const NAME_KINE: &str = "server";
