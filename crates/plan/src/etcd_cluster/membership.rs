//! Which change of the membership is due. Pure: what etcd lists, which pods there are and what was recorded go in, one
//! step comes out.

use std::collections::{BTreeMap, BTreeSet};

pub use super::listed::Listed;
use super::{record::Record, resolved::Resolved};

/// What a pass found out about the members.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What was recorded.
    pub record: &'a Record,
    /// Members as etcd lists them; none while no member knows a leader.
    pub members: Option<&'a [Listed]>,
    /// UID of the volume that each present pod has, by ordinal.
    pub volumes: &'a BTreeMap<i32, String>,
    /// Ordinals whose pod runs, so that its member was asked.
    pub running: &'a BTreeSet<i32>,
    /// Ordinals whose pod runs, and whose member has not answered for so long that it is not waited for.
    pub silent: &'a BTreeSet<i32>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done: every wanted member votes and answers.
    Settled,
    /// Something has to happen first, which the sentence names.
    Wait(Waiting),
    /// Write this down before anything else.
    Record(Record),
    /// Make etcd ask its clients who they are.
    EnableAuthentication,
    /// Remove a member.
    Remove {
        /// Its identity.
        id: u64,
        /// Its pod.
        ordinal: i32,
        /// Its present volume may hold data of this member, which a new member cannot start on: delete it, too.
        wipe: bool,
    },
    /// Add a learner for this pod.
    Add {
        /// Its pod.
        ordinal: i32,
    },
    /// Give a learner its vote.
    Promote {
        /// Its identity.
        id: u64,
        /// Its pod.
        ordinal: i32,
    },
    /// All data is gone for good: write this down, by which the cluster is founded anew, empty.
    StartOver(Record),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The first quorum.
    Forming,
    /// A pod of this ordinal.
    Pod(i32),
    /// A learner that has not caught up.
    Learner(i32),
    /// A member that does not answer.
    Member(i32),
    /// A quorum, while some member has its data.
    Quorum,
    /// A person: every volume of a persistent cluster is gone.
    Volumes,
}

/// The next step.
pub fn next(resolved: &Resolved, seen: &Seen<'_>) -> Step {
    let Some(members) = seen.members else { return without_quorum(resolved, seen) };
    let wanted = observed_record(resolved, seen, members);
    if wanted != *seen.record {
        return Step::Record(wanted);
    }
    if !seen.record.authentication {
        return Step::EnableAuthentication;
    }
    let ours = || members.iter().filter_map(|member| Some((member, member.ordinal?)));
    // Whoever answers has its data, whatever was written down.
    let lost = |member: &Listed, ordinal: i32| match (seen.record.volumes.get(&ordinal), seen.volumes.get(&ordinal)) {
        (Some(recorded), Some(present)) => recorded != present && !member.healthy,
        _ => false,
    };
    // Nobody misses its vote, or it may have lost its data unnoticed.
    let stuck = |member: &Listed, ordinal: i32| {
        let replaceable = member.learner || !member.started || !seen.record.volumes.contains_key(&ordinal);
        replaceable && seen.silent.contains(&ordinal)
    };
    let due = ours().find(|(member, ordinal)| lost(member, *ordinal) || stuck(member, *ordinal));
    if let Some((member, ordinal)) = due {
        // Whoever was let in while it was a learner, or had never run, may have started on the present volume.
        let wipe = !lost(member, ordinal) || member.learner || !member.started;
        return Step::Remove { id: member.id, ordinal, wipe };
    }
    if let Some((learner, ordinal)) = ours().find(|(member, _)| member.learner) {
        if learner.started && learner.healthy {
            return Step::Promote { id: learner.id, ordinal };
        }
        return Step::Wait(Waiting::Learner(ordinal));
    }
    let missing = (0..seen.record.size).find(|ordinal| ours().all(|(_, listed)| listed != *ordinal));
    if let Some(ordinal) = missing {
        // Adding it first would open the list for whichever pod comes.
        return if seen.volumes.contains_key(&ordinal) {
            Step::Add { ordinal }
        } else {
            Step::Wait(Waiting::Pod(ordinal))
        };
    }
    if let Some((_, ordinal)) = ours().find(|(member, _)| !member.healthy) {
        return Step::Wait(Waiting::Member(ordinal));
    }
    if seen.record.size < resolved.replicas {
        // One at a time: a learner counts in no quorum, two new voters at once would be half of it.
        return Step::Record(Record { size: seen.record.size + 1, ..seen.record.clone() });
    }
    Step::Settled
}

fn without_quorum(resolved: &Resolved, seen: &Seen<'_>) -> Step {
    let record = seen.record;
    if !record.formed {
        return Step::Wait(Waiting::Forming);
    }
    // Only who was asked in vain: a pod that was deleted by force may still answer while its successor starts.
    let gone = |(ordinal, recorded): (&i32, &String)| {
        seen.running.contains(ordinal) && seen.volumes.get(ordinal).is_some_and(|now| now != recorded)
    };
    if record.volumes.is_empty() || !record.volumes.iter().all(gone) {
        return Step::Wait(Waiting::Quorum);
    }
    // Data on claims is not lost by a pod's end but by somebody's decision; serving an empty store instead would make
    // the tenants' nodes stop everything that runs on them.
    if resolved.storage.is_persistent() {
        return Step::Wait(Waiting::Volumes);
    }
    Step::StartOver(record.refounding(resolved, seen.volumes))
}

/// What is to be recorded about a cluster that answers.
fn observed_record(resolved: &Resolved, seen: &Seen<'_>, members: &[Listed]) -> Record {
    let mut record = Record { formed: true, volumes: BTreeMap::new(), ..seen.record.clone() };
    for member in members {
        let Some(ordinal) = member.ordinal else { continue };
        let (known, present) = (seen.record.volumes.get(&ordinal), seen.volumes.get(&ordinal));
        // Of a member that ran and does not answer, nobody knows which volume it ran on. What is known stays: a pod that
        // was deleted by force answers for a while beside its successor.
        let present = present.filter(|_| member.healthy || !member.started);
        if let Some(volume) = known.or(present) {
            record.volumes.insert(ordinal, volume.clone());
        }
    }
    record.admit(resolved, members);
    record
}
