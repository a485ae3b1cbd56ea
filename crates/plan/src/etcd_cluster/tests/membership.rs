use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::{
    membership::{Listed, Seen, Step, Waiting, next},
    record::Record,
    resolve::Resolved,
};
use super::resolved;

/// Three members that vote and answer, each on the volume `v<ordinal>`.
struct World {
    resolved: Resolved,
    record: Record,
    members: Option<Vec<Listed>>,
    volumes: BTreeMap<i32, String>,
    running: BTreeSet<i32>,
    silent: BTreeSet<i32>,
}

impl World {
    fn new(replicas: i32) -> Self {
        let storage = json!({"ephemeral": {}});
        Self::of(&json!({"replicas": replicas, "storage": storage}), replicas)
    }

    fn of(spec: &serde_json::Value, size: i32) -> Self {
        let resolved = resolved(spec);
        let members: Vec<Listed> = (0..size).map(|ordinal| listed(&resolved, ordinal)).collect();
        let volumes: BTreeMap<i32, String> = (0..size).map(|ordinal| (ordinal, format!("v{ordinal}"))).collect();
        let mut record = Record::founding(&resolved, size);
        record.formed = true;
        record.authentication = true;
        record.volumes = volumes.clone();
        record.admit(&resolved, &members);
        Self { resolved, record, members: Some(members), volumes, running: (0..3).collect(), silent: BTreeSet::new() }
    }

    fn next(&self) -> Step {
        let seen = Seen {
            record: &self.record,
            members: self.members.as_deref(),
            volumes: &self.volumes,
            running: &self.running,
            silent: &self.silent,
        };
        next(&self.resolved, &seen)
    }

    /// The next step that is not only written down.
    fn settle(&mut self) -> Step {
        for _ in 0..3 {
            match self.next() {
                Step::Record(record) => self.record = record,
                step => return step,
            }
        }
        panic!("the record does not come to rest: {:?}", self.record);
    }

    fn members(&mut self) -> &mut Vec<Listed> {
        self.members.as_mut().unwrap()
    }

    fn lose(&mut self, ordinal: i32) {
        self.volumes.insert(ordinal, format!("new{ordinal}"));
        if let Some(member) = self.members.iter_mut().flatten().find(|member| member.ordinal == Some(ordinal)) {
            member.healthy = false;
        }
    }
}

fn listed(resolved: &Resolved, ordinal: i32) -> Listed {
    Listed {
        id: u64::try_from(ordinal).unwrap() + 10,
        ordinal: Some(ordinal),
        peer_urls: vec![resolved.peer_url(ordinal).unwrap().to_owned()],
        started: true,
        learner: false,
        healthy: true,
    }
}

#[test]
fn a_cluster_at_rest_is_left_alone() {
    for replicas in [1, 3] {
        assert_eq!(World::new(replicas).next(), Step::Settled);
    }
}

#[test]
fn the_first_quorum_is_recorded_before_authentication() {
    let mut world = World::new(3);
    world.record = Record::founding(&world.resolved, 3);
    let Step::Record(record) = world.next() else { panic!() };
    assert!(record.formed && !record.admits("etcd-default-0"));
    assert_eq!(record.volumes, world.volumes);
    world.record = record;
    assert_eq!(world.next(), Step::EnableAuthentication);
}

#[test]
fn a_founder_that_comes_late_is_still_let_in() {
    let mut world = World::new(3);
    world.record = Record::founding(&world.resolved, 3);
    world.members()[2].started = false;
    world.members()[2].healthy = false;
    let Step::Record(record) = world.next() else { panic!() };
    assert!(record.admits("etcd-default-2") && !record.admits("etcd-default-0"));
    assert_eq!(record.initial_cluster.matches("https://").count(), 3);
}

#[test]
fn nothing_happens_before_the_first_quorum() {
    let mut world = World::new(3);
    world.record = Record::founding(&world.resolved, 3);
    world.members = None;
    world.lose(1);
    assert_eq!(world.next(), Step::Wait(Waiting::Forming));
}

#[test]
fn a_lost_member_is_removed_and_added_as_learner_and_promoted() {
    let mut world = World::new(3);
    world.lose(1);
    assert_eq!(world.settle(), Step::Remove { id: 11, ordinal: 1, wipe: false });
    world.members().remove(1);
    assert_eq!(world.settle(), Step::Add { ordinal: 1 });
    assert!(!world.record.volumes.contains_key(&1) && !world.record.admits("etcd-default-1"));
    let added = Listed { id: 21, started: false, learner: true, healthy: false, ..listed(&world.resolved, 1) };
    world.members().push(added);
    assert_eq!(world.settle(), Step::Wait(Waiting::Learner(1)));
    assert!(world.record.admits("etcd-default-1") && !world.record.admits("etcd-default-0"));
    assert_eq!(world.record.volumes[&1], "new1");
    world.members()[2].started = true;
    assert_eq!(world.settle(), Step::Wait(Waiting::Learner(1)));
    assert!(!world.record.admits("etcd-default-1"));
    world.members()[2].healthy = true;
    assert_eq!(world.settle(), Step::Promote { id: 21, ordinal: 1 });
    world.members()[2].learner = false;
    assert_eq!(world.settle(), Step::Settled);
}

#[test]
fn a_pod_that_is_away_is_waited_for() {
    let mut world = World::new(3);
    world.volumes.remove(&1);
    world.members()[1].healthy = false;
    assert_eq!(world.next(), Step::Wait(Waiting::Member(1)));
}

