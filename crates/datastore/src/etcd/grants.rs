//! The user and role of one tenant: what is there, and what is missing to the wanted state.

use etcd_client::{Permission, PermissionType, RoleRevokePermissionOptions, UserAddOptions};

use super::failure::Refusal;
use super::keys::{self, KeyRange};
use super::pool::{Pool, Repeat};
use super::records::{self, Records};
use crate::store::Changed;
use crate::{Change, Error, Tenant};

/// The administrator's role, which etcd defines.
const ROOT: &str = "root";

/// One permission of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Granted {
    range: KeyRange,
    read_write: bool,
}

/// What etcd knows of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Permissions of the role of the schema's name; `None` without such a role.
    role: Option<Vec<Granted>>,
    /// Roles of the user; `None` without such a user.
    user: Option<Vec<String>>,
}

/// Reads the role, then the user and whose they are. Three requests, two of them side by side.
pub(crate) async fn observe(pool: &Pool, tenant: &Tenant) -> Result<(Observed, Records), Error> {
    // The role first: to a client that is unknown itself etcd answers "user name not found", which is an error here
    // and would be mistaken for the tenant's missing user below.
    let schema = tenant.schema.as_str();
    let role = pool
        .call_unless(&format!("read the role {schema:?}"), &[Refusal::RoleNotFound], |connected| {
            let mut client = connected.client;
            async move { client.role_get(schema).await }
        })
        .await?
        .map(|role| role.permissions().iter().map(Granted::from).collect());
    let (user, records) =
        futures::future::try_join(user_roles(pool, &tenant.user), records::read(pool, tenant)).await?;
    Ok((Observed { role, user }, records))
}

/// Roles of a user, `None` when there is no such user. Ask for a role before, see [`observe`].
async fn user_roles(pool: &Pool, user: &str) -> Result<Option<Vec<String>>, Error> {
    let answer = pool
        .call_unless(&format!("read the user {user:?}"), &[Refusal::UserNotFound], |connected| {
            let mut client = connected.client;
            async move { client.user_get(user).await }
        })
        .await?;
    Ok(answer.map(|user| user.roles().to_vec()))
}

impl From<&Permission> for Granted {
    fn from(permission: &Permission) -> Self {
        Self {
            range: KeyRange { start: permission.key().to_vec(), end: permission.range_end().to_vec() },
            read_write: permission.get_type() == PermissionType::Readwrite as i32,
        }
    }
}

impl Observed {
    /// The role has its one permission, and the user has the role.
    pub fn is_complete(&self, tenant: &Tenant) -> bool {
        let permitted = self.role.as_deref().is_some_and(|granted| repairs(granted, &tenant.schema).is_empty());
        permitted && self.user_has_role(tenant)
    }

    /// Whether the user is there and has the role.
    pub fn user_has_role(&self, tenant: &Tenant) -> bool {
        self.user.as_ref().is_some_and(|roles| roles.contains(&tenant.schema))
    }

    /// Whether there is a user that nobody else uses: it has no role but the tenant's.
    pub fn user_is_own(&self, tenant: &Tenant) -> bool {
        self.user.as_ref().is_some_and(|roles| roles.iter().all(|role| *role == tenant.schema))
    }

    /// Whether there is a role of the schema's name.
    pub fn role_exists(&self) -> bool {
        self.role.is_some()
    }

    /// Whether there is a role or a user of these names.
    pub fn is_any(&self) -> bool {
        self.role.is_some() || self.user.is_some()
    }

    /// A role of the user that is not the tenant's.
    fn foreign_role(&self, tenant: &Tenant) -> Option<&str> {
        self.user.iter().flatten().map(String::as_str).find(|role| *role != tenant.schema)
    }
}

/// What makes a role's permissions right.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Repair {
    /// etcd removes every permission on exactly this range.
    Remove(KeyRange),
    /// Read and write on the schema's keys.
    Grant,
}

