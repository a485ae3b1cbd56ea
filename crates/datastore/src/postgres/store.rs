//! The PostgreSQL driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::error::SqlState;

use super::dial::Dialer;
use super::observe::{Observed, observe};
use super::query::{failed, get, identifier, is, is_race};
use super::steps::{change_password, join, missing};
use crate::record::{self, Holding, Wanted};
use crate::sessions::{Lease, SLOW_TIMEOUT, Sessions};
use crate::sql::PasswordIs;
use crate::tenant::{OWN_LOGIN, refuse};
use crate::{Changed, Connection, Driver, Error, Health, Leftovers, Owner, Secret, Sizes, Store, Tenant, TenantSize};

/// The server cuts longer names off without a word, so that two could become one.
const LONGEST_NAME: usize = 63;
/// How often a setup is begun anew because somebody else was at the same names.
const RACES: u32 = 3;
/// How long sessions may take to end.
const SESSIONS_END: Duration = Duration::from_secs(5);

/// A PostgreSQL that holds tenants. See [`crate::open`].
#[derive(Clone, Debug)]
pub struct PostgresStore {
    sessions: Arc<Sessions<Dialer>>,
    owner: Option<Arc<Owner>>,
    takes_over: bool,
}

/// A tenant whose names were checked, and whose owner is known.
struct Asked<'a> {
    tenant: &'a Tenant,
    record: Wanted,
}

impl PostgresStore {
    /// Checks the connection's endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            sessions: Arc::new(Sessions::open(connection, Dialer::new(connection)?)?),
            owner: None,
            takes_over: false,
        })
    }

    fn check<'a>(&self, tenant: &'a Tenant) -> Result<Asked<'a>, Error> {
        tenant.check_names()?;
        for (field, name) in [("schema", &tenant.schema), ("user", &tenant.user)] {
            if name.len() > LONGEST_NAME {
                return Err(refuse(field, name, "it is longer than the 63 bytes that PostgreSQL tells apart"));
            }
        }
        if matches!(tenant.schema.as_str(), "postgres" | "template0" | "template1") {
            return Err(refuse("schema", &tenant.schema, "it is a system database of PostgreSQL"));
        }
        if tenant.user.starts_with("pg_") || matches!(tenant.user.as_str(), "public" | "none" | "postgres") {
            return Err(refuse("user", &tenant.user, "it is a system role of PostgreSQL"));
        }
        if self.sessions.dialer().login() == Some(tenant.user.as_str()) {
            return Err(refuse("user", &tenant.user, OWN_LOGIN));
        }
        let owner = record::required(Driver::PostgreSql, self.owner.as_deref(), tenant)?;
        Ok(Asked { tenant, record: Wanted::new(owner, tenant, self.takes_over) })
    }

    /// What is there, once it is known not to be somebody else's.
    async fn held(&self, lease: &mut Lease<'_, Dialer>, asked: &Asked<'_>) -> Result<(Observed, Holding, bool), Error> {
        let observed = observe(lease, asked.tenant).await?;
        let holding = observed.holding(asked.tenant, &asked.record)?;
        if holding == Holding::Adoptable {
            asked.record.take_over()?;
        }
        let superuser = lease.session().is_some_and(|session| session.login.superuser);
        Ok((observed, holding, superuser))
    }

    /// From what is there to what should be.
    async fn set_up(
        &self,
        lease: &mut Lease<'_, Dialer>,
        asked: &Asked<'_>,
        password: &Secret,
        changed: &mut Changed,
    ) -> Result<(), Error> {
        let tenant = asked.tenant;
        let (observed, holding, superuser) = self.held(lease, asked).await?;
        observed.refuse_foreign_database(tenant)?;
        for step in missing(&observed, holding, tenant, &asked.record, Some(password), superuser) {
            lease.step(step, changed).await?;
        }
        let role_was_there = observed.role.is_some();
        if role_was_there && password_is(lease, tenant, password).await? == PasswordIs::Wrong {
            lease.step(change_password(tenant, password), changed).await?;
        }
        Ok(())
    }
}

