//! What the operator does to an etcd that it runs itself: membership, space, authentication.
//!
//! With authentication enabled these calls need the role root, as the user `root`: a client certificate of that common
//! name.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, CompactionOptions, GetOptions, MemberAddOptions, UserAddOptions,
};

use super::auth_status;
use super::failure::Refusal;
use super::pool::{Pool, REQUEST_TIMEOUT, Repeat};
use crate::store::Changed;
use crate::{Change, Connection, Error};

/// Defragmentation stops the member for its duration, and rewrites its whole database.
const DEFRAGMENT_TIMEOUT: Duration = Duration::from_mins(1);
/// Compaction works through all keys, beside the requests of others.
const COMPACT_TIMEOUT: Duration = Duration::from_mins(1);
/// etcd's own name for its administrator, user and role.
const ROOT: &str = "root";

/// A voting or learning member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Member ID, as etcd prints it in hexadecimal.
    pub id: u64,
    /// `--name`; empty until the member has started once.
    pub name: String,
    /// `--initial-advertise-peer-urls`.
    pub peer_urls: Vec<String>,
    /// `--advertise-client-urls`; empty until the member has started once.
    pub client_urls: Vec<String>,
    /// Does not vote yet.
    pub is_learner: bool,
}

/// What one member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its own member ID.
    pub member: u64,
    /// Member ID of the leader; 0 when it knows none.
    pub leader: u64,
    /// Its version, `major.minor.patch`.
    pub version: String,
    /// Bytes of its database file.
    pub db_size: u64,
    /// Bytes of these that hold data.
    pub db_size_in_use: u64,
    /// `--quota-backend-bytes` in force; 0 from servers before 3.6.
    pub db_size_quota: u64,
    /// Does not vote yet.
    pub is_learner: bool,
    /// Last raft index it knows to be committed.
    pub raft_index: u64,
    /// Last raft index it carried out.
    pub raft_applied_index: u64,
    /// Raft term.
    pub raft_term: u64,
    /// What it complains of, for example `NOSPACE`.
    pub errors: Vec<String>,
}

impl Status {
    /// Whether the member leads.
    pub const fn is_leader(&self) -> bool {
        self.leader != 0 && self.leader == self.member
    }
}

/// An alarm that a member raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Who raised it.
    pub member: u64,
    /// What it is about.
    pub kind: AlarmKind,
}

/// Kinds of [`Alarm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The quota is used up; the cluster takes no writes until the alarm is disarmed.
    NoSpace,
    /// The member's data differs from the others'.
    Corrupt,
}

/// Administration of one etcd cluster. Calls to "the cluster" go to any endpoint of the connection that answers;
/// calls to one member name its endpoint, which need not be among them.
#[derive(Debug)]
pub struct Admin {
    pool: Pool,
}

