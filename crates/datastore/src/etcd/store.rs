//! The etcd driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{AlarmAction, AlarmType, DeleteOptions, GetOptions, StatusResponse};

use super::holding::{Held, held};
use super::pool::{Pool, REQUEST_TIMEOUT, Repeat};
use super::{auth_status, grants, keys, version};
use crate::record::{self, Wanted};
use crate::{Changed, Connection, Driver, Error, Health, Leftovers, Owner, Sizes, Store, Tenant, TenantSize};

/// Keys deleted by one request: enough to be quick, few enough that the server serves others in between.
const BATCH: i64 = 1_000;
/// Part of the quota from which on a warning is due, in percent.
const QUOTA_WARNING: u64 = 80;

/// An etcd that holds tenants. See [`crate::open`].
#[derive(Clone, Debug)]
pub struct EtcdStore {
    pool: Arc<Pool>,
    owner: Option<Arc<Owner>>,
    takes_over: bool,
}

impl EtcdStore {
    /// Checks the connection's endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { pool: Arc::new(Pool::open(connection)?), owner: None, takes_over: false })
    }

    /// What is there of a tenant with good names, once it is known not to be somebody else's.
    async fn held(&self, tenant: &Tenant) -> Result<Held, Error> {
        tenant.check_names()?;
        let wanted = match self.owner.as_deref() {
            // Who has no owner goes by role and user alone.
            None => None,
            given => Some(Wanted::new(record::required(Driver::Etcd, given, tenant)?, tenant, self.takes_over)),
        };
        held(&self.pool, tenant, wanted).await
    }

    async fn count(&self, schema: &str) -> Result<u64, Error> {
        let range = keys::of_schema(schema);
        let answer = self
            .pool
            .call(&format!("count the keys of the schema {schema:?}"), Repeat::Safe, |connected| {
                let mut client = connected.client;
                let options = GetOptions::new().with_range(range.end.clone()).with_count_only();
                let start = range.start.clone();
                async move { client.get(start, Some(options)).await }
            })
            .await?;
        Ok(u64::try_from(answer.count()).unwrap_or_default())
    }

    /// Deletes up to [`BATCH`] keys; returns how many were found.
    async fn erase_batch(&self, schema: &str) -> Result<usize, Error> {
        let range = keys::of_schema(schema);
        let operation = format!("delete the keys of the schema {schema:?}");
        let found = self
            .pool
            .call(&operation, Repeat::Safe, |connected| {
                let mut client = connected.client;
                let options = GetOptions::new().with_range(range.end.clone()).with_keys_only().with_limit(BATCH);
                let start = range.start.clone();
                async move { client.get(start, Some(options)).await }
            })
            .await?;
        let Some(last) = found.kvs().last() else { return Ok(0) };
        let batch = keys::up_to(&range.start, last.key());
        self.pool
            .call(&operation, Repeat::Safe, |connected| {
                let mut client = connected.client;
                let options = DeleteOptions::new().with_range(batch.end.clone());
                let start = batch.start.clone();
                async move { client.delete(start, Some(options)).await }
            })
            .await?;
        Ok(found.kvs().len())
    }

    /// Whether the server asks its clients who they are.
    async fn authenticates(&self) -> Result<bool, Error> {
        self.pool
            .call("say whether authentication is enabled", Repeat::Safe, |connected| {
                auth_status::enabled(connected.channel)
            })
            .await
    }

    /// The status of each endpoint that answers, and what is wrong with each that does not.
    async fn statuses(&self) -> (Vec<(&str, StatusResponse)>, BTreeMap<usize, Error>) {
        // Side by side: each of them may take its whole timeout.
        let answers = futures::future::join_all(self.pool.endpoints().map(|endpoint| async move {
            let status = self.pool.call_member(endpoint, "report its status", REQUEST_TIMEOUT, |connected| {
                let mut client = connected.client;
                async move { client.status().await }
            });
            (endpoint, status.await)
        }));
        let mut statuses = Vec::new();
        let mut silent = BTreeMap::new();
        for (place, (endpoint, status)) in answers.await.into_iter().enumerate() {
            match status {
                Ok(status) => statuses.push((endpoint, status)),
                Err(error) => drop(silent.insert(place, error)),
            }
        }
        (statuses, silent)
    }
}

#[async_trait]
impl Store for EtcdStore {
    fn on_behalf_of(&self, owner: &Owner) -> Arc<dyn Store> {
        Arc::new(Self { owner: Some(Arc::new(owner.clone())), ..self.clone() })
    }