async fn password_is(lease: &Lease<'_, Dialer>, tenant: &Tenant, password: &Secret) -> Result<PasswordIs, Error> {
    lease.dialer().try_password(lease.endpoint(), tenant, password).await
}

/// Open sessions of the tenant's login.
async fn count_sessions(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<u64, Error> {
    let operation = format!("count the sessions of the user {:?}", tenant.user);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
    let rows = lease.query(&operation, sql, &[&tenant.user]).await?;
    let count: i64 = rows.first().map(|row| get(lease.asked(&operation), row, 0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(count).unwrap_or_default())
}

async fn end_sessions(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<(), Error> {
    let operation = format!("end the sessions of the user {:?}", tenant.user);
    let deadline = Instant::now() + SESSIONS_END;
    loop {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        lease.query(&operation, sql, &[&tenant.user]).await?;
        if count_sessions(lease, tenant).await? == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(lease.asked(&operation).timed_out(SESSIONS_END));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn drop_role(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<(), Error> {
    let role = identifier(&tenant.user);
    let operation = format!("drop the role {:?}", tenant.user);
    let drop = format!("DROP ROLE IF EXISTS {role}");
    match lease.execute(&operation, &drop).await {
        Err(error) if is(&error, &SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {}
        other => return other,
    }
    // What it left in databases that every login may enter: a large object, or before PostgreSQL 15 anything.
    let sql = "SELECT DISTINCT datname::text FROM pg_shdepend JOIN pg_database d ON d.oid = dbid \
               WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)";
    let elsewhere = lease.query(&operation, sql, &[&tenant.user]).await?;
    let disown = format!("DROP OWNED BY {role}");
    for row in &elsewhere {
        let asked = lease.asked(&operation);
        let database: String = get(asked, row, 0)?;
        let disowned = async {
            let client = lease.dialer().administer(lease.endpoint(), &database, asked).await?;
            client.batch_execute(&disown).await.map_err(|error| failed(asked, error))
        };
        let disowned = tokio::time::timeout(SLOW_TIMEOUT, disowned).await;
        disowned.unwrap_or_else(|_elapsed| Err(asked.timed_out(SLOW_TIMEOUT)))?;
    }
    lease.execute(&operation, &format!("{disown}; {drop}")).await
}

#[async_trait]
impl Store for PostgresStore {
    fn on_behalf_of(&self, owner: &Owner) -> Arc<dyn Store> {
        Arc::new(Self { owner: Some(Arc::new(owner.clone())), ..self.clone() })
    }

    fn taking_over(&self) -> Arc<dyn Store> {
        Arc::new(Self { takes_over: true, ..self.clone() })
    }

    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Changed, Error> {
        let asked = self.check(tenant)?;
        let password = record::password(Driver::PostgreSql, tenant)?;
        let mut lease = self.sessions.lease(&format!("set up the schema {:?}", tenant.schema)).await?;
        let mut changed = Changed::default();
        let mut races = 0;
        loop {
            match self.set_up(&mut lease, &asked, password, &mut changed).await {
                Err(error) if races < RACES && is_race(&error) => races += 1,
                outcome => return outcome.map(|()| changed),
            }
        }
    }

    async fn is_set_up(&self, tenant: &Tenant) -> Result<bool, Error> {
        let asked = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("read the schema {:?}", tenant.schema)).await?;
        let (observed, holding, superuser) = self.held(&mut lease, &asked).await?;
        observed.refuse_foreign_database(tenant)?;
        if !missing(&observed, holding, tenant, &asked.record, None, superuser).is_empty() {
            return Ok(false);
        }
        match &tenant.password {
            Some(password) => Ok(password_is(&lease, tenant, password).await? == PasswordIs::Right),
            None => Ok(true),
        }
    }

    async fn revoke(&self, tenant: &Tenant) -> Result<(), Error> {
        let asked = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("revoke the access of the user {:?}", tenant.user)).await?;
        let (observed, _, superuser) = self.held(&mut lease, &asked).await?;
        let Some(role) = &observed.role else { return Ok(()) };
        let mut changed = Changed::default();
        if let Some(step) = join(&observed, tenant, superuser) {
            lease.step(step, &mut changed).await?;
        }
        if role.may_log_in {
            let operation = format!("lock the role {:?}", tenant.user);
            lease.execute(&operation, &format!("ALTER ROLE {} NOLOGIN", identifier(&tenant.user))).await?;
        }
        end_sessions(&mut lease, tenant).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), Error> {
        let asked = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("erase the schema {:?}", tenant.schema)).await?;
        let (observed, holding, superuser) = self.held(&mut lease, &asked).await?;
        if holding == Holding::Nothing {
            return Ok(());
        }
        if let Some(step) = join(&observed, tenant, superuser) {
            lease.step(step, &mut Changed::default()).await?;
        }
        if observed.own_database(tenant).is_some() {
            let operation = format!("drop the database {:?}", tenant.schema);
            let database = identifier(&tenant.schema);
            // As its owner the tenant may have made it a template, which cannot be dropped.
            lease.execute(&operation, &format!("ALTER DATABASE {database} IS_TEMPLATE false")).await?;
            let sql = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
            lease.execute_within(SLOW_TIMEOUT, &operation, &sql).await?;
        }
        drop_role(&mut lease, tenant).await
    }

    async fn recount(&self, tenant: &Tenant) -> Result<Leftovers, Error> {
        let asked = self.check(tenant)?;
        let mut lease = self.sessions.lease(&format!("recount the schema {:?}", tenant.schema)).await?;
        let (observed, _, _) = self.held(&mut lease, &asked).await?;
        Ok(Leftovers {
            keys: u64::from(observed.own_database(tenant).is_some()),
            users: u64::from(observed.role.is_some()),
            roles: 0,
            sessions: count_sessions(&mut lease, tenant).await?,
        })
    }

    async fn probe(&self) -> Result<Health, Error> {
        const OPERATION: &str = "administer tenants";
        let lease = self.sessions.lease(OPERATION).await?;
        let login = lease.session().map(|session| session.login.clone());
        let Some(login) = login else { return Ok(Health::default()) };
        let may = login.superuser || (login.create_database && login.create_role);
        if !may {
            let (endpoint, operation) = lease.asked(OPERATION).both();
            return Err(Error::PermissionDenied {
                endpoint,
                operation,
                detail: format!(
                    "the role {:?} is neither a superuser nor has both CREATEDB and CREATEROLE",
                    login.name
                ),
                source: Arc::new(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
            });
        }
        drop(lease);
        Ok(Health { version: login.version, silent: self.sessions.silent(OPERATION).await, warnings: Vec::new() })
    }

    async fn sizes(&self, tenants: &[Tenant]) -> Result<Sizes, Error> {
        const OPERATION: &str = "report its size";
        let mut lease = self.sessions.lease(OPERATION).await?;
        let names: Vec<&str> = tenants.iter().map(|tenant| tenant.schema.as_str()).collect();
        // Whom the size of a database may not be told is told nothing, rather than refused. Both functions answer NULL
        // for a database that is dropped during the query.
        let sql = "SELECT datname::text, CASE WHEN allowed THEN pg_database_size(oid) END, datname = ANY($1), allowed \
                   FROM (SELECT oid, datname, COALESCE(has_database_privilege(oid, 'CONNECT'), true) OR \
                   pg_has_role('pg_read_all_stats', 'USAGE') AS allowed FROM pg_database) AS databases";
        let rows = lease.query(OPERATION, sql, &[&names]).await?;
        let (mut total, mut by_schema) = (Some(0), BTreeMap::new());
        for row in &rows {
            let asked = lease.asked(OPERATION);
            let bytes: Option<i64> = get(asked, row, 1)?;
            let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
            let is_dropped = bytes.is_none() && get(asked, row, 3)?;
            if is_dropped {
                continue;
            }
            total = total.zip(bytes).map(|(total, bytes)| total + bytes);
            if get(asked, row, 2)? {
                by_schema.insert(get(asked, row, 0)?, TenantSize { keys: None, bytes });
            }
        }
        Ok(Sizes { bytes: total, bytes_in_use: None, quota: None, tenants: by_schema })
    }

    fn retry_after(&self) -> Option<Duration> {
        self.sessions.retry_after()
    }
}
