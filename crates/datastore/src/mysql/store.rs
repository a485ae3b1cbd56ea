//! The MySQL and MariaDB driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::dial::{Dialer, Server};
use super::names::{self, account, identifier};
use super::observe::{Observed, is_open_to_all, observe};
use super::query::{code, is_race, text};
use super::steps::{change_password, missing};
use crate::record::{self, Holding, Wanted};
use crate::sessions::{Lease, SLOW_TIMEOUT, Sessions};
use crate::sql::PasswordIs;
use crate::tenant::{OWN_LOGIN, refuse};
use crate::{Changed, Connection, Driver, Error, Health, Leftovers, Owner, Secret, Sizes, Store, Tenant, TenantSize};

/// How often a setup is begun anew because somebody else was at the same names.
const RACES: u32 = 3;
/// How long sessions may take to end.
const SESSIONS_END: Duration = Duration::from_secs(5);
/// The server's number for a session that has ended already.
const NO_SUCH_SESSION: u16 = 1094;
/// What the DataStore's login gives to tenants, and what it needs besides to make and end them.
const NEEDED: [&str; 10] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "DROP", "PROCESS", "CREATE USER"];

/// A MySQL or MariaDB that holds tenants. See [`crate::open`].
#[derive(Clone, Debug)]
pub struct MySqlStore {
    sessions: Arc<Sessions<Dialer>>,
    owner: Option<Arc<Owner>>,
    takes_over: bool,
}

impl MySqlStore {
    /// Checks the connection's endpoints and TLS material; dials nothing.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            sessions: Arc::new(Sessions::open(connection, Dialer::new(connection)?)?),
            owner: None,
            takes_over: false,
        })
    }

    /// The record of a tenant whose names are good.
    fn check(&self, tenant: &Tenant) -> Result<Wanted, Error> {
        tenant.check_names()?;
        names::check(tenant)?;
        if self.sessions.dialer().login() == Some(tenant.user.as_str()) {
            return Err(refuse("user", &tenant.user, OWN_LOGIN));
        }
        let owner = record::required(Driver::MySql, self.owner.as_deref(), tenant)?;
        Ok(Wanted::new(owner, tenant, self.takes_over))
    }

    async fn lease(&self, operation: &str) -> Result<(Lease<'_, Dialer>, Server), Error> {
        let mut lease = self.sessions.lease(operation).await?;
        let session = lease.take(operation)?;
        let server = session.server.clone();
        lease.put(session);
        Ok((lease, server))
    }
}

/// What is there, once it is known not to be somebody else's.
async fn held(
    lease: &mut Lease<'_, Dialer>,
    server: &Server,
    tenant: &Tenant,
    record: &Wanted,
) -> Result<(Observed, Holding), Error> {
    let observed = observe(lease, server, tenant).await?;
    let holding = observed.holding(tenant, record, server.wildcards)?;
    if holding == Holding::Adoptable {
        record.take_over()?;
    }
    Ok((observed, holding))
}

/// From what is there to what should be.
async fn set_up(
    lease: &mut Lease<'_, Dialer>,
    server: &Server,
    tenant: &Tenant,
    record: &Wanted,
    password: &Secret,
    changed: &mut Changed,
) -> Result<(), Error> {
    let (observed, holding) = held(lease, server, tenant, record).await?;
    if holding == Holding::Nothing {
        names::check_new(tenant, server.wildcards)?;
        if is_open_to_all(lease, tenant).await? {
            let reason =
                "the server gives every login rights on a database of this name, as it does for test and test_…";
            return Err(refuse("schema", &tenant.schema, reason));
        }
    }
    for step in missing(&observed, holding, tenant, record, Some(password), server) {
        lease.step(step, changed).await?;
    }
    if observed.account.is_some() && password_is(lease, tenant, password).await? == PasswordIs::Wrong {
        lease.step(change_password(tenant, password, server), changed).await?;
    }
    Ok(())
}

async fn password_is(lease: &Lease<'_, Dialer>, tenant: &Tenant, password: &Secret) -> Result<PasswordIs, Error> {
    lease.dialer().try_password(lease.endpoint(), tenant, password).await
}