fn repairs(granted: &[Granted], schema: &str) -> Vec<Repair> {
    let wanted = keys::of_schema(schema);
    let (own, foreign): (Vec<&Granted>, Vec<&Granted>) = granted.iter().partition(|one| one.range == wanted);
    let mut repairs = Vec::new();
    for Granted { range, .. } in foreign {
        let remove = Repair::Remove(range.clone());
        if !repairs.contains(&remove) {
            repairs.push(remove);
        }
    }
    match own.as_slice() {
        [Granted { read_write: true, .. }] => {}
        // Granting it again changes its kind in place.
        [] | [_] => repairs.push(Repair::Grant),
        // etcd can be brought to hold a range twice, and removes both together.
        [_, _, ..] => repairs.extend([Repair::Remove(wanted), Repair::Grant]),
    }
    repairs
}

/// Errs when the user or the role is in use by others, so that nothing may be added to them.
pub(crate) async fn refuse_foreign(pool: &Pool, tenant: &Tenant, observed: &Observed) -> Result<(), Error> {
    if let Some(role) = observed.foreign_role(tenant) {
        return Err(foreign_user(tenant, role));
    }
    if observed.role_exists() && !observed.user_has_role(tenant) {
        refuse_foreign_schema(pool, tenant).await?;
    }
    Ok(())
}

/// Adds or repairs what is missing. Ask [`refuse_foreign`] first.
pub(crate) async fn ensure(
    pool: &Pool,
    tenant: &Tenant,
    observed: &Observed,
    changed: &mut Changed,
) -> Result<(), Error> {
    let Tenant { schema, user, .. } = tenant;
    let (schema, user) = (schema.as_str(), user.as_str());
    if observed.role.is_none() {
        let added = pool
            .call_unless(&format!("add the role {schema:?}"), &[Refusal::RoleExists], |connected| {
                let mut client = connected.client;
                async move { client.role_add(schema).await }
            })
            .await?;
        changed.0.extend(added.map(|_| Change::RoleAdded));
    }
    for repair in repairs(observed.role.as_deref().unwrap_or_default(), schema) {
        changed.0.push(apply(pool, schema, repair).await?);
    }
    if observed.user.is_none() {
        let added = pool
            .call_unless(&format!("add the user {user:?}"), &[Refusal::UserExists], |connected| {
                let mut client = connected.client;
                let options = UserAddOptions::new().with_no_pwd();
                async move { client.user_add(user, "", Some(options)).await }
            })
            .await?;
        changed.0.extend(added.map(|_| Change::UserAdded));
    }
    if !observed.user_has_role(tenant) {
        pool.call(&format!("grant the role {schema:?} to the user {user:?}"), Repeat::Safe, |connected| {
            let mut client = connected.client;
            async move { client.user_grant_role(user, schema).await }
        })
        .await?;
        changed.0.push(Change::RoleGranted);
    }
    Ok(())
}

async fn apply(pool: &Pool, schema: &str, repair: Repair) -> Result<Change, Error> {
    match repair {
        Repair::Remove(range) => {
            let operation = format!("remove a foreign permission from the role {schema:?}");
            pool.call_unless(&operation, &[Refusal::PermissionNotGranted], |connected| {
                let mut client = connected.client;
                let options = RoleRevokePermissionOptions::new().with_range_end(range.end.clone());
                let start = range.start.clone();
                async move { client.role_revoke_permission(schema, start, Some(options)).await }
            })
            .await?;
            Ok(Change::PermissionRemoved)
        }
        Repair::Grant => {
            let range = keys::of_schema(schema);
            let operation = format!("give the role {schema:?} its permission");
            pool.call(&operation, Repeat::Safe, |connected| {
                let mut client = connected.client;
                let permission = Permission::read_write(range.start.clone()).with_range_end(range.end.clone());
                async move { client.role_grant_permission(schema, permission).await }
            })
            .await?;
            Ok(Change::PermissionGranted)
        }
    }
}

/// Takes the user away (only the role, when others use the user too), then the role.
pub(crate) async fn revoke(pool: &Pool, tenant: &Tenant, observed: &Observed) -> Result<(), Error> {
    let Tenant { schema, user, .. } = tenant;
    let (schema, user) = (schema.as_str(), user.as_str());
    if observed.role_exists() && !observed.user_has_role(tenant) {
        refuse_foreign_schema(pool, tenant).await?;
    }
    if observed.user_is_own(tenant) {
        pool.call_unless(&format!("delete the user {user:?}"), &[Refusal::UserNotFound], |connected| {
            let mut client = connected.client;
            async move { client.user_delete(user).await }
        })
        .await?;
    } else if observed.user_has_role(tenant) {
        let gone = [Refusal::UserNotFound, Refusal::RoleNotGranted];
        pool.call_unless(&format!("take the role {schema:?} from the user {user:?}"), &gone, |connected| {
            let mut client = connected.client;
            async move { client.user_revoke_role(user, schema).await }
        })
        .await?;
    }
    if observed.role_exists() {
        pool.call_unless(&format!("delete the role {schema:?}"), &[Refusal::RoleNotFound], |connected| {
            let mut client = connected.client;
            async move { client.role_delete(schema).await }
        })
        .await?;
    }
    Ok(())
}

