//! Which names MySQL can tell apart, and how they are written in statements.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::tenant::refuse;
use crate::{Error, Secret, Tenant};

/// Longest name of a database, in characters; as long is the pattern in a grant.
const LONGEST_SCHEMA: usize = 64;
/// Longest name of a user on MySQL, in characters. MariaDB takes more, and a tenant may have been made there.
const LONGEST_USER: usize = 32;

/// Refuses what no tenant may have.
pub(crate) fn check(tenant: &Tenant) -> Result<(), Error> {
    let (schema, user) = (tenant.schema.as_str(), tenant.user.as_str());
    for (field, name) in [("schema", schema), ("user", user)] {
        if name.ends_with(' ') {
            return Err(refuse(field, name, "MySQL drops a space at its end"));
        }
        if name.chars().any(|c| u32::from(c) > 0xFFFF) {
            return Err(refuse(field, name, "it holds a character that MySQL does not take in names"));
        }
    }
    if schema.chars().count() > LONGEST_SCHEMA {
        return Err(refuse("schema", schema, "it is longer than the 64 characters that MySQL takes"));
    }
    if ["mysql", "information_schema", "performance_schema", "sys"].iter().any(|own| own.eq_ignore_ascii_case(schema)) {
        return Err(refuse("schema", schema, "it is a system database of MySQL"));
    }
    if user.starts_with("mysql.") || matches!(user, "mysql" | "mariadb.sys" | "PUBLIC") {
        return Err(refuse("user", user, "it is a system user of MySQL"));
    }
    Ok(())
}

/// Refuses what a new tenant may not have besides.
pub(crate) fn check_new(tenant: &Tenant, wildcards: bool) -> Result<(), Error> {
    if tenant.user.chars().count() > LONGEST_USER {
        return Err(refuse("user", &tenant.user, "it is longer than the 32 characters that MySQL takes"));
    }
    if wildcards && escaped(&tenant.schema).chars().count() > LONGEST_SCHEMA {
        let reason = "with each of its underscores escaped, as its grant needs, it is longer than 64 characters";
        return Err(refuse("schema", &tenant.schema, reason));
    }
    Ok(())
}

/// The database in a grant, where `_` and `%` stand for any character and any characters: escaped, so that the user of
/// `a_b` cannot reach `axb`. A name that is too long for it, which only an older tenant can have, stays as it is.
/// A server with partial revokes knows no such patterns.
pub(crate) fn pattern(schema: &str, wildcards: bool) -> String {
    let escaped = escaped(schema);
    if wildcards && escaped.chars().count() <= LONGEST_SCHEMA { escaped } else { schema.to_owned() }
}

fn escaped(schema: &str) -> String {
    let mut text = String::new();
    for character in schema.chars() {
        if matches!(character, '_' | '%' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// An identifier in backticks.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The tenant's account.
pub(crate) fn account(tenant: &Tenant) -> String {
    format!("{}@'%'", identifier(&tenant.user))
}

/// A string in single quotes. The session has `NO_BACKSLASH_ESCAPES`: a backslash is a backslash.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The password in a statement that sets one. MySQL keeps passwords in statements out of its logs; MariaDB does not, so
/// there the statement has what the server keeps of it (`mysql_native_password`, its default).
pub(crate) fn identified_by(password: &Secret, mariadb: bool) -> String {
    if mariadb {
        format!("IDENTIFIED BY PASSWORD {}", literal(&verifier(password)))
    } else {
        format!("IDENTIFIED BY {}", literal(password.expose()))
    }
}

fn verifier(password: &Secret) -> String {
    let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let twice = sha1(sha1(password.expose().as_bytes()).as_ref());
    let mut text = String::from("*");
    for byte in twice.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(schema: &str, user: &str) -> Tenant {
        Tenant { schema: schema.into(), user: user.into(), password: None }
    }

    #[test]
    fn patterns_match_one_database_only() {
        assert_eq!(pattern("a_b", true), "a\\_b");
        assert_eq!(pattern("100%\\", true), "100\\%\\\\");
        assert_eq!(pattern("a-b", true), "a-b");
        assert_eq!(pattern("a_b", false), "a_b");
        let long = "_".repeat(40);
        assert_eq!(pattern(&long, true), long);
        assert!(check_new(&tenant(&long, "u"), true).is_err() && check_new(&tenant(&long, "u"), false).is_ok());
    }

    #[test]
    fn quotes_leave_nothing_open() {
        assert_eq!(identifier("a`; DROP USER b"), "`a``; DROP USER b`");
        assert_eq!(literal("it's \\"), "'it''s \\'");
        assert_eq!(account(&tenant("a", "u'@`x")), "`u'@``x`@'%'");
    }

    #[test]
    fn mariadb_is_sent_what_it_keeps_of_a_password() {
        // `SELECT PASSWORD('password')`.
        let kept = "IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'";
        assert_eq!(identified_by(&"password".into(), true), kept);
        assert_eq!(identified_by(&"it's".into(), false), "IDENTIFIED BY 'it''s'");
    }

    #[test]
    fn system_names_and_names_that_would_be_changed_are_refused() {
        for schema in ["mysql", "MySQL", "INFORMATION_SCHEMA", "performance_schema", "sys", "a ", "🦀", &"s".repeat(65)]
        {
            assert_eq!(check(&tenant(schema, "u")).unwrap_err().category(), "invalid_name", "{schema}");
        }
        for user in ["mysql.sys", "mysql", "mariadb.sys", "u ", "🦀"] {
            assert_eq!(check(&tenant("s", user)).unwrap_err().category(), "invalid_name", "{user}");
        }
        let uid = "8d2f3b0a-6c0e-4b0b-9f3e-0d9a6a7c1f11";
        check(&tenant(uid, uid)).unwrap();
        assert!(check_new(&tenant(uid, uid), true).unwrap_err().to_string().contains("32 characters"));
        check_new(&tenant(uid, &uid.replace('-', "")), true).unwrap();
    }
}
