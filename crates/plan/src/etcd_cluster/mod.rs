//! An etcd that the operator runs, and the DataStore that tenants reach it by.
//!
//! [`resolve`] checks the specification, [`issuance`] says which certificates are due, [`plan`] gives the objects,
//! [`membership`] and [`maintenance`] decide what is asked of etcd itself, [`status`] reports.

pub mod claim;
pub mod data_store;
pub mod issuance;
pub mod listed;
pub mod maintenance;
pub mod membership;
pub mod metadata;
pub mod names;
pub mod quantity;
pub mod record;
pub mod resolve;
pub mod resolved;
pub mod service;
pub mod stateful_set;
pub mod status;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service, policy::v1::PodDisruptionBudget};

use self::{record::Record, resolved::Resolved};

/// What the management cluster has to hold for the members to run, besides Secrets and the [`Record`].
///
/// Whoever applies it destructures it without `..`, so that a new field does not compile until it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Gives each member its name.
    pub service: Service,
    /// Keeps a drain from taking two members at once.
    pub disruption_budget: PodDisruptionBudget,
    /// The members.
    pub stateful_set: StatefulSet,
}

/// Computes the plan. Total: same input, same bytes. `live` is the StatefulSet as it is, whose claim templates cannot
/// change.
pub fn plan(resolved: &Resolved, record: &Record, live: Option<&StatefulSet>) -> Plan {
    Plan {
        service: service::service(resolved),
        disruption_budget: service::disruption_budget(resolved),
        stateful_set: stateful_set::stateful_set(resolved, record.size, live),
    }
}

#[cfg(test)]
mod tests;
