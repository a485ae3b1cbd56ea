//! What the server knows of one tenant, read from the catalogues that all databases share.

use super::dial::Dialer;
use super::query::get;
use crate::record::{Holding, Record, Standing, Wanted};
use crate::sessions::Lease;
use crate::{Error, Tenant};

/// A role of the tenant's user name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub superuser: bool,
    /// It may create databases or roles, replicate, or pass by row-level security.
    pub powerful: bool,
    pub may_log_in: bool,
    pub comment: Option<String>,
    /// Roles whose rights it has besides its own.
    pub member_of: Vec<String>,
    /// Databases of other names that it owns.
    pub owns_besides: Vec<String>,
    /// The DataStore's login may act as it.
    pub is_ours_to_act_as: bool,
}

/// A database of the tenant's schema name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub owner: String,
    pub takes_connections: bool,
    /// Every login of the server has some right on it.
    pub is_public: bool,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub role: Option<Role>,
    pub database: Option<Database>,
}

/// Reads role and database. Two requests.
pub(crate) async fn observe(lease: &mut Lease<'_, Dialer>, tenant: &Tenant) -> Result<Observed, Error> {
    let operation = format!("read the role {:?} and the database {:?}", tenant.user, tenant.schema);
    // In the order in which they go and against the order in which they come: a database is never there without its role.
    let databases = lease
        .query(
            &operation,
            "SELECT pg_get_userbyid(datdba)::text, datallowconn, EXISTS (\
                 SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0) \
             FROM pg_database WHERE datname = $1",
            &[&tenant.schema],
        )
        .await?;
    let roles = lease
        .query(
            &operation,
            "SELECT rolsuper, rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolcanlogin, \
                 shobj_description(r.oid, 'pg_authid'), \
                 ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1), \
                 ARRAY(SELECT datname::text FROM pg_database WHERE datdba = r.oid AND datname <> $2 ORDER BY 1), \
                 pg_has_role(current_user, r.oid, 'USAGE') \
             FROM pg_roles r WHERE rolname = $1",
            &[&tenant.user, &tenant.schema],
        )
        .await?;
    let asked = lease.asked(&operation);
    let role = match roles.first() {
        None => None,
        Some(row) => Some(Role {
            superuser: get(asked, row, 0)?,
            powerful: get(asked, row, 1)?,
            may_log_in: get(asked, row, 2)?,
            comment: get(asked, row, 3)?,
            member_of: get(asked, row, 4)?,
            owns_besides: get(asked, row, 5)?,
            is_ours_to_act_as: get(asked, row, 6)?,
        }),
    };
    let database = match databases.first() {
        None => None,
        Some(row) => Some(Database {
            owner: get(asked, row, 0)?,
            takes_connections: get(asked, row, 1)?,
            is_public: get(asked, row, 2)?,
        }),
    };
    Ok(Observed { role, database })
}

impl Observed {
    /// Whose the role is, and without a role the database.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is somebody else's.
    pub fn holding(&self, tenant: &Tenant, wanted: &Wanted) -> Result<Holding, Error> {
        let Tenant { schema, user, .. } = tenant;
        let conflict = |detail: String| Err(Error::Conflict { detail });
        let (role, database) = match (&self.role, &self.database) {
            (None, None) => return Ok(Holding::Nothing),
            (None, Some(database)) => return conflict(foreign_database(tenant, &database.owner)),
            (Some(role), database) => (role, database),
        };
        if role.superuser {
            return conflict(format!(
                "the user {user:?} is a superuser of the datastore, so it cannot be the login of the schema {schema:?}; \
                 choose another user"
            ));
        }
        let found = role.comment.as_deref().and_then(Record::find);
        match wanted.standing(found.as_ref()) {
            Standing::Foreign => {
                let whose = found.map(|found| wanted.describe(&found)).unwrap_or_default();
                conflict(format!(
                    "the role {user:?} on the datastore was {whose}; choose another user, or delete that tenant first"
                ))
            }
            Standing::Own => Ok(Holding::Own),
            Standing::Outdated(change) => Ok(Holding::Outdated(change)),
            Standing::Unrecorded => {
                let is_plain = !role.powerful && role.member_of.is_empty() && role.owns_besides.is_empty();
                let owns = database.as_ref().is_some_and(|database| database.owner == *user);
                if is_plain && owns {
                    return Ok(Holding::Adoptable);
                }
                conflict(format!(
                    "the role {user:?} on the datastore was not made for this tenant; choose another user, or drop the \
                     role if nobody needs it"
                ))
            }
        }
    }

    /// The database, when it is the role's.
    pub fn own_database(&self, tenant: &Tenant) -> Option<&Database> {
        self.database.as_ref().filter(|database| database.owner == tenant.user)
    }

    /// Errs when the database is another role's: it may have been made between the tenant's own role and its database.
    pub fn refuse_foreign_database(&self, tenant: &Tenant) -> Result<(), Error> {
        match &self.database {
            Some(database) if database.owner != tenant.user => {
                Err(Error::Conflict { detail: foreign_database(tenant, &database.owner) })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn foreign_database(tenant: &Tenant, owner: &str) -> String {
    format!(
        "the database {:?} on the datastore belongs to the role {owner:?}, so the user {:?} cannot have it; choose \
         another schema, or drop that database if nobody needs it",
        tenant.schema, tenant.user
    )
}
