//! The tenant side: what the operator keeps in place in each tenant's own cluster.
//!
//! One light task per tenant ([`Sessions`]) over one HTTP/2 connection. It looks at each kind once, writes what differs
//! from the plan ([`kamaji_plan::tenant_cluster`]) and takes away what the plan no longer holds; then a watch per kind,
//! filtered by the project label, tells when to look again. No object is kept: a few words per object tell
//! whether an event is news.

mod backoff;
pub mod connection;
mod counts;
mod credentials;
pub mod error;
mod kinds;
mod lane;
mod look;
mod records;
mod reporter;
mod session;
mod sessions;
mod watch;
mod workloads;

use std::{sync::Arc, time::Duration};

use kamaji_plan::tenant_cluster::TenantCluster;

pub use self::{connection::Endpoint, credentials::Credentials, sessions::Sessions};

/// Computes what a tenant's cluster should hold. Called when it is needed, because the answer is large.
pub type Planner = Arc<dyn Fn() -> TenantCluster + Send + Sync>;

/// How long sessions bear with something before they tell.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A tenant's API may be away for this long, and what should pass by itself may last this long.
    pub grace: Duration,
    /// The pods of an addon may take this long to come up before the session looks what keeps them.
    pub patience: Duration,
}

impl Default for Timing {
    /// Two minutes, and half a minute.
    fn default() -> Self {
        Self { grace: Duration::from_mins(2), patience: Duration::from_secs(30) }
    }
}

/// What a session works towards.
#[derive(Clone)]
pub struct Wish {
    /// `metadata.generation` of the TenantControlPlane, which reports repeat.
    pub generation: Option<i64>,
    /// What the cluster should hold.
    pub plan: Planner,
    /// Where the API is.
    pub endpoint: Endpoint,
    /// What it is reached with.
    pub credentials: Credentials,
    /// How its pods are doing.
    pub rollout: Rollout,
}

/// What of the tenant's Deployment matters to a session: a change is a reason to try again at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Generation that the Deployment's status speaks of.
    pub generation: i64,
    /// Replicas that answer. Nothing is dialled while there are none.
    pub ready: i32,
    /// Replicas with the newest template.
    pub updated: i32,
}

impl Wish {
    /// Whether the API is reached as in `other`.
    fn is_reached_like(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.credentials == other.credentials
    }
}
