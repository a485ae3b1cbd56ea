//! Writes the status, and tells transitions by Events.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kamaji_api::{EtcdCluster, conditions};
use kamaji_apply::EventType;
use kamaji_plan::etcd_cluster::status::{Outcome, status};

use super::{Shared, error::Error};

/// Writes the status if it says anything new.
pub async fn report(shared: &Shared, cluster: &EtcdCluster, outcome: &Outcome) -> Result<(), Error> {
    let before = cluster.status.as_ref();
    let after = status(before, cluster.metadata.generation, outcome, &Time(Timestamp::now()));
    if before == Some(&after) {
        return Ok(());
    }
    let list = |status: &kamaji_api::EtcdClusterStatus| status.conditions.clone().unwrap_or_default();
    let (old, new) = (before.map(list).unwrap_or_default(), list(&after));
    let desired = EtcdCluster { status: Some(after), ..cluster.clone() };
    let applied = shared.context.applier.apply_status(&desired, cluster).await?;
    shared.stores.clusters.applied(applied);
    for (type_, severity) in [
        (conditions::READY, EventType::Normal),
        (conditions::DEGRADED, EventType::Warning),
        (conditions::STALLED, EventType::Warning),
    ] {
        if let Some(now) = conditions::find(&new, type_).filter(|now| is_news(now, conditions::find(&old, type_))) {
            shared.context.event(cluster, severity, &now.reason, "Report", now.message.clone()).await;
        }
    }
    Ok(())
}

/// Whether a condition holds now and did not, or not for this reason.
fn is_news(now: &Condition, before: Option<&Condition>) -> bool {
    now.status == "True" && before.is_none_or(|before| before.status != "True" || before.reason != now.reason)
}
