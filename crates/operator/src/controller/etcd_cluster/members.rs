//! The members: asks etcd, and takes the steps that [`kamaji_plan::etcd_cluster::membership`] decides on.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kamaji_api::etcd_cluster::EtcdMember;
use kamaji_apply::EventType;
use kamaji_datastore::etcd::{
    Admin,
    admin::{Alarm, Status},
};
use kamaji_plan::etcd_cluster::{
    membership::{Listed, Seen, Step, Waiting, next},
    record::Record,
    resolve::Resolved,
};

use super::{Shared, error::Error, observe::Observed, write};

/// Steps of one pass: losing a member and adding it again takes five.
const STEPS: usize = 12;

/// What the members answered.
#[derive(Debug, Default)]
pub struct Answers {
    /// What each says of itself, by ordinal.
    pub statuses: BTreeMap<i32, Status>,
    /// The members; none while none of them knows a leader.
    pub listed: Option<Vec<Listed>>,
    /// Alarms that are raised.
    pub alarms: Vec<Alarm>,
}

impl Answers {
    /// The members for a status.
    pub fn report(&self, resolved: &Resolved) -> Option<Vec<EtcdMember>> {
        let report = |member: &Listed| {
            let status = member.ordinal.and_then(|ordinal| self.statuses.get(&ordinal));
            EtcdMember {
                name: member.ordinal.map(|ordinal| resolved.pod(ordinal)).unwrap_or_default(),
                id: format!("{:x}", member.id),
                learner: member.learner,
                healthy: member.healthy,
                // It changes by itself; see the metrics of the members.
                database_size: None,
                version: status.map(|status| status.version.clone()),
            }
        };
        let mut members: Vec<EtcdMember> = self.listed.as_ref()?.iter().map(report).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Some(members)
    }

    /// Number of members that vote.
    pub fn voters(&self) -> usize {
        self.listed.iter().flatten().filter(|member| member.ordinal.is_some() && !member.learner).count()
    }
}

/// How the members are after a pass.
pub struct Healed {
    /// What is recorded now.
    pub record: Record,
    /// The last answers.
    pub answers: Answers,
    /// What is waited for; none when the members are as wanted.
    pub waiting: Option<Waiting>,
    /// A member answers although its volume is another one: its pod was deleted by force, and has not ended yet.
    pub lingering: bool,
    /// etcd's refusal of a step, which is tried again.
    pub refusal: Option<kamaji_datastore::Error>,
}

/// Asks every member that may answer.
pub async fn ask(admin: &Admin, resolved: &Resolved, ordinals: &[i32]) -> Answers {
    let asked = ordinals.iter().filter_map(|ordinal| Some((*ordinal, resolved.client(*ordinal)?)));
    let answers = join_all(asked.map(async |(ordinal, endpoint)| (ordinal, admin.status(endpoint).await))).await;
    let statuses: BTreeMap<i32, Status> = answers
        .into_iter()
        .filter_map(|(ordinal, answer)| match answer {
            Ok(status) => Some((ordinal, status)),
            Err(error) => {
                tracing::debug!(%error, ordinal, "a member does not answer");
                None
            }
        })
        .collect();
    // A leader without a quorum steps down: whoever knows one speaks for the cluster.
    if statuses.values().all(|status| status.leader == 0) {
        return Answers { statuses, ..Answers::default() };
    }
    let (members, alarms) = tokio::join!(Box::pin(admin.member_list()), Box::pin(admin.alarm_list()));
    let mut listed: Option<Vec<Listed>> = members
        .map(|members| {
            let member = |member: kamaji_datastore::etcd::admin::Member| {
                let ordinal = resolved.ordinal_of(&member.peer_urls);
                let status = ordinal.and_then(|ordinal| statuses.get(&ordinal));
                Listed {
                    healthy: status.is_some_and(|status| status.member == member.id && status.leader != 0),
                    id: member.id,
                    ordinal,
                    started: !member.client_urls.is_empty(),
                    learner: member.is_learner,
                    peer_urls: member.peer_urls,
                }
            };
            members.into_iter().map(member).collect()
        })
        .inspect_err(|error| tracing::warn!(%error, "the members cannot be listed"))
        .ok();
    // The same members give the same record.
    if let Some(members) = &mut listed {
        members.sort_by_key(|member| member.id);
    }
    Answers { statuses, listed, alarms: alarms.unwrap_or_default() }
}

