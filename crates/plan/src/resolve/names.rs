//! Which names a tenant may have on a datastore (docs/reference/compatibility.md, "Schema and user").
//!
//! A name that reaches beyond the tenant is refused here, before a server is asked: the servers' own rules would let
//! some of them pass. What only the server can tell (whose a name is already) its driver refuses.

use kamaji_api::{DataStore, Driver, TenantControlPlane};

pub use crate::resolved::identity::{SCHEMA, USER};
use crate::{rejection::Rejection, resolved::StoreIdentity};

/// Databases of PostgreSQL's own, in whatever case.
const POSTGRESQL_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];
/// Roles of PostgreSQL's own, and words that it reads as none.
const POSTGRESQL_ROLES: [&str; 3] = ["postgres", "public", "none"];
/// How the other roles of PostgreSQL's own begin.
const POSTGRESQL_ROLE_PREFIX: &str = "pg_";
/// Databases of MySQL's own, in whatever case.
const MYSQL_DATABASES: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];
/// Users of MySQL's and MariaDB's own.
const MYSQL_USERS: [&str; 3] = ["mysql", "mariadb.sys", "PUBLIC"];
/// How the other users of MySQL's own begin.
const MYSQL_USER_PREFIX: &str = "mysql.";

/// Longest user of a new tenant on MySQL, in characters.
const LONGEST_MYSQL_USER: usize = 32;

/// Refuses names that the driver cannot keep apart from what is not the tenant's. `recorded` are the names that are in
/// use already: what is only a limit of new names does not hold for them.
pub fn check(
    tenant: &TenantControlPlane,
    store: &DataStore,
    identity: &StoreIdentity,
    recorded: Option<&StoreIdentity>,
) -> Result<(), Rejection> {
    let StoreIdentity { schema, user } = identity;
    let refused = |field: &str, name: &str, why: &str| {
        Err(Rejection::new("InvalidSpec", field, format!("{name:?} cannot be used: {why}; choose another name")))
    };
    // On NATS the user is the DataStore's own, and says nothing of the tenant.
    let own_user = (store.spec.driver != Driver::Nats).then_some((USER, user));
    for (field, name) in [(SCHEMA, schema)].into_iter().chain(own_user) {
        if let Some(why) = anywhere(name) {
            return refused(field, name, why);
        }
    }
    if let Some(why) = schema_of(&store.spec.driver, schema) {
        return refused(SCHEMA, schema, why);
    }
    let sql = matches!(store.spec.driver, Driver::MySql | Driver::PostgreSql);
    let is_known = |name: &str, pick: fn(&StoreIdentity) -> &String| recorded.is_some_and(|known| pick(known) == name);
    let setup = tenant.status.as_ref().map(|status| &status.storage.setup);
    let is_reported = |name: &str, reported: Option<&String>| reported.is_some_and(|reported| reported == name);
    let schema_reported = is_reported(schema, setup.and_then(|setup| setup.schema.as_ref()));
    let user_reported = is_reported(user, setup.and_then(|setup| setup.user.as_ref()));
    if sql && !schema_reported && !is_known(schema, |known| &known.schema) && !is_plain(schema) {
        return refused(SCHEMA, schema, NOT_PLAIN);
    }
    let Some((_, user)) = own_user else { return Ok(()) };
    let known = user_reported || is_known(user, |known| &known.user);
    if sql && !known && !is_plain(user) {
        return refused(USER, user, NOT_PLAIN);
    }
    if let Some(why) = user_of(&store.spec.driver, user) {
        return refused(USER, user, why);
    }
    if login(store).is_some_and(|login| login == user.as_bytes()) {
        return refused(USER, user, "it is the login of the DataStore itself");
    }
    if store.spec.driver == Driver::MySql && !known && user.chars().count() > LONGEST_MYSQL_USER {
        return refused(USER, user, "MySQL's users have 32 characters at most");
    }
    Ok(())
}

/// kine is given the names in an address.
const NOT_PLAIN: &str = "kine takes letters, digits, dashes, dots and underscores only";

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'))
}

/// On etcd the name is a path element and a role: a slash or the superuser's name would reach into another tenant.
fn anywhere(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty and the object has no UID yet")
    } else if name == "root" {
        Some("it is the superuser of a datastore")
    } else if matches!(name, "." | "..") {
        Some("it is a relative path")
    } else if name.len() > 200 {
        Some("it is longer than 200 bytes")
    } else if name.contains('/') || name.chars().any(char::is_control) {
        Some("a slash or a control character could reach another tenant's keys")
    } else {
        None
    }
}

fn schema_of(driver: &Driver, schema: &str) -> Option<&'static str> {
    let is_one_of = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(schema));
    match driver {
        Driver::PostgreSql if is_one_of(&POSTGRESQL_DATABASES) => Some("it is a system database of PostgreSQL"),
        Driver::PostgreSql if schema.len() > 63 => Some("PostgreSQL's names have 63 bytes at most"),
        Driver::MySql if is_one_of(&MYSQL_DATABASES) => Some("it is a system database of MySQL"),
        Driver::MySql if schema.chars().count() > 64 => Some("MySQL's databases have 64 characters at most"),
        Driver::Nats if !schema.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) => {
            Some("a bucket's name has letters, digits, dashes and underscores only")
        }
        _ => None,
    }
}

