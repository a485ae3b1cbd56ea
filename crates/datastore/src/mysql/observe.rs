//! What the server knows of one tenant.

use std::collections::BTreeSet;

use super::dial::{Dialer, Server};
use super::names;
use super::query::{columns, text};
use crate::record::{Holding, Record, Standing, Wanted};
use crate::sessions::Lease;
use crate::{Error, Tenant};

/// What kine needs on its database, as the columns of `mysql.db` are called.
const NEEDED: [&str; 7] = ["Select", "Insert", "Update", "Delete", "Create", "Alter", "Index"];

/// The tenant's account, `user@%`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub locked: bool,
    /// It has rights on the whole server, or on single tables, columns or routines.
    pub has_foreign_rights: bool,
    /// It has been given roles.
    pub has_roles: bool,
}

/// Its rights on databases of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub pattern: String,
    pub rights: BTreeSet<String>,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub database: bool,
    pub account: Option<Account>,
    /// Accounts of the same name from other hosts.
    pub namesakes: Vec<String>,
    pub grants: Vec<Grant>,
    pub record: Option<Record>,
    /// What the comment on the database says, where databases have one.
    pub comment: Option<String>,
}

/// Reads database, account and rights.
pub(crate) async fn observe(
    lease: &mut Lease<'_, Dialer>,
    server: &Server,
    tenant: &Tenant,
) -> Result<Observed, Error> {
    let operation = format!("read the user {:?} and the database {:?}", tenant.user, tenant.schema);
    let (user, schema) = (tenant.user.as_str(), tenant.schema.as_str());

    // What carries the record comes first, so it is read last: the rest is never there without it.
    let mut found = None;
    if !server.mariadb {
        found = database(lease, server, &operation, schema).await?;
    }

    let (mut account, mut namesakes) = (None, Vec::new());
    for row in lease.query(&operation, "SELECT * FROM mysql.user WHERE User = ?", vec![user]).await? {
        let (mut host, mut seen) = (String::new(), Account::default());
        for (column, value) in columns(&row) {
            match column.as_str() {
                "Host" => host = value,
                "account_locked" => seen.locked = value == "Y",
                column if column.ends_with("_priv") => seen.has_foreign_rights |= value == "Y",
                _ => {}
            }
        }
        if host == "%" {
            account = Some(seen);
        } else {
            namesakes.push(host);
        }
    }

    let mut grants = Vec::new();
    for row in lease.query(&operation, "SELECT * FROM mysql.db WHERE User = ?", vec![user]).await? {
        let (mut pattern, mut rights) = (String::new(), BTreeSet::new());
        for (column, value) in columns(&row) {
            match column.strip_suffix("_priv") {
                Some(right) if value == "Y" => {
                    rights.insert(right.to_owned());
                }
                None if column == "Db" => pattern = value,
                Some(_) | None => {}
            }
        }
        grants.push(Grant { pattern, rights });
    }

    let mut record = None;
    if let Some(account) = &mut account {
        let sql = if server.mariadb {
            "SELECT JSON_VALUE(Priv, '$.account_locked'), \
                 (SELECT COUNT(*) FROM mysql.tables_priv t WHERE t.User = g.User) + \
                 (SELECT COUNT(*) FROM mysql.columns_priv c WHERE c.User = g.User) + \
                 (SELECT COUNT(*) FROM mysql.procs_priv p WHERE p.User = g.User), \
                 (SELECT COUNT(*) FROM mysql.roles_mapping r WHERE r.User = g.User), NULL \
             FROM mysql.global_priv g WHERE User = ? AND Host = '%'"
        } else {
            "SELECT NULL, \
                 (SELECT COUNT(*) FROM mysql.tables_priv t WHERE t.User = a.USER) + \
                 (SELECT COUNT(*) FROM mysql.columns_priv c WHERE c.User = a.USER) + \
                 (SELECT COUNT(*) FROM mysql.procs_priv p WHERE p.User = a.USER) + \
                 (SELECT COUNT(*) FROM mysql.global_grants g WHERE g.USER = a.USER), \
                 (SELECT COUNT(*) FROM mysql.role_edges r WHERE r.TO_USER = a.USER), ATTRIBUTE \
             FROM information_schema.USER_ATTRIBUTES a WHERE USER = ? AND HOST = '%'"
        };
        let rows = lease.query(&operation, sql, vec![user]).await?;
        let column = |column| rows.first().and_then(|row| text(row, column)).unwrap_or_default();
        account.locked |= matches!(column(0).as_str(), "1" | "true");
        account.has_foreign_rights |= column(1) != "0";
        account.has_roles = column(2) != "0";
        if !server.mariadb {
            record = serde_json::from_str(&column(3)).ok().as_ref().and_then(Record::read);
        }
    }
    if server.mariadb {
        found = database(lease, server, &operation, schema).await?;
        record = found.as_deref().and_then(Record::find);
    }
    Ok(Observed { database: found.is_some(), account, namesakes, grants, record, comment: found })
}

