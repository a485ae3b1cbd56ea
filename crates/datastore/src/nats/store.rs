//! The NATS driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::claim::{self, CLAIM, Observed, observe, stream};
use super::dial::Dialer;
use crate::record::{self, Holding, Wanted};
use crate::sessions::{Lease, Sessions};
use crate::tenant::refuse;
use crate::{Change, Changed, Connection, Driver, Error, Health, Leftovers, Owner, Sizes, Store, Tenant, TenantSize};

/// A NATS account that holds one tenant. See [`crate::open`].
#[derive(Clone, Debug)]
pub struct NatsStore {
    sessions: Arc<Sessions<Dialer>>,
    owner: Option<Arc<Owner>>,
    takes_over: bool,
}

impl NatsStore {
    /// Checks the connection's endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            sessions: Arc::new(Sessions::open(connection, Dialer::new(connection)?)?),
            owner: None,
            takes_over: false,
        })
    }

    /// The record of a tenant whose bucket has a good name. Its user is the DataStore's own: it says nothing of the
    /// tenant, and changes with the DataStore.
    fn check(&self, tenant: &Tenant) -> Result<Wanted, Error> {
        let schema = &tenant.schema;
        check_bucket(schema)?;
        let owner = record::required(Driver::Nats, self.owner.as_deref(), tenant)?;
        let bucket = Tenant { schema: schema.clone(), user: String::new(), password: None };
        Ok(Wanted::new(owner, &bucket, self.takes_over))
    }
}

/// Refuses what is no name of a bucket.
fn check_bucket(schema: &str) -> Result<(), Error> {
    if schema.is_empty() || !schema.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(refuse("schema", schema, "a bucket has letters, digits, '-' and '_' in its name, nothing else"));
    }
    Ok(())
}

/// What is there, once it is known not to be somebody else's.
async fn held(lease: &mut Lease<'_, Dialer>, tenant: &Tenant, record: &Wanted) -> Result<(Observed, Holding), Error> {
    let observed = observe(lease, "say whose it is").await?;
    let holding = observed.holding(tenant, record)?;
    if holding == Holding::Adoptable {
        record.take_over()?;
    }
    Ok((observed, holding))
}

fn number(value: &Value, path: &str) -> Option<u64> {
    value.pointer(path).and_then(Value::as_u64)
}

#[async_trait]
impl Store for NatsStore {
    fn on_behalf_of(&self, owner: &Owner) -> Arc<dyn Store> {
        Arc::new(Self { owner: Some(Arc::new(owner.clone())), ..self.clone() })
    }

    fn taking_over(&self) -> Arc<dyn Store> {
        Arc::new(Self { takes_over: true, ..self.clone() })
    }

    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Changed, Error> {
        let record = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("set up the bucket {:?}", tenant.schema)).await?;
        let (_, holding) = held(&mut lease, tenant, &record).await?;
        let operation = "claim it for the tenant";
        match holding {
            Holding::Own => return Ok(Changed::default()),
            Holding::Outdated(change) => {
                return match lease.update(operation, CLAIM, &claim::config(&record)).await {
                    Ok(()) => Ok(Changed(vec![change])),
                    Err(error) if change == Change::OwnerRecorded => {
                        record::not_completed(error).map(|()| Changed::default())
                    }
                    Err(error) => Err(error),
                };
            }
            Holding::Nothing | Holding::Adoptable => {}
        }
        if lease.create(operation, CLAIM, &claim::config(&record)).await?.is_none() {
            // Another was faster: this says who, and succeeds if it was the same tenant.
            held(&mut lease, tenant, &record).await?;
        }
        Ok(Changed(vec![Change::OwnerRecorded]))
    }

    async fn is_set_up(&self, tenant: &Tenant) -> Result<bool, Error> {
        let record = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("look for the bucket {:?}", tenant.schema)).await?;
        Ok(held(&mut lease, tenant, &record).await?.1 == Holding::Own)
    }

    async fn revoke(&self, tenant: &Tenant) -> Result<(), Error> {
        let record = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("look for the bucket {:?}", tenant.schema)).await?;
        held(&mut lease, tenant, &record).await.map(drop)
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), Error> {
        let record = self.check(tenant)?;
        let operation = format!("erase the bucket {:?}", tenant.schema);
        let mut lease = self.sessions.lease(&operation).await?;
        let (observed, _) = held(&mut lease, tenant, &record).await?;
        if observed.buckets.contains(&tenant.schema) {
            lease.delete(&operation, &stream(&tenant.schema)).await?;
        }
        if observed.claim.is_some() {
            lease.delete(&operation, CLAIM).await?;
        }
        Ok(())
    }

    async fn recount(&self, tenant: &Tenant) -> Result<Leftovers, Error> {
        let record = self.check(tenant)?;
        let operation = format!("recount the bucket {:?}", tenant.schema);
        let mut lease = self.sessions.lease(&operation).await?;
        let (observed, _) = held(&mut lease, tenant, &record).await?;
        let bucket = lease.stream(&operation, &stream(&tenant.schema)).await?;
        Ok(Leftovers {
            keys: bucket.map_or(0, |bucket| number(&bucket, "/state/messages").unwrap_or_default().max(1)),
            users: 0,
            roles: u64::from(observed.claim.is_some()),
            sessions: 0,
        })
    }

    async fn probe(&self) -> Result<Health, Error> {
        const OPERATION: &str = "report on JetStream";
        let mut lease = self.sessions.lease(OPERATION).await?;
        lease.account(OPERATION).await?;
        let version = lease.session().map(|session| session.version.clone()).unwrap_or_default();
        drop(lease);
        Ok(Health { version, silent: self.sessions.silent(OPERATION).await, warnings: Vec::new() })
    }

    async fn sizes(&self, tenants: &[Tenant]) -> Result<Sizes, Error> {
        const OPERATION: &str = "report its size";
        let mut lease = self.sessions.lease(OPERATION).await?;
        let account = lease.account(OPERATION).await?;
        let mut by_schema = BTreeMap::new();
        for tenant in tenants {
            check_bucket(&tenant.schema)?;
            let bucket = lease.stream(OPERATION, &stream(&tenant.schema)).await?.unwrap_or_default();
            let size = TenantSize { keys: number(&bucket, "/state/messages"), bytes: number(&bucket, "/state/bytes") };
            by_schema.insert(tenant.schema.clone(), size);
        }
        // An account without a limit has -1.
        let quota = number(&account, "/limits/max_storage");
        Ok(Sizes { bytes: number(&account, "/storage"), bytes_in_use: None, quota, tenants: by_schema })
    }

    fn retry_after(&self) -> Option<Duration> {
        self.sessions.retry_after()
    }
}
