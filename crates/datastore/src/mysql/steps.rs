//! From what is there to what should be: the statements, in order.

use super::dial::Server;
use super::names::{account, identified_by, identifier, literal, pattern};
use super::observe::{Grant, Observed};
use crate::record::{Holding, Record};
use crate::sql::Step;
use crate::{Change, Secret, Tenant};

/// What is missing; nothing when the tenant is set up. The password of an account that is there is looked at elsewhere.
pub(crate) fn missing(
    observed: &Observed,
    holding: Holding,
    tenant: &Tenant,
    record: &Record,
    password: Option<&Secret>,
    server: &Server,
) -> Vec<Step> {
    let (database, user) = (identifier(&tenant.schema), account(tenant));
    let recorded = literal(&record.to_json().to_string());
    let mut steps = Vec::new();

    let mut of_database = Vec::new();
    if !observed.database {
        // Never there without its record, where databases can carry it.
        let comment = if server.mariadb { format!(" COMMENT {recorded}") } else { String::new() };
        let operation = format!("add the database {:?}", tenant.schema);
        let sql = format!("CREATE DATABASE {database}{comment}");
        of_database.push(Step { slow: true, ..Step::new(operation, sql, Change::DatabaseAdded) });
    }
    let mut of_account = Vec::new();
    if observed.account.is_none() {
        let password = password.map(|password| identified_by(password, server.mariadb)).unwrap_or_default();
        let attribute = if server.mariadb { String::new() } else { format!(" ATTRIBUTE {recorded}") };
        of_account.push(Step::new(
            format!("add the user {:?}", tenant.user),
            format!("CREATE USER {user} {password}{attribute}"),
            Change::UserAdded,
        ));
    }
    if let Some(change) = holding.to_record() {
        let operation = format!("record the owner of {:?}", tenant.schema);
        let optional = holding.is_good_enough();
        if server.mariadb && observed.database {
            let comment = literal(&record.behind(observed.comment.as_deref()));
            let sql = format!("ALTER DATABASE {database} COMMENT {comment}");
            of_database.push(Step { optional, ..Step::new(operation, sql, change) });
        } else if !server.mariadb && observed.account.is_some() {
            // The server keeps the keys of others.
            let sql = format!("ALTER USER {user} ATTRIBUTE {recorded}");
            of_account.push(Step { optional, ..Step::new(operation, sql, change) });
        }
    }
    // What carries the record comes first: whatever interrupts, the next pass knows whose the rest is.
    if server.mariadb {
        steps.extend(of_database);
        steps.extend(of_account);
    } else {
        steps.extend(of_account);
        steps.extend(of_database);
    }

    let wanted = pattern(&tenant.schema, server.wildcards);
    let is_right = |pattern: &str| pattern == wanted;
    let unescaped = |pattern: &str| !is_right(pattern) && pattern == tenant.schema;
    let foreign_grant = |grant: &Grant| {
        let expected = unescaped(&grant.pattern) || (is_right(&grant.pattern) && grant.is_exact());
        !expected && !grant.rights.is_empty()
    };
    let foreign = observed.account.as_ref().is_some_and(|account| account.has_foreign_rights)
        || observed.grants.iter().any(foreign_grant);
    if foreign {
        steps.push(Step::new(
            format!("take all rights from the user {:?}", tenant.user),
            format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}"),
            Change::PermissionRemoved,
        ));
    }
    if foreign || !observed.grants.iter().any(|grant| is_right(&grant.pattern) && grant.is_exact()) {
        let on = identifier(&wanted);
        steps.push(Step::new(
            format!("give the user {:?} its rights on the database {:?}", tenant.user, tenant.schema),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON {on}.* TO {user}"),
            Change::PermissionGranted,
        ));
    }
    if !foreign && observed.grants.iter().any(|grant| unescaped(&grant.pattern)) {
        // Only now: the tenant is served all the while.
        steps.push(Step::new(
            format!("take rights on like-named databases from the user {:?}", tenant.user),
            format!("REVOKE ALL PRIVILEGES ON {database}.* FROM {user}"),
            Change::PermissionRemoved,
        ));
    }
    if observed.account.as_ref().is_some_and(|account| account.locked) {
        steps.push(Step::new(
            format!("unlock the user {:?}", tenant.user),
            format!("ALTER USER {user} ACCOUNT UNLOCK"),
            Change::LoginUnlocked,
        ));
    }
    steps
}