/// The comment on the database, empty where there can be none; nothing without the database.
async fn database(
    lease: &mut Lease<'_, Dialer>,
    server: &Server,
    operation: &str,
    schema: &str,
) -> Result<Option<String>, Error> {
    let comment = if server.mariadb { "SCHEMA_COMMENT" } else { "NULL" };
    let sql = format!("SELECT SCHEMA_NAME, {comment} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?");
    let rows = lease.query(operation, &sql, vec![schema]).await?;
    // The server may compare without regard to case.
    let row = rows.iter().find(|row| text(row, 0).as_deref() == Some(schema));
    Ok(row.map(|row| text(row, 1).unwrap_or_default()))
}

/// Whether the server gives rights on a database of this name to every login, or to whoever has none: a default
/// installation does for `test` and `test_…`.
pub(crate) async fn is_open_to_all(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<bool, Error> {
    let operation = format!("read who has rights on the database {:?}", tenant.schema);
    // The session has `NO_BACKSLASH_ESCAPES`, so a pattern is told what escapes.
    let sql = "SELECT Db FROM mysql.db WHERE User IN ('', 'PUBLIC') AND ? LIKE Db ESCAPE '\\' LIMIT 1";
    Ok(!lease.query(&operation, sql, vec![&tenant.schema]).await?.is_empty())
}

impl Grant {
    /// Just what kine needs.
    pub fn is_exact(&self) -> bool {
        self.rights.len() == NEEDED.len() && NEEDED.iter().all(|right| self.rights.contains(*right))
    }
}

impl Observed {
    /// Whose account and database are.
    ///
    /// # Errors
    /// [`Error::Conflict`] when either is somebody else's.
    pub fn holding(&self, tenant: &Tenant, wanted: &Wanted, wildcards: bool) -> Result<Holding, Error> {
        let Tenant { schema, user, .. } = tenant;
        let conflict = |detail: String| Err(Error::Conflict { detail });
        if let Some(host) = self.namesakes.first() {
            return conflict(format!(
                "the datastore has an account {user:?} from the host {host:?}, which is not the tenant's; choose another \
                 user"
            ));
        }
        if !self.database && self.account.is_none() {
            return Ok(Holding::Nothing);
        }
        match wanted.standing(self.record.as_ref()) {
            Standing::Foreign => {
                let whose = self.record.as_ref().map(|found| wanted.describe(found)).unwrap_or_default();
                conflict(format!(
                    "the schema {schema:?} with the user {user:?} on the datastore was {whose}; choose other names, or \
                     delete that tenant first"
                ))
            }
            Standing::Own | Standing::Outdated(_) if self.account.as_ref().is_some_and(|account| account.has_roles) => {
                conflict(format!(
                    "the user {user:?} on the datastore was given roles, which a tenant must not have; revoke them"
                ))
            }
            // On MariaDB the record is the database's: an account that came to the name besides is not made ours.
            Standing::Own | Standing::Outdated(_) if self.account_is_foreign(schema, wildcards) => conflict(format!(
                "the user {user:?} on the datastore has other rights than those of this tenant; choose another user, or \
                 drop it if nobody needs it"
            )),
            Standing::Own => Ok(Holding::Own),
            Standing::Outdated(change) => Ok(Holding::Outdated(change)),
            Standing::Unrecorded if self.is_as_go_made_it(schema, wildcards) => Ok(Holding::Adoptable),
            Standing::Unrecorded => {
                let what = match (self.database, self.account.is_some()) {
                    (true, true) => format!("the database {schema:?} and the user {user:?}"),
                    (true, false) => format!("the database {schema:?}"),
                    (false, _) => format!("the user {user:?}"),
                };
                conflict(format!(
                    "{what} on the datastore were not made for this tenant; choose other names, or drop them if nobody \
                     needs them"
                ))
            }
        }
    }

    /// It has rights, and none of them on this schema.
    fn account_is_foreign(&self, schema: &str, wildcards: bool) -> bool {
        let escaped = names::pattern(schema, wildcards);
        let Some(account) = &self.account else { return false };
        let has_own = self.grants.iter().any(|grant| grant.pattern == escaped || grant.pattern == schema);
        !has_own && (account.has_foreign_rights || !self.grants.is_empty())
    }

    fn is_as_go_made_it(&self, schema: &str, wildcards: bool) -> bool {
        let escaped = names::pattern(schema, wildcards);
        let own = |grant: &Grant| grant.is_exact() && (grant.pattern == escaped || grant.pattern == schema);
        let plain = self.account.as_ref().is_some_and(|account| !account.has_foreign_rights && !account.has_roles);
        plain && !self.grants.is_empty() && self.grants.iter().all(own)
    }
}
