//! The report on an EtcdCluster. Sizes are left out: they change by themselves, and a cluster at rest causes no write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kamaji_api::{
    EtcdClusterStatus,
    conditions::{self, ConditionStatus},
    etcd_cluster::EtcdMember,
};

use super::{membership::Waiting, resolved::Resolved};
use crate::rejection::Rejection;

/// Something that is wrong while the cluster is served as well as it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// CamelCase word for the condition's `reason`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Fault {
    /// A fault for `reason` with the sentence `message`.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a pass came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Members as etcd lists them; none keeps those of the last report.
    pub members: Option<Vec<EtcdMember>>,
    /// Every wanted member votes and answers, and tenants can be kept in the DataStore.
    pub serves: bool,
    /// What is waited for: a CamelCase word and a sentence.
    pub waiting: Option<Fault>,
    /// What is wrong; the first is reported as the condition's reason.
    pub faults: Vec<Fault>,
    /// What a person has to change.
    pub stalled: Option<Rejection>,
}

/// What is waited for, in words.
pub fn waiting(resolved: &Resolved, waiting: Waiting) -> Fault {
    match waiting {
        Waiting::Forming => Fault::new("Forming", "the members have not found each other yet"),
        Waiting::Pod(ordinal) => Fault::new(
            "WaitingForPod",
            format!("the pod {} does not exist yet, or has no volume", resolved.pod(ordinal)),
        ),
        Waiting::Learner(ordinal) => {
            Fault::new("MemberJoining", format!("{} is catching up with the leader", resolved.pod(ordinal)))
        }
        Waiting::Member(ordinal) => Fault::new(
            "MemberAway",
            format!("{} does not answer; look at the pod's log and events", resolved.pod(ordinal)),
        ),
        Waiting::Quorum => Fault::new(
            "QuorumLost",
            "no quorum of members answers, and at least one that is away may have its data: bring its pod back; to \
             give the data up, delete every pod, and with persistent storage every claim",
        ),
        Waiting::Volumes => Fault::new(
            "VolumesLost",
            "the volume of every member is gone: restore them, or give the data up by creating another EtcdCluster; it \
             is not started empty, because the tenants' nodes would stop everything that runs on them",
        ),
    }
}

/// Whether what is waited for is wrong rather than under way.
pub fn is_fault(waiting: Waiting) -> bool {
    match waiting {
        Waiting::Member(_) | Waiting::Quorum | Waiting::Volumes => true,
        Waiting::Forming | Waiting::Pod(_) | Waiting::Learner(_) => false,
    }
}

/// The status that replaces `live`. Transition times stay where nothing changed.
pub fn status(
    live: Option<&EtcdClusterStatus>,
    generation: Option<i64>,
    outcome: &Outcome,
    now: &Time,
) -> EtcdClusterStatus {
    let mut status = live.cloned().unwrap_or_default();
    status.observed_generation = generation;
    if let Some(members) = &outcome.members {
        let healthy = members.iter().filter(|member| member.healthy && !member.learner).count();
        status.ready_replicas = Some(i32::try_from(healthy).unwrap_or(i32::MAX));
        status.version = common_version(members).or(status.version);
        status.members = Some(members.clone()).filter(|members| !members.is_empty());
    }
    let mut list = status.conditions.take().unwrap_or_default();
    let mut set = |type_, holds: bool, reason: &str, message: &str| {
        conditions::set(
            &mut list,
            conditions::condition(type_, ConditionStatus::from(holds), reason, message, generation, now),
        );
    };
    let stalled = outcome.stalled.as_ref().map(|rejection| Fault::new(rejection.reason, rejection.to_string()));
    let fault = outcome.faults.first();
    // The first that is known to be in the way.
    let obstacle = stalled.as_ref().or(fault).or(outcome.waiting.as_ref());
    let ready = outcome.serves;
    match obstacle.filter(|_| !ready) {
        None if ready => set(conditions::READY, true, "Serving", "every member votes and answers"),
        None => set(conditions::READY, false, "Progressing", "the cluster is being brought to what its spec says"),
        Some(obstacle) => set(conditions::READY, false, obstacle.reason, &obstacle.message),
    }
    match outcome.waiting.as_ref().filter(|_| !ready) {
        None => set(conditions::PROGRESSING, false, "Settled", "nothing is under way"),
        Some(waiting) => set(conditions::PROGRESSING, true, waiting.reason, &waiting.message),
    }
    let sentences: Vec<&str> = outcome.faults.iter().map(|fault| fault.message.as_str()).collect();
    match fault {
        None => set(conditions::DEGRADED, false, "AsExpected", "nothing is wrong"),
        Some(fault) => set(conditions::DEGRADED, true, fault.reason, &sentences.join("; ")),
    }
    match &stalled {
        None => set(conditions::STALLED, false, "AsExpected", "nothing waits for a person"),
        Some(stalled) => set(conditions::STALLED, true, stalled.reason, &stalled.message),
    }
    status.conditions = Some(list);
    status
}

fn common_version(members: &[EtcdMember]) -> Option<String> {
    let mut versions: Vec<&str> = members.iter().filter_map(|member| member.version.as_deref()).collect();
    // Upgrades go member by member: the lowest is what all of them have reached.
    versions.sort_by_key(|version| {
        version.split('.').map(|part| part.parse::<u32>().unwrap_or_default()).collect::<Vec<_>>()
    });
    versions.first().map(|version| (*version).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn member(version: &str) -> EtcdMember {
        EtcdMember { healthy: true, version: Some(version.to_owned()), ..EtcdMember::default() }
    }

    #[test]
    fn a_second_pass_with_the_same_outcome_changes_nothing() {
        let outcome = Outcome { serves: true, members: Some(vec![member("3.7.3")]), ..Outcome::default() };
        let first = status(None, Some(1), &outcome, &at(1));
        assert_eq!(status(Some(&first), Some(1), &outcome, &at(2)), first);
        assert_eq!((first.ready_replicas, first.version.as_deref()), (Some(1), Some("3.7.3")));
    }

    #[test]
    fn reports_the_lowest_version_while_members_differ() {
        assert_eq!(common_version(&[member("3.10.0"), member("3.9.9")]).as_deref(), Some("3.9.9"));
    }

    #[test]
    fn a_refused_wish_stalls_without_ending_readiness() {
        let stalled = Some(Rejection::new("ShrinkRefused", "spec.replicas", "no"));
        let outcome = Outcome { serves: true, stalled, ..Outcome::default() };
        let conditions = status(None, Some(1), &outcome, &at(1)).conditions.unwrap();
        assert!(conditions::is_true(&conditions, conditions::READY));
        let stalled = conditions::find(&conditions, conditions::STALLED).unwrap();
        assert_eq!((stalled.status.as_str(), stalled.message.as_str()), ("True", "spec.replicas: no"));
    }

    #[test]
    fn keeps_the_members_of_the_last_report_while_nobody_answers() {
        let outcome = Outcome { serves: true, members: Some(vec![member("3.7.3")]), ..Outcome::default() };
        let first = status(None, Some(1), &outcome, &at(1));
        let lost = Outcome { faults: vec![Fault::new("QuorumLost", "gone")], ..Outcome::default() };
        let second = status(Some(&first), Some(1), &lost, &at(2));
        assert_eq!(second.members, first.members);
        let conditions = second.conditions.unwrap();
        assert_eq!(conditions::find(&conditions, conditions::READY).unwrap().reason, "QuorumLost");
    }
}