impl Admin {
    /// Checks the connection's endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { pool: Pool::open(connection)? })
    }

    /// Makes the server ask its clients who they are: adds the user `root` (without password: its certificate's common
    /// name is its login) with the role `root`, then enables authentication. Idempotent.
    ///
    /// The connection's own client certificate must have the common name `root`: afterwards nobody else may administer.
    pub async fn enable_auth(&self) -> Result<Changed, Error> {
        let mut changed = Changed::default();
        if self.auth_enabled().await? {
            return Ok(changed);
        }
        let role = self
            .pool
            .call_unless("add the role root", &[Refusal::RoleExists], |connected| {
                let mut client = connected.client;
                async move { client.role_add(ROOT).await }
            })
            .await?;
        changed.0.extend(role.map(|_| Change::RoleAdded));
        let user = self
            .pool
            .call_unless("add the user root", &[Refusal::UserExists], |connected| {
                let mut client = connected.client;
                let options = UserAddOptions::new().with_no_pwd();
                async move { client.user_add(ROOT, "", Some(options)).await }
            })
            .await?;
        changed.0.extend(user.map(|_| Change::UserAdded));
        self.pool
            .call("grant the role root to the user root", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.user_grant_role(ROOT, ROOT).await }
            })
            .await?;
        self.pool
            .call("enable authentication", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.auth_enable().await }
            })
            .await?;
        changed.0.push(Change::AuthenticationEnabled);
        Ok(changed)
    }

    /// Whether the server asks its clients who they are.
    pub async fn auth_enabled(&self) -> Result<bool, Error> {
        self.pool
            .call("say whether authentication is enabled", Repeat::Safe, |connected| {
                auth_status::enabled(connected.channel)
            })
            .await
    }

    /// Members of the cluster, as its quorum knows them.
    pub async fn member_list(&self) -> Result<Vec<Member>, Error> {
        let answer = self
            .pool
            .call("list its members", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.member_list().await }
            })
            .await?;
        Ok(answer.members().iter().map(Member::from).collect())
    }

    /// Adds a member that does not vote yet, by its peer URLs with scheme; start it with `--initial-cluster-state=existing` and the other members'
    /// names, then [`Self::promote`] it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a member has one of these URLs already: look at [`Self::member_list`]. The request is
    /// never sent twice, so after an outage look there as well. [`Error::Unavailable`] until the members have been
    /// connected with each other for five seconds, on which etcd insists before it changes them.
    pub async fn member_add_learner(&self, peer_urls: &[String]) -> Result<Member, Error> {
        let operation = format!("add the learner {}", peer_urls.join(", "));
        let answer = self
            .pool
            .call(&operation, Repeat::Unsafe, |connected| {
                let mut client = connected.client;
                let options = MemberAddOptions::new().with_is_learner();
                async move { client.member_add(peer_urls, Some(options)).await }
            })
            .await?;
        let added = answer.member().or_else(|| answer.member_list().iter().find(|one| one.peer_urls() == peer_urls));
        added.map(Member::from).ok_or_else(|| Error::Refused {
            endpoint: self.pool.endpoints().collect::<Vec<_>>().join(", "),
            operation,
            detail: "its answer names no such member".into(),
            source: Arc::new(std::io::Error::from(std::io::ErrorKind::InvalidData)),
        })
    }

    /// Gives a learner its vote. `false` while it has not caught up with the leader: ask again later. A member that
    /// votes already is fine.
    pub async fn promote(&self, id: u64) -> Result<bool, Error> {
        let outcomes = [Refusal::LearnerNotReady, Refusal::NotLearner];
        let operation = format!("promote the learner {id:x}");
        let promoted = self
            .pool
            .call_unless(&operation, &outcomes, |connected| {
                let mut client = connected.client;
                async move { client.member_promote(id).await }
            })
            .await?;
        if promoted.is_some() {
            return Ok(true);
        }
        Ok(self.member_list().await?.iter().any(|member| member.id == id && !member.is_learner))
    }

    /// Removes a member; one that is gone already is not missed.
    pub async fn member_remove(&self, id: u64) -> Result<(), Error> {
        self.pool
            .call_unless(&format!("remove the member {id:x}"), &[Refusal::MemberNotFound], |connected| {
                let mut client = connected.client;
                async move { client.member_remove(id).await }
            })
            .await?;
        Ok(())
    }

    /// Alarms that are raised.
    pub async fn alarm_list(&self) -> Result<Vec<Alarm>, Error> {
        let answer = self
            .pool
            .call("list its alarms", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.alarm(AlarmAction::Get, AlarmType::None, None).await }
            })
            .await?;
        let alarms = answer.alarms().iter().filter_map(|alarm| {
            let kind = match alarm.alarm() {
                AlarmType::Nospace => AlarmKind::NoSpace,
                AlarmType::Corrupt => AlarmKind::Corrupt,
                AlarmType::None => return None,
            };
            Some(Alarm { member: alarm.member_id(), kind })
        });
        Ok(alarms.collect())
    }

    /// Takes an alarm back. Make space first: it is raised again by the next write otherwise.
    pub async fn alarm_disarm(&self, alarm: Alarm) -> Result<(), Error> {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
        };
        self.pool
            .call(&format!("disarm an alarm of the member {:x}", alarm.member), Repeat::Safe, |connected| {
                let mut client = connected.client;
                let mut options = AlarmOptions::new();
                options.with_member(alarm.member);
                async move { client.alarm(AlarmAction::Deactivate, kind, Some(options)).await }
            })
            .await?;
        Ok(())
    }

    /// Drops the history of all keys up to now, and returns the revision. Its space is free for reuse at once, and for
    /// the file system after [`Self::defragment`].
    pub async fn compact(&self) -> Result<i64, Error> {
        let answer = self
            .pool
            .call("say its revision", Repeat::Safe, |connected| {
                let mut client = connected.client;
                let options = GetOptions::new().with_count_only();
                async move { client.get("compact", Some(options)).await }
            })
            .await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        self.pool
            .call_slow_unless("compact its history", COMPACT_TIMEOUT, &[Refusal::Compacted], |connected| {
                let mut client = connected.client;
                let options = CompactionOptions::new().with_physical();
                async move { client.compact(revision, Some(options)).await }
            })
            .await?;
        Ok(revision)
    }

    /// Gives a member's free space back to its file system. The member answers nothing meanwhile: one at a time, the
    /// leader last.
    pub async fn defragment(&self, endpoint: &str) -> Result<(), Error> {
        self.pool
            .call_member(endpoint, "defragment its database", DEFRAGMENT_TIMEOUT, |connected| {
                let mut client = connected.client;
                async move { client.defragment().await }
            })
            .await?;
        Ok(())
    }

    /// What one member says of itself.
    pub async fn status(&self, endpoint: &str) -> Result<Status, Error> {
        let status = self
            .pool
            .call_member(endpoint, "report its status", REQUEST_TIMEOUT, |connected| {
                let mut client = connected.client;
                async move { client.status().await }
            })
            .await?;
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
        Ok(Status {
            member: status.header().map_or(0, etcd_client::ResponseHeader::member_id),
            leader: status.leader(),
            version: status.version().to_owned(),
            db_size: size(status.db_size()),
            db_size_in_use: size(status.raft_used_db_size()),
            db_size_quota: size(status.db_size_quota()),
            is_learner: status.is_learner(),
            raft_index: status.raft_index(),
            raft_applied_index: status.raft_applied_index(),
            raft_term: status.raft_term(),
            errors: status.errors().to_vec(),
        })
    }

    /// Makes another member the leader. `endpoint` is the present leader's: only the leader may hand over.
    pub async fn move_leader(&self, endpoint: &str, to: u64) -> Result<(), Error> {
        let operation = format!("hand the leadership to the member {to:x}");
        self.pool
            .call_member(endpoint, &operation, REQUEST_TIMEOUT, |connected| {
                let mut client = connected.client;
                async move { client.move_leader(to).await }
            })
            .await?;
        Ok(())
    }
}

impl From<&etcd_client::Member> for Member {
    fn from(member: &etcd_client::Member) -> Self {
        Self {
            id: member.id(),
            name: member.name().to_owned(),
            peer_urls: member.peer_urls().to_vec(),
            client_urls: member.client_urls().to_vec(),
            is_learner: member.is_learner(),
        }
    }
}