fn user_of(driver: &Driver, user: &str) -> Option<&'static str> {
    match driver {
        Driver::PostgreSql if POSTGRESQL_ROLES.contains(&user) || user.starts_with(POSTGRESQL_ROLE_PREFIX) => {
            Some("it is a system role of PostgreSQL")
        }
        Driver::PostgreSql if user.len() > 63 => Some("PostgreSQL's names have 63 bytes at most"),
        Driver::MySql if MYSQL_USERS.contains(&user) || user.starts_with(MYSQL_USER_PREFIX) => {
            Some("it is a system user of MySQL")
        }
        _ => None,
    }
}

/// The DataStore's own login, where its specification says it. One in a Secret is known to the driver only.
fn login(store: &DataStore) -> Option<&[u8]> {
    Some(store.spec.basic_auth.as_ref()?.username.content.as_ref()?.0.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolved::identity::default_user;

    fn store(driver: &str) -> DataStore {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "DataStore",
            "metadata": {"name": "store"},
            "spec": {
                "driver": driver,
                "endpoints": ["store:1"],
                "basicAuth": {"username": {"content": "YWRtaW4="}, "password": {"content": "cHc="}},
            },
        }))
        .unwrap()
    }

    fn field(driver: &str, schema: &str, user: &str) -> Option<String> {
        let identity = StoreIdentity { schema: schema.to_owned(), user: user.to_owned() };
        let refused = check(&TenantControlPlane::default(), &store(driver), &identity, None).err()?;
        assert!(refused.to_string().contains("choose another name"), "{refused}");
        Some(refused.field)
    }

    const ALL: [&str; 4] = ["etcd", "MySQL", "PostgreSQL", "NATS"];

    #[test]
    fn names_that_reach_beyond_the_tenant_are_refused_on_every_driver() {
        for driver in ALL {
            for name in ["", "root", "/", "a/b", "a\0", "a\nb", "..", "."] {
                assert_eq!(field(driver, name, "user").as_deref(), Some(SCHEMA), "{driver} {name:?}");
                let user = (driver != "NATS").then_some(USER);
                assert_eq!(field(driver, "schema", name).as_deref(), user, "{driver} {name:?}");
            }
            assert_eq!(field(driver, "a_b", "a-b"), None);
        }
    }

    #[test]
    fn names_that_kine_cannot_be_told_are_refused_to_new_tenants() {
        for name in ["a b", "a'b", "a\"b", "a@b", "a%b", "ä", "a?b", "a`b"] {
            for driver in ["MySQL", "PostgreSQL"] {
                assert_eq!(field(driver, name, "user").as_deref(), Some(SCHEMA), "{driver} {name:?}");
                assert_eq!(field(driver, "schema", name).as_deref(), Some(USER), "{driver} {name:?}");
            }
            assert_eq!(field("etcd", name, name), None, "{name:?}");
        }
    }

    #[test]
    fn system_databases_and_superusers_are_refused_on_their_driver() {
        for (driver, schema) in
            [("PostgreSQL", "template1"), ("PostgreSQL", "Postgres"), ("MySQL", "mysql"), ("MySQL", "SYS")]
        {
            assert_eq!(field(driver, schema, "user").as_deref(), Some(SCHEMA), "{driver} {schema}");
        }
        for (driver, user) in [
            ("PostgreSQL", "postgres"),
            ("PostgreSQL", "none"),
            ("PostgreSQL", "pg_monitor"),
            ("MySQL", "mariadb.sys"),
            ("MySQL", "mysql.sys"),
            ("MySQL", "admin"),
            ("PostgreSQL", "admin"),
        ] {
            assert_eq!(field(driver, "schema", user).as_deref(), Some(USER), "{driver} {user}");
        }
        assert_eq!(field("etcd", "mysql", "postgres"), None);
    }

    #[test]
    fn the_api_server_refuses_the_same_system_names() {
        let policy = include_str!("../../../../charts/kamaji/templates/admission-policy.yaml");
        let list = |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let tables: [(&str, &[&str], &[&str]); 3] = [
            ("systemSchemas", &POSTGRESQL_DATABASES, &MYSQL_DATABASES),
            ("systemUsers", &POSTGRESQL_ROLES, &MYSQL_USERS),
            ("systemUserPrefixes", &[POSTGRESQL_ROLE_PREFIX], &[MYSQL_USER_PREFIX]),
        ];
        for (variable, postgresql, mysql) in tables {
            let table = format!("{{'PostgreSQL': [{}], 'MySQL': [{}]}}", list(postgresql), list(mysql));
            let written = format!("    - name: {variable}\n      expression: >-\n        {table}\n");
            assert!(policy.contains(&written), "the policy lacks:\n{written}");
        }
    }

    #[test]
    fn a_new_tenants_default_user_fits_mysql_and_an_older_ones_stays() {
        let uid = "8f2e8d97-80b5-4d74-87de-ba15903f2bb2";
        let user = default_user(&Driver::MySql, uid);
        assert_eq!(field("MySQL", uid, &user), None);
        assert_eq!(field("MySQL", uid, uid).as_deref(), Some(USER));
        let older = StoreIdentity { schema: uid.to_owned(), user: uid.to_owned() };
        assert!(check(&TenantControlPlane::default(), &store("MySQL"), &older, Some(&older)).is_ok());
        assert_eq!(default_user(&Driver::PostgreSql, uid), uid);
    }
}