/// Takes steps until nothing is due or something has to happen first.
pub async fn heal(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    admin: &Admin,
    record: Record,
) -> Result<Healed, Error> {
    let volumes = observed.volumes(resolved.storage.is_persistent());
    let running = observed.running();
    let asked = running.iter().copied().collect();
    let answers = ask(admin, resolved, &running).await;
    let mut healed = Healed { record, answers, waiting: None, lingering: false, refusal: None };
    let size = healed.record.size;
    for _ in 0..STEPS {
        let unanswered = unanswered(healed.answers.listed.as_deref().unwrap_or_default(), &running);
        let silent = shared.silent(&resolved.uid, &unanswered);
        let seen = Seen {
            record: &healed.record,
            members: healed.answers.listed.as_deref(),
            volumes: &volumes,
            running: &asked,
            silent: &silent,
        };
        match next(resolved, &seen) {
            Step::Settled => {
                let other = |(ordinal, recorded)| volumes.get(ordinal).is_some_and(|present| present != recorded);
                healed.lingering = healed.record.volumes.iter().any(other);
                return Ok(healed);
            }
            Step::Wait(waiting) => {
                healed.waiting = Some(waiting);
                return Ok(healed);
            }
            Step::Record(record) => {
                write::record(shared, resolved, &record).await?;
                healed.record = record;
                if healed.record.size != size {
                    // The pod that joins next does not exist yet.
                    healed.waiting = Some(Waiting::Pod(size));
                    return Ok(healed);
                }
            }
            Step::StartOver(record) => {
                let note = "every member lost its data, which was kept in emptyDirs: the cluster starts empty; tenants \
                            that were kept in it have lost their state";
                tell(shared, resolved, EventType::Warning, "DataLost", note.to_owned()).await;
                healed.record = record;
                write::record(shared, resolved, &healed.record).await?;
            }
            step => {
                if let Err(error) = change(shared, resolved, admin, &step, &mut healed.record).await? {
                    tracing::warn!(%error, ?step, "etcd refused a change of its members");
                    healed.refusal = Some(error);
                    return Ok(healed);
                }
                if let Step::Remove { ordinal, wipe: true, .. } = step {
                    wipe(shared, observed, ordinal).await?;
                    healed.waiting = Some(Waiting::Pod(ordinal));
                    return Ok(healed);
                }
                healed.answers = ask(admin, resolved, &running).await;
                if let Step::Promote { id, ordinal } = step
                    && healed.answers.listed.iter().flatten().any(|member| member.id == id && member.learner)
                {
                    healed.waiting = Some(Waiting::Learner(ordinal));
                    return Ok(healed);
                }
            }
        }
    }
    Ok(healed)
}

/// One change of etcd itself. The inner error is etcd's refusal.
async fn change(
    shared: &Shared,
    resolved: &Resolved,
    admin: &Admin,
    step: &Step,
    record: &mut Record,
) -> Result<Result<(), kamaji_datastore::Error>, Error> {
    let outcome = match step {
        Step::EnableAuthentication => {
            let enabled = admin.enable_auth().await;
            if enabled.is_ok() {
                record.authentication = true;
                write::record(shared, resolved, record).await?;
            }
            enabled.map(drop)
        }
        Step::Remove { id, ordinal, .. } => {
            let removed = admin.member_remove(*id).await;
            if removed.is_ok() {
                let note = format!("{} lost its data: its member {id:x} was removed", resolved.pod(*ordinal));
                tell(shared, resolved, EventType::Warning, "MemberRemoved", note).await;
            }
            removed
        }
        Step::Add { ordinal } => {
            let Some(peer_url) = resolved.peer_url(*ordinal) else { return Ok(Ok(())) };
            let added = admin.member_add_learner(&[peer_url.to_owned()]).await;
            if let Ok(member) = &added {
                let note = format!("{} joins as the learner {:x}", resolved.pod(*ordinal), member.id);
                tell(shared, resolved, EventType::Normal, "MemberAdded", note).await;
            }
            added.map(drop)
        }
        Step::Promote { id, ordinal } => {
            let promoted = admin.promote(*id).await;
            if matches!(promoted, Ok(true)) {
                let note = format!("{} has caught up and votes as the member {id:x}", resolved.pod(*ordinal));
                tell(shared, resolved, EventType::Normal, "MemberPromoted", note).await;
            }
            promoted.map(drop)
        }
        Step::Settled | Step::Wait(_) | Step::Record(_) | Step::StartOver(_) => Ok(()),
    };
    Ok(outcome)
}

/// Takes away a volume that a new member could not start on.
async fn wipe(shared: &Shared, observed: &Observed, ordinal: i32) -> Result<(), Error> {
    let applier = &shared.context.applier;
    // The claim first: it goes when its pod has gone, and the next pod then gets a new one.
    if let Some(claim) = observed.claims.get(&ordinal) {
        applier.delete(claim.as_ref()).await?;
    }
    if let Some(pod) = observed.pods.get(&ordinal) {
        applier.delete(pod.as_ref()).await?;
    }
    Ok(())
}

async fn tell(shared: &Shared, resolved: &Resolved, type_: EventType, reason: &str, note: String) {
    shared.context.event(resolved.cluster.as_ref(), type_, reason, "Heal", note).await;
}

/// Ordinals of members that do not answer although their pods run.
fn unanswered(members: &[Listed], running: &[i32]) -> BTreeSet<i32> {
    let silent = members.iter().filter(|member| !member.healthy).filter_map(|member| member.ordinal);
    silent.filter(|ordinal| running.contains(ordinal)).collect()
}