    fn taking_over(&self) -> Arc<dyn Store> {
        Arc::new(Self { takes_over: true, ..self.clone() })
    }

    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Changed, Error> {
        let held = self.held(tenant).await?;
        let mut changed = Changed::default();
        if held.is_complete(tenant) {
            return Ok(changed);
        }
        // Keys without a role are those of whoever has the etcd to itself: another API server, or an application. Of a
        // caller with an owner they were refused already.
        if !held.is_owned() && !self.takes_over && !held.observed.role_exists() && held.records.keys > 0 {
            let detail = format!(
                "what the datastore has under the schema {:?} was not made for this tenant; choose another schema, or \
                 delete it if nobody needs it",
                tenant.schema
            );
            return Err(Error::Conflict { detail });
        }
        let is_granted = held.observed.is_complete(tenant);
        if !is_granted {
            // Nobody's names are recorded for a tenant that then cannot have them.
            grants::refuse_foreign(&self.pool, tenant, &held.observed).await?;
        }
        changed.0.extend(held.record(&self.pool, tenant).await?);
        if !is_granted {
            grants::ensure(&self.pool, tenant, &held.observed, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn is_set_up(&self, tenant: &Tenant) -> Result<bool, Error> {
        Ok(self.held(tenant).await?.is_complete(tenant))
    }

    async fn revoke(&self, tenant: &Tenant) -> Result<(), Error> {
        let held = self.held(tenant).await?;
        grants::revoke(&self.pool, tenant, &held.observed).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), Error> {
        let held = self.held(tenant).await?;
        if held.observed.role_exists() && !held.observed.user_has_role(tenant) {
            grants::refuse_foreign_schema(&self.pool, tenant).await?;
        }
        let batch = u64::try_from(BATCH).unwrap_or(1);
        // One batch more than there are now: a writer that goes on must not keep this going for ever.
        let batches = held.records.keys.div_ceil(batch) + 1;
        for _ in 0..batches {
            if self.erase_batch(&tenant.schema).await? == 0 {
                return held.free(&self.pool, tenant).await;
            }
        }
        Ok(())
    }

    async fn recount(&self, tenant: &Tenant) -> Result<Leftovers, Error> {
        Ok(self.held(tenant).await?.leftovers(tenant))
    }

    async fn probe(&self) -> Result<Health, Error> {
        // Through the circuit, and only for administrators: a store that is away or a login that may not is an error.
        self.pool
            .call("list the roles", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.role_list().await }
            })
            .await?;
        let mut warnings = Vec::new();
        if !self.authenticates().await? {
            warnings.push(
                "etcd has authentication disabled: every client reaches the keys of every tenant; enable it with \
                 `etcdctl auth enable` after adding the user and role root"
                    .to_owned(),
            );
        }
        let (statuses, silent) = self.statuses().await;
        let (lowest, outdated) = version::lowest(statuses.iter().map(|(_, status)| status.version()));
        warnings.extend(outdated);
        for (endpoint, status) in &statuses {
            warnings.extend(quota_warning(endpoint, status));
            if status.is_learner() {
                warnings.push(format!(
                    "the endpoint {endpoint} is a learner, which answers no requests; promote it, or remove it from \
                     spec.endpoints"
                ));
            }
        }
        let alarms = self
            .pool
            .call("list its alarms", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.alarm(AlarmAction::Get, AlarmType::None, None).await }
            })
            .await?;
        for alarm in alarms.alarms() {
            let member = alarm.member_id();
            warnings.push(match alarm.alarm() {
                AlarmType::Nospace => format!(
                    "member {member:x} of etcd raised NOSPACE: no tenant can write; compact and defragment it, or raise \
                     its quota, then disarm the alarm"
                ),
                AlarmType::Corrupt => format!(
                    "member {member:x} of etcd raised CORRUPT: its data differs from the others'; replace the member"
                ),
                AlarmType::None => continue,
            });
        }
        Ok(Health { version: lowest.to_owned(), silent, warnings })
    }

    async fn sizes(&self, tenants: &[Tenant]) -> Result<Sizes, Error> {
        let status = self
            .pool
            .call("report its status", Repeat::Safe, |connected| {
                let mut client = connected.client;
                async move { client.status().await }
            })
            .await?;
        let mut by_schema = BTreeMap::new();
        for tenant in tenants {
            tenant.check_names()?;
            let keys = self.count(&tenant.schema).await?;
            by_schema.insert(tenant.schema.clone(), TenantSize { keys: Some(keys), bytes: None });
        }
        Ok(Sizes {
            bytes: positive(status.db_size()),
            bytes_in_use: positive(status.raft_used_db_size()),
            quota: positive(status.db_size_quota()),
            tenants: by_schema,
        })
    }

    fn retry_after(&self) -> Option<Duration> {
        self.pool.retry_after()
    }
}

/// A size that the server knows: older ones leave the field at zero.
fn positive(size: i64) -> Option<u64> {
    u64::try_from(size).ok().filter(|size| *size > 0)
}

/// The size is not in the sentence: it would change with every probe.
fn quota_warning(endpoint: &str, status: &StatusResponse) -> Option<String> {
    let (size, quota) = (positive(status.db_size())?, positive(status.db_size_quota())?);
    (size >= quota / 100 * QUOTA_WARNING).then(|| {
        format!(
            "etcd at {endpoint} uses more than {QUOTA_WARNING} % of its quota of {quota} bytes: compact and defragment \
             it, or raise --quota-backend-bytes, before it stops taking writes"
        )
    })
}
