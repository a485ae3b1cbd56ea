//! How an administrator removes what the operator leaves alone.

use kamaji_datastore::Driver;
use kamaji_plan::resolve::StoreIdentity;

/// The commands that remove a schema and a user from a datastore, as the end of a sentence.
pub fn removal(driver: Driver, StoreIdentity { schema, user }: &StoreIdentity) -> String {
    match driver {
        Driver::Etcd => {
            let [keys, schema_record, user_record] = [
                format!("/{schema}/"),
                format!("kamaji.clastix.io/owner/schema/{schema}"),
                format!("kamaji.clastix.io/owner/user/{user}"),
            ]
            .map(|key| quoted(&key, "'", "'\\''"));
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
            format!("with nats `kv del {}` and `stream rm KAMAJI_TENANT`", quoted(schema, "'", "'\\''"))
        }
    }
}

/// What becomes of what is not a tenant's that goes.
pub fn stays(data_store: &str) -> String {
    format!("The tenant goes, and what bears its names on the DataStore {data_store} stays as it is.")
}

/// What becomes of the names of a tenant that is gone, `namespace/name`, and of what is not its own under them.
pub fn given_up(tenant: &str) -> String {
    format!("The names of {tenant} are not reserved any more; what bears them stays.")
}

/// The note that something stays, for an Event, which is cut at its end: `whose` it is comes last, and without what
/// somebody could do who stays.
pub fn kept(fate: &str, removal: &str, whose: &str) -> String {
    let whose = whose.split("; choose ").next().unwrap_or(whose);
    format!("{fate} What of it nobody needs can be removed {removal}. Why: {whose}.")
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
        let names = StoreIdentity { schema: "s".to_owned(), user: "u".to_owned() };
        let etcd = removal(Driver::Etcd, &names);
        for part in ["delete 'u'", "delete 's'", "--prefix '/s/'", "owner/schema/s'`", "owner/user/u'`"] {
            assert!(etcd.contains(part), "{part}: {etcd}");
        }
        assert_eq!(removal(Driver::PostgreSql, &names), "with psql `DROP DATABASE \"s\"` and `DROP ROLE \"u\"`");
        assert_eq!(removal(Driver::MySql, &names), "with mysql DROP DATABASE `s` and DROP USER 'u'@'%'");
        assert_eq!(removal(Driver::Nats, &names), "with nats `kv del 's'` and `stream rm KAMAJI_TENANT`");
        let odd = StoreIdentity { schema: "a`b".to_owned(), user: "it's \"x\"".to_owned() };
        assert!(removal(Driver::Etcd, &odd).contains(r#"`user delete 'it'\''s "x"'`"#));
        assert!(removal(Driver::PostgreSql, &odd).ends_with(r#"DROP ROLE "it's ""x"""`"#));
        assert!(removal(Driver::MySql, &odd).contains("`a``b` and DROP USER 'it''s"));
    }

    /// An Event's note is cut at this many bytes.
    const NOTE_LIMIT: usize = 1024;

    #[test]
    fn a_note_about_long_names_on_etcd_fits_into_an_event() {
        let [schema, user, name] = ["s", "u", "n"].map(|letter| letter.repeat(63));
        let uid = "8d2f3b0a-6c0e-4b0b-9f3e-0d9a6a7c1f11";
        let whose = format!(
            "the schema {schema:?} on the datastore was made for the tenant with the UID {uid} (schema {schema:?}, user \
             {user:?}); choose other names, or delete that tenant first; if it is gone for good, delete the key \
             \"kamaji.clastix.io/owner/schema/{schema}\" and the key \"kamaji.clastix.io/owner/user/{user}\" with etcdctl"
        );
        let removal = removal(Driver::Etcd, &StoreIdentity { schema, user });
        for fate in [stays(&name), given_up(&format!("{name}/{name}"))] {
            let note = kept(&fate, &removal, &whose);
            assert!(note.len() <= NOTE_LIMIT, "{}: {note}", note.len());
            for part in [fate.as_str(), &removal, uid] {
                assert!(note.contains(part), "{part}: {note}");
            }
            assert!(!note.contains("choose other names"), "there is nobody left to do it: {note}");
            assert_eq!(note.matches("kamaji.clastix.io/owner/").count(), 2, "{note}");
        }
    }
}