#[test]
fn a_member_on_its_own_volume_is_never_removed() {
    let mut world = World::new(3);
    world.members()[1].healthy = false;
    world.silent.insert(1);
    assert_eq!(world.next(), Step::Wait(Waiting::Member(1)));
}

#[test]
fn a_learner_that_lost_its_volume_is_replaced_with_it() {
    let mut world = World::new(3);
    world.members()[2].learner = true;
    world.lose(2);
    assert_eq!(world.settle(), Step::Remove { id: 12, ordinal: 2, wipe: true });
}

#[test]
fn only_one_member_joins_at_a_time() {
    let mut world = World::new(3);
    world.members()[1].learner = true;
    world.members()[1].healthy = false;
    world.members().remove(2);
    assert_eq!(world.settle(), Step::Wait(Waiting::Learner(1)));
}

#[test]
fn after_a_lost_record_members_that_answer_are_recorded_and_silent_ones_replaced() {
    let mut world = World::new(3);
    world.record = Record::lost(&world.resolved, 3);
    world.members()[2].healthy = false;
    assert_eq!(world.settle(), Step::EnableAuthentication);
    assert_eq!(world.record.volumes.keys().copied().collect::<Vec<_>>(), [0, 1]);
    world.record.authentication = true;
    assert_eq!(world.next(), Step::Wait(Waiting::Member(2)));
    world.silent.insert(2);
    assert_eq!(world.next(), Step::Remove { id: 12, ordinal: 2, wipe: true });
}

#[test]
fn grows_one_member_at_a_time() {
    let mut world = World::new(3);
    world.members().truncate(1);
    world.volumes = [(0, "v0".to_owned())].into();
    world.record = Record { size: 1, volumes: world.volumes.clone(), ..world.record.clone() };
    assert_eq!(world.settle(), Step::Wait(Waiting::Pod(1)));
    assert_eq!(world.record.size, 2);
    world.volumes.insert(1, "v1".to_owned());
    assert_eq!(world.settle(), Step::Add { ordinal: 1 });
    let second = listed(&world.resolved, 1);
    world.members().push(Listed { learner: true, ..second.clone() });
    assert_eq!(world.settle(), Step::Promote { id: 11, ordinal: 1 });
    assert_eq!(world.record.size, 2);
    world.members()[1] = Listed { healthy: false, ..second.clone() };
    assert_eq!(world.settle(), Step::Wait(Waiting::Member(1)));
    world.members()[1] = second;
    assert_eq!(world.settle(), Step::Wait(Waiting::Pod(2)));
    assert_eq!(world.record.size, 3);
}

#[test]
fn starts_over_only_when_every_volume_is_gone() {
    let mut world = World::new(3);
    world.members = None;
    world.lose(0);
    world.lose(1);
    assert_eq!(world.next(), Step::Wait(Waiting::Quorum));
    world.lose(2);
    world.running.remove(&2);
    assert_eq!(world.next(), Step::Wait(Waiting::Quorum));
    world.running.insert(2);
    let Step::StartOver(record) = world.next() else { panic!() };
    assert!(!record.formed && !record.authentication && record.volumes.is_empty() && record.admits("etcd-default-2"));
    assert_ne!(record.token, world.record.token);
    world.volumes.remove(&2);
    assert_eq!(world.next(), Step::Wait(Waiting::Quorum));
}

#[test]
fn never_starts_a_persistent_cluster_empty() {
    let mut world = World::of(&json!({"storage": {"persistent": {"size": "8Gi"}}}), 1);
    world.members = None;
    world.lose(0);
    assert_eq!(world.next(), Step::Wait(Waiting::Volumes));
}

#[test]
fn a_lost_record_and_no_answer_prove_nothing() {
    let mut world = World::new(1);
    world.record = Record::lost(&world.resolved, 1);
    world.members = None;
    assert_eq!(world.next(), Step::Wait(Waiting::Quorum));
}

#[test]
fn a_member_that_answers_is_not_removed_whatever_was_recorded() {
    let mut world = World::new(3);
    world.record.volumes.insert(1, "edited".to_owned());
    assert_eq!(world.settle(), Step::Settled);
}

#[test]
fn a_pod_that_answers_beside_its_successor_hides_no_loss() {
    let mut world = World::new(3);
    world.volumes.insert(1, "new1".to_owned());
    assert_eq!(world.settle(), Step::Settled);
    world.members()[1].healthy = false;
    assert_eq!(world.settle(), Step::Remove { id: 11, ordinal: 1, wipe: false });
}

#[test]
fn a_learner_that_runs_and_never_answers_is_replaced_with_its_volume() {
    let mut world = World::new(3);
    world.members()[2] = Listed { learner: true, started: false, healthy: false, ..listed(&world.resolved, 2) };
    assert_eq!(world.settle(), Step::Wait(Waiting::Learner(2)));
    world.silent.insert(2);
    assert_eq!(world.settle(), Step::Remove { id: 12, ordinal: 2, wipe: true });
}

#[test]
fn a_member_that_is_not_ours_is_left_alone() {
    let mut world = World::new(3);
    let foreign = vec!["https://elsewhere:2380".to_owned()];
    let foreign = Listed { id: 99, ordinal: None, peer_urls: foreign, ..listed(&world.resolved, 0) };
    world.members().push(foreign);
    assert_eq!(world.settle(), Step::Settled);
}