/// Errs when another user holds the schema's role: then the schema is not this tenant's. Reads every user, so it is
/// asked only when the role is there and the tenant's user does not have it.
pub(crate) async fn refuse_foreign_schema(pool: &Pool, tenant: &Tenant) -> Result<(), Error> {
    let users = pool
        .call("list the users", Repeat::Safe, |connected| {
            let mut client = connected.client;
            async move { client.user_list().await }
        })
        .await?;
    for user in users.users().iter().filter(|user| **user != tenant.user) {
        let roles = user_roles(pool, user).await?.unwrap_or_default();
        if roles.contains(&tenant.schema) {
            return Err(Error::Conflict {
                detail: format!(
                    "the schema {:?} belongs to the user {user:?} of the datastore at {}, so the user {:?} cannot have \
                     it; choose another schema, or remove the old user and its data first",
                    tenant.schema,
                    pool.endpoints().collect::<Vec<_>>().join(", "),
                    tenant.user,
                ),
            });
        }
    }
    Ok(())
}

fn foreign_user(tenant: &Tenant, role: &str) -> Error {
    let what =
        if role == ROOT { "is an administrator of the datastore".to_owned() } else { format!("has the role {role:?}") };
    Error::Conflict {
        detail: format!(
            "the user {:?} already {what}, so it cannot be the login of the schema {:?}; choose another user",
            tenant.user, tenant.schema,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(start: &str, end: &str, read_write: bool) -> Granted {
        Granted { range: KeyRange { start: start.into(), end: end.into() }, read_write }
    }

    fn remove(start: &str, end: &str) -> Repair {
        Repair::Remove(KeyRange { start: start.into(), end: end.into() })
    }

    #[test]
    fn the_one_right_permission_needs_nothing() {
        assert_eq!(repairs(&[granted("/a/", "/a0", true)], "a"), []);
    }

    #[test]
    fn a_missing_or_weaker_permission_is_granted() {
        assert_eq!(repairs(&[], "a"), [Repair::Grant]);
        assert_eq!(repairs(&[granted("/a/", "/a0", false)], "a"), [Repair::Grant]);
    }

    #[test]
    fn foreign_and_wrong_ranges_are_removed() {
        let open_end = granted("/a/", "\0", true);
        let everything = granted("\0", "\0", true);
        let right = granted("/a/", "/a0", true);
        assert_eq!(repairs(&[open_end], "a"), [remove("/a/", "\0"), Repair::Grant]);
        assert_eq!(repairs(&[everything, right.clone()], "a"), [remove("\0", "\0")]);
        assert_eq!(repairs(&[granted("/a", "", true), right], "a"), [remove("/a", "")]);
    }

    #[test]
    fn a_doubled_permission_is_made_single() {
        let doubled = [granted("/a/", "/a0", false), granted("/a/", "/a0", true)];
        assert_eq!(repairs(&doubled, "a"), [remove("/a/", "/a0"), Repair::Grant]);
    }

    #[test]
    fn a_user_with_a_foreign_role_is_not_own() {
        let tenant = Tenant { schema: "a".into(), user: "u".into(), password: None };
        let with =
            |roles: &[&str]| Observed { role: None, user: Some(roles.iter().map(|role| (*role).to_owned()).collect()) };
        assert!(with(&[]).user_is_own(&tenant) && with(&["a"]).user_is_own(&tenant));
        assert!(!with(&["a", "b"]).user_is_own(&tenant) && !with(&["root"]).user_is_own(&tenant));
        assert!(!Observed { role: None, user: None }.user_is_own(&tenant));
        assert!(foreign_user(&tenant, "root").to_string().contains("administrator"));
    }
}