/// Gives the account another password.
pub(crate) fn change_password(tenant: &Tenant, password: &Secret, server: &Server) -> Step {
    Step::new(
        format!("change the password of the user {:?}", tenant.user),
        format!("ALTER USER {} {}", account(tenant), identified_by(password, server.mariadb)),
        Change::PasswordChanged,
    )
}

#[cfg(test)]
mod tests {
    use super::super::observe::Account;
    use super::*;
    use crate::Owner;
    use crate::record::Wanted;

    fn tenant() -> Tenant {
        Tenant { schema: "a_b".into(), user: "u".into(), password: None }
    }

    fn server(mariadb: bool) -> Server {
        Server { mariadb, version: "11.4.2".into(), wildcards: true }
    }

    fn steps(observed: &Observed, mariadb: bool) -> Result<Vec<Change>, String> {
        Ok(statements(observed, mariadb)?.into_iter().filter_map(|step| step.change).collect())
    }

    fn statements(observed: &Observed, mariadb: bool) -> Result<Vec<Step>, String> {
        let record = Wanted::new(&Owner::new("uid"), &tenant(), false);
        let holding = observed.holding(&tenant(), &record, true).map_err(|error| error.to_string())?;
        let steps = missing(observed, holding, &tenant(), &record, Some(&"secret".into()), &server(mariadb));
        assert!(!format!("{steps:?}").contains("secret"));
        Ok(steps)
    }

    fn grant(pattern: &str, rights: &[&str]) -> Grant {
        Grant { pattern: pattern.into(), rights: rights.iter().map(ToString::to_string).collect() }
    }

    const RIGHTS: [&str; 7] = ["Select", "Insert", "Update", "Delete", "Create", "Alter", "Index"];

    fn right(owner: Option<&str>) -> Observed {
        Observed {
            database: true,
            account: Some(Account::default()),
            grants: vec![grant("a\\_b", &RIGHTS)],
            record: owner.map(|owner| Record::new(owner, &tenant())),
            comment: None,
            namesakes: Vec::new(),
        }
    }

    #[test]
    fn the_object_with_the_record_comes_first() {
        let none = Observed::default();
        let granted = Change::PermissionGranted;
        assert_eq!(steps(&none, true).unwrap(), [Change::DatabaseAdded, Change::UserAdded, granted]);
        assert_eq!(steps(&none, false).unwrap(), [Change::UserAdded, Change::DatabaseAdded, granted]);
        assert!(statements(&none, true).unwrap()[0].sql.contains("COMMENT '{"));
        assert!(statements(&none, false).unwrap()[0].sql.contains("ATTRIBUTE '{"));
    }

    #[test]
    fn what_is_right_needs_nothing() {
        assert_eq!(steps(&right(Some("uid")), true).unwrap(), []);
        assert_eq!(steps(&right(Some("uid")), false).unwrap(), []);
    }

    #[test]
    fn what_the_go_operator_made_is_adopted_and_its_wildcard_closed() {
        let go = Observed { grants: vec![grant("a_b", &RIGHTS)], ..right(None) };
        let steps = statements(&go, true).unwrap();
        let changes: Vec<_> = steps.iter().filter_map(|step| step.change).collect();
        assert_eq!(changes, [Change::OwnerRecorded, Change::PermissionGranted, Change::PermissionRemoved]);
        assert!(steps[1].sql.contains("ON `a\\_b`.* TO") && steps[2].sql.contains("ON `a_b`.* FROM"), "{steps:?}");
    }

