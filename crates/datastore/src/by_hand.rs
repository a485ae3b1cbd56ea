//! How an administrator removes what is left alone, because it is recorded as somebody else's.

use crate::etcd::keys;
use crate::nats::claim::CLAIM;
use crate::{Driver, Tenant};

/// The commands that remove a schema and a user from a datastore, as the end of a sentence.
pub fn removal(driver: Driver, tenant: &Tenant) -> String {
    let Tenant { schema, user, .. } = tenant;
    match driver {
        Driver::Etcd => {
            let keys = quoted(&keys::prefix(schema), "'", "'\\''");
            let [schema_record, user_record] = keys::of_records(tenant).map(|key| quoted(&key, "'", "'\\''"));
            let [schema, user] = [schema, user].map(|name| quoted(name, "'", "'\\''"));
            format!(
                "with etcdctl `user delete {user}`, `role delete {schema}`, `del --prefix {keys}`, `del {schema_record}` \
                 and `del {user_record}`"
            )
        }
        Driver::PostgreSql => {
            let [schema, user] = [schema, user].map(|name| quoted(name, "\"", "\"\""));
            format!("with psql `DROP DATABASE {schema}` and `DROP ROLE {user}`")
        }
        Driver::MySql => {
            let (schema, user) = (quoted(schema, "`", "``"), quoted(user, "'", "''"));
            format!("with mysql DROP DATABASE {schema} and DROP USER {user}@'%'")
        }
        Driver::Nats => {
            format!("with nats `kv del {}` and `stream rm {CLAIM}`", quoted(schema, "'", "'\\''"))
        }
    }
}

/// The name between quotes, with those that are in it written as `inner`.
fn quoted(name: &str, quote: &str, inner: &str) -> String {
    format!("{quote}{}{quote}", name.replace(quote, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_its_commands_with_quoted_names() {
        let names = Tenant { schema: "s".to_owned(), user: "u".to_owned(), password: None };
        let etcd = removal(Driver::Etcd, &names);
        for part in ["delete 'u'", "delete 's'", "--prefix '/s/'", "owner/schema/s'`", "owner/user/u'`"] {
            assert!(etcd.contains(part), "{part}: {etcd}");
        }
        assert_eq!(removal(Driver::PostgreSql, &names), "with psql `DROP DATABASE \"s\"` and `DROP ROLE \"u\"`");
        assert_eq!(removal(Driver::MySql, &names), "with mysql DROP DATABASE `s` and DROP USER 'u'@'%'");
        assert_eq!(removal(Driver::Nats, &names), "with nats `kv del 's'` and `stream rm KAMAJI_TENANT`");
        let odd = Tenant { schema: "a`b".to_owned(), user: "it's \"x\"".to_owned(), password: None };
        assert!(removal(Driver::Etcd, &odd).contains(r#"`user delete 'it'\''s "x"'`"#));
        assert!(removal(Driver::PostgreSql, &odd).ends_with(r#"DROP ROLE "it's ""x"""`"#));
        assert!(removal(Driver::MySql, &odd).contains("`a``b` and DROP USER 'it''s"));
    }
}