/// Ids of the open sessions of the tenant's login.
async fn sessions(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<Vec<String>, Error> {
    let operation = format!("list the sessions of the user {:?}", tenant.user);
    let sql = "SELECT ID, USER FROM information_schema.PROCESSLIST WHERE USER = ?";
    let rows = lease.query(&operation, sql, vec![&tenant.user]).await?;
    Ok(rows.iter().filter(|row| text(row, 1).as_ref() == Some(&tenant.user)).filter_map(|row| text(row, 0)).collect())
}

async fn end_sessions(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<(), Error> {
    let operation = format!("end the sessions of the user {:?}", tenant.user);
    let deadline = Instant::now() + SESSIONS_END;
    loop {
        let open = sessions(lease, tenant).await?;
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(lease.asked(&operation).timed_out(SESSIONS_END));
        }
        for id in open {
            match lease.execute(&operation, &format!("KILL CONNECTION {id}")).await {
                Err(error) if code(&error) == Some(NO_SUCH_SESSION) => {}
                other => other?,
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the DataStore's login lacks; nothing when it has a role, whose rights are not looked into.
async fn lacks(lease: &mut Lease<'_, Dialer>, operation: &str) -> Result<Vec<&'static str>, Error> {
    let sql = "SELECT CURRENT_USER(), CURRENT_ROLE()";
    let rows = lease.query(operation, sql, Vec::new()).await?;
    let column = |column| rows.first().and_then(|row| text(row, column));
    if column(1).is_some_and(|role| role != "NONE") {
        return Ok(Vec::new());
    }
    let login = column(0).unwrap_or_default();
    let (user, host) = login.rsplit_once('@').unwrap_or_default();
    let grantee = format!("'{user}'@'{host}'");
    let sql = "SELECT PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ?";
    let rows = lease.query(operation, sql, vec![&grantee]).await?;
    let has = |right: &str| rows.iter().any(|row| text(row, 0).as_deref() == Some(right));
    let mut lacking: Vec<&str> = NEEDED.into_iter().filter(|right| !has(right)).collect();
    if !rows.iter().any(|row| text(row, 1).as_deref() == Some("YES")) {
        lacking.push("GRANT OPTION");
    }
    if !["SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN"].into_iter().any(has) {
        lacking.push("CONNECTION ADMIN");
    }
    Ok(lacking)
}

#[async_trait]
impl Store for MySqlStore {
    fn on_behalf_of(&self, owner: &Owner) -> Arc<dyn Store> {
        Arc::new(Self { owner: Some(Arc::new(owner.clone())), ..self.clone() })
    }

    fn taking_over(&self) -> Arc<dyn Store> {
        Arc::new(Self { takes_over: true, ..self.clone() })
    }

    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Changed, Error> {
        let record = self.check(tenant)?;
        let password = record::password(Driver::MySql, tenant)?;
        let (mut lease, server) = self.lease(&format!("set up the schema {:?}", tenant.schema)).await?;
        let mut changed = Changed::default();
        let mut races = 0;
        loop {
            match set_up(&mut lease, &server, tenant, &record, password, &mut changed).await {
                Err(error) if races < RACES && is_race(&error) => races += 1,
                outcome => return outcome.map(|()| changed),
            }
        }
    }

    async fn is_set_up(&self, tenant: &Tenant) -> Result<bool, Error> {
        let record = self.check(tenant)?;
        let (mut lease, server) = self.lease(&format!("read the schema {:?}", tenant.schema)).await?;
        let (observed, holding) = held(&mut lease, &server, tenant, &record).await?;
        if !missing(&observed, holding, tenant, &record, None, &server).is_empty() {
            return Ok(false);
        }
        match &tenant.password {
            Some(password) => Ok(password_is(&lease, tenant, password).await? == PasswordIs::Right),
            None => Ok(true),
        }
    }

    async fn revoke(&self, tenant: &Tenant) -> Result<(), Error> {
        let record = self.check(tenant)?;
        let (mut lease, server) = self.lease(&format!("revoke the access of the user {:?}", tenant.user)).await?;
        let (observed, _) = held(&mut lease, &server, tenant, &record).await?;
        let Some(found) = observed.account else { return Ok(()) };
        if !found.locked {
            let operation = format!("lock the user {:?}", tenant.user);
            lease.execute(&operation, &format!("ALTER USER {} ACCOUNT LOCK", account(tenant))).await?;
        }
        end_sessions(&mut lease, tenant).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), Error> {
        let record = self.check(tenant)?;
        let (mut lease, server) = self.lease(&format!("erase the schema {:?}", tenant.schema)).await?;
        let (observed, holding) = held(&mut lease, &server, tenant, &record).await?;
        if holding == Holding::Nothing {
            return Ok(());
        }
        let drop_user = format!("DROP USER IF EXISTS {}", account(tenant));
        let operation = format!("drop the user {:?}", tenant.user);
        // What carries the record goes last: whatever interrupts, the next pass knows whose the rest is.
        if server.mariadb {
            lease.execute(&operation, &drop_user).await?;
        }
        if observed.database {
            let sql = format!("DROP DATABASE IF EXISTS {}", identifier(&tenant.schema));
            lease.execute_within(SLOW_TIMEOUT, &format!("drop the database {:?}", tenant.schema), &sql).await?;
        }
        if server.mariadb { Ok(()) } else { lease.execute(&operation, &drop_user).await }
    }

    async fn recount(&self, tenant: &Tenant) -> Result<Leftovers, Error> {
        let record = self.check(tenant)?;
        let (mut lease, server) = self.lease(&format!("recount the schema {:?}", tenant.schema)).await?;
        let (observed, _) = held(&mut lease, &server, tenant, &record).await?;
        let open = sessions(&mut lease, tenant).await?.len();
        Ok(Leftovers {
            keys: u64::from(observed.database),
            users: u64::from(observed.account.is_some()),
            roles: 0,
            sessions: u64::try_from(open).unwrap_or_default(),
        })
    }

    async fn probe(&self) -> Result<Health, Error> {
        const OPERATION: &str = "administer tenants";
        let (mut lease, server) = self.lease(OPERATION).await?;
        let lacking = lacks(&mut lease, OPERATION).await?;
        if !lacking.is_empty() {
            let (endpoint, operation) = lease.asked(OPERATION).both();
            return Err(Error::PermissionDenied {
                endpoint,
                operation,
                detail: format!("it lacks {} on *.*", lacking.join(", ")),
                source: Arc::new(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
            });
        }
        // What names and rights are compared with.
        lease.query("read its accounts", "SELECT 1 FROM mysql.user, mysql.db LIMIT 1", Vec::new()).await?;
        drop(lease);
        Ok(Health { version: server.version, silent: self.sessions.silent(OPERATION).await, warnings: Vec::new() })
    }

    async fn sizes(&self, tenants: &[Tenant]) -> Result<Sizes, Error> {
        const OPERATION: &str = "report its size";
        let (mut lease, _) = self.lease(OPERATION).await?;
        let sql = "SELECT TABLE_SCHEMA, CAST(SUM(DATA_LENGTH + INDEX_LENGTH) AS UNSIGNED), \
                   CAST(SUM(TABLE_ROWS) AS UNSIGNED) FROM information_schema.TABLES GROUP BY TABLE_SCHEMA";
        let rows = lease.query(OPERATION, sql, Vec::new()).await?;
        let number = |row, column| text(row, column).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
        let by_name: BTreeMap<String, TenantSize> = rows
            .iter()
            .filter_map(|row| {
                let size = TenantSize { keys: Some(number(row, 2)), bytes: Some(number(row, 1)) };
                Some((text(row, 0)?, size))
            })
            .collect();
        // One without tables has no row.
        let of = |tenant: &Tenant| (tenant.schema.clone(), by_name.get(&tenant.schema).copied().unwrap_or_default());
        let bytes = by_name.values().filter_map(|size| size.bytes).sum();
        Ok(Sizes { bytes: Some(bytes), bytes_in_use: None, quota: None, tenants: tenants.iter().map(of).collect() })
    }

    fn retry_after(&self) -> Option<Duration> {
        self.sessions.retry_after()
    }
}