    #[test]
    fn a_record_of_the_former_uid_is_written_anew() {
        let named = |uid: &str, former: Option<&str>| Owner {
            uid: uid.into(),
            name: Some("ns/one".into()),
            former: former.map(str::to_owned),
        };
        let old = Wanted::new(&named("old", None), &tenant(), false);
        let observed = Observed { record: Record::read(&old.to_json()), ..right(None) };
        let restored = Wanted::new(&named("new", Some("old")), &tenant(), false);
        let holding = observed.holding(&tenant(), &restored, true).unwrap();
        for (mariadb, sql) in [(true, "ALTER DATABASE `a_b` COMMENT '{"), (false, "ALTER USER `u`@'%' ATTRIBUTE '{")] {
            let steps = missing(&observed, holding, &tenant(), &restored, None, &server(mariadb));
            let [step] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!(step.change, Some(Change::OwnerReplaced));
            assert!(step.sql.starts_with(sql) && step.sql.contains("\"new\""), "{}", step.sql);
        }
        observed.holding(&tenant(), &Wanted::new(&named("new", None), &tenant(), false), true).unwrap_err();
    }

    #[test]
    fn an_administrators_words_on_a_database_stay() {
        for owner in [None, Some("old")] {
            let record = owner.map(|owner| Record::new(owner, &tenant()));
            let comment = record.as_ref().map_or_else(|| "ask 'Ada'".to_owned(), |old| old.behind(Some("ask 'Ada'")));
            let observed = Observed { comment: Some(comment), record, ..right(None) };
            let wanted = Wanted::new(&Owner::new("uid"), &tenant(), true);
            let change = Change::OwnerReplaced;
            let steps = missing(&observed, Holding::Outdated(change), &tenant(), &wanted, None, &server(true));
            let [step] = steps.as_slice() else { panic!("{steps:?}") };
            let expected = format!("ALTER DATABASE `a_b` COMMENT 'ask ''Ada'' {}'", wanted.to_json());
            assert_eq!(step.sql, expected);
        }
    }

    #[test]
    fn only_a_record_that_is_completed_may_be_refused() {
        let named = Owner { name: Some("ns/one".into()), ..Owner::new("uid") };
        let wanted = Wanted::new(&named, &tenant(), false);
        for mariadb in [true, false] {
            for (holding, optional) in [
                (right(Some("uid")).holding(&tenant(), &wanted, true).unwrap(), true),
                (Holding::Outdated(Change::OwnerReplaced), false),
                (Holding::Adoptable, false),
            ] {
                let observed =
                    Observed { account: Some(Account { locked: true, ..Account::default() }), ..right(None) };
                let steps = missing(&observed, holding, &tenant(), &wanted, None, &server(mariadb));
                let [record, unlock] = steps.as_slice() else { panic!("{steps:?}") };
                assert_eq!(record.optional, optional, "{holding:?}");
                assert!(!unlock.optional);
            }
        }
    }

    #[test]
    fn foreign_rights_go_and_its_own_come_back() {
        let repaired = [Change::PermissionRemoved, Change::PermissionGranted];
        for grants in [
            vec![grant("a\\_b", &["Select", "Drop"])],
            vec![grant("a\\_b", &RIGHTS), grant("%", &["Select"])],
            vec![grant("a\\_b", &RIGHTS), grant("mysql", &["Select"])],
        ] {
            assert_eq!(steps(&Observed { grants, ..right(Some("uid")) }, true).unwrap(), repaired);
        }
        let account = Some(Account { has_foreign_rights: true, ..Account::default() });
        assert_eq!(steps(&Observed { account, ..right(Some("uid")) }, true).unwrap(), repaired);
    }

    #[test]
    fn what_is_somebody_elses_is_refused() {
        let locked = Account { has_roles: true, ..Account::default() };
        for (observed, word) in [
            (right(Some("other")), "UID other"),
            (Observed { grants: Vec::new(), ..right(None) }, "not made for this tenant"),
            (Observed { grants: vec![grant("a\\_b", &["Select"])], ..right(None) }, "not made for this tenant"),
            (Observed { account: None, grants: Vec::new(), ..right(None) }, "the database \"a_b\" on"),
            (Observed { database: false, grants: Vec::new(), ..right(None) }, "the user \"u\" on"),
            (Observed { namesakes: vec!["10.%".into()], ..right(Some("uid")) }, "from the host"),
            (Observed { grants: vec![grant("other", &RIGHTS)], ..right(Some("uid")) }, "has other rights"),
            (Observed { account: Some(locked), ..right(Some("uid")) }, "roles"),
        ] {
            let error = steps(&observed, true).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
