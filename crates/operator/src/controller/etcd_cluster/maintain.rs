//! Gives space back: after an alarm, and where much of a database is empty.

use kamaji_apply::EventType;
use kamaji_datastore::etcd::{Admin, admin::AlarmKind};
use kamaji_plan::etcd_cluster::{
    maintenance::{Chore, Reported, Space, Turn, chore, is_full},
    resolve::Resolved,
    status::Fault,
};

use super::{
    Shared,
    members::{Answers, ask},
};

/// Does the chore that is due, if any, and says what is wrong.
pub async fn maintain(
    shared: &Shared,
    resolved: &Resolved,
    admin: &Admin,
    answers: &Answers,
    settled: bool,
) -> Result<Vec<Fault>, kamaji_datastore::Error> {
    let raised = |kind| answers.alarms.iter().any(|alarm| alarm.kind == kind);
    let mut faults = Vec::new();
    if raised(AlarmKind::Corrupt) {
        faults.push(Fault::new(
            "Corrupt",
            "the members' data differs: find the member that differs (etcdctl alarm list, etcdctl endpoint hashkv), and \
             delete its pod, and with persistent storage its claim",
        ));
    }
    let quota = u64::try_from(resolved.quota_bytes).unwrap_or_default();
    let space = match (raised(AlarmKind::NoSpace), shared.known_full(&resolved.uid, quota)) {
        (false, _) => Space::Enough,
        (true, false) => Space::None,
        (true, true) => Space::Full,
    };
    match chore(&reported(answers), settled, space, quota) {
        Chore::None => {}
        Chore::Full => faults.push(full()),
        Chore::Defragment(turn) => defragment(shared, resolved, admin, turn).await?,
        Chore::MakeSpace(turns) => {
            admin.compact().await?;
            for turn in turns {
                defragment(shared, resolved, admin, turn).await?;
            }
            let ordinals: Vec<i32> = answers.statuses.keys().copied().collect();
            let after = reported(&ask(admin, resolved, &ordinals).await);
            if is_full(&after, quota) {
                shared.found_full(&resolved.uid, quota);
                faults.push(full());
                return Ok(faults);
            }
            for alarm in answers.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::NoSpace) {
                admin.alarm_disarm(*alarm).await?;
            }
            let note = "etcd had taken no writes for want of space; its members were compacted and defragmented";
            let cluster = resolved.cluster.as_ref();
            shared.context.event(cluster, EventType::Warning, "SpaceReclaimed", "Maintain", note.to_owned()).await;
        }
    }
    Ok(faults)
}

fn full() -> Fault {
    Fault::new(
        "NoSpace",
        "etcd takes no writes: its quota is used up by data; raise spec.quota, or move tenants elsewhere",
    )
}

/// Voting members that answer.
fn reported(answers: &Answers) -> Vec<Reported> {
    let voting = |member: &&kamaji_plan::etcd_cluster::membership::Listed| member.healthy && !member.learner;
    let members = answers.listed.iter().flatten().filter(voting);
    let reported = members.filter_map(|member| {
        let ordinal = member.ordinal?;
        let status = answers.statuses.get(&ordinal)?;
        Some(Reported {
            ordinal,
            id: member.id,
            leader: status.is_leader(),
            size: status.db_size,
            in_use: status.db_size_in_use,
        })
    });
    reported.collect()
}

async fn defragment(
    shared: &Shared,
    resolved: &Resolved,
    admin: &Admin,
    turn: Turn,
) -> Result<(), kamaji_datastore::Error> {
    let Some(endpoint) = resolved.client(turn.ordinal) else { return Ok(()) };
    if let Some(successor) = turn.hand_over_to {
        admin.move_leader(endpoint, successor).await?;
    }
    admin.defragment(endpoint).await?;
    let note = format!("{} was defragmented", resolved.pod(turn.ordinal));
    let cluster = resolved.cluster.as_ref();
    shared.context.event(cluster, EventType::Normal, "Defragmented", "Maintain", note).await;
    Ok(())
}
