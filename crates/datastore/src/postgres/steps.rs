//! From what is there to what should be: the statements, in order.

use super::observe::Observed;
use super::query::{identifier, literal};
use crate::record::{Holding, Record};
use crate::sql::Step;
use crate::{Change, Secret, Tenant};

/// What is missing; nothing when the tenant is set up. The password of a role that is there is looked at elsewhere.
pub(crate) fn missing(
    observed: &Observed,
    holding: Holding,
    tenant: &Tenant,
    record: &Record,
    password: Option<&Secret>,
    superuser: bool,
) -> Vec<Step> {
    let (role, database) = (identifier(&tenant.user), identifier(&tenant.schema));
    let (user, schema) = (&tenant.user, &tenant.schema);
    let mut steps = Vec::new();

    match &observed.role {
        None => steps.push(Step::new(
            format!("add the role {user:?}"),
            // In one transaction: a role is never there without its record.
            format!(
                "CREATE ROLE {role} LOGIN PASSWORD {}; COMMENT ON ROLE {role} IS {}",
                password.map_or_else(|| "NULL".to_owned(), verifier),
                literal(&record.below(None))
            ),
            Change::UserAdded,
        )),
        Some(present) => {
            steps.extend(holding.to_record().map(|change| Step {
                // A login that did not make the role may not comment on it, from PostgreSQL 16 on.
                optional: holding.is_good_enough(),
                ..Step::new(
                    format!("record the owner of the role {user:?}"),
                    format!("COMMENT ON ROLE {role} IS {}", literal(&record.below(present.comment.as_deref()))),
                    change,
                )
            }));
            if present.powerful {
                steps.push(Step::new(
                    format!("restrict the role {user:?}"),
                    format!("ALTER ROLE {role} NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"),
                    Change::PermissionRemoved,
                ));
            }
            for group in &present.member_of {
                // The server has quoted the name where it needs to be.
                let sql = format!("REVOKE {group} FROM {role}");
                steps.push(Step::new(format!("take {group} from the role {user:?}"), sql, Change::PermissionRemoved));
            }
            if !present.may_log_in {
                let sql = format!("ALTER ROLE {role} LOGIN");
                steps.push(Step::new(format!("let the role {user:?} log in"), sql, Change::LoginUnlocked));
            }
        }
    }

    let mut of_database = Vec::new();
    if observed.database.is_none() {
        // Closed until it is closed to the public: nobody slips in between.
        let sql = format!("CREATE DATABASE {database} OWNER {role} TEMPLATE template0 ALLOW_CONNECTIONS false");
        let operation = format!("add the database {schema:?}");
        of_database.push(Step { slow: true, ..Step::new(operation, sql, Change::DatabaseAdded) });
    }
    if observed.database.as_ref().is_none_or(|database| database.is_public) {
        of_database.push(Step::new(
            format!("close the database {schema:?} to the public"),
            format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
            Change::PublicRevoked,
        ));
    }
    if observed.database.as_ref().is_none_or(|database| !database.takes_connections) {
        of_database.push(Step::new(
            format!("open the database {schema:?}"),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
            Change::DatabaseOpened,
        ));
    }
    if !of_database.is_empty() {
        steps.extend(join(observed, tenant, superuser));
    }
    steps.extend(of_database);
    steps
}

/// Only a superuser may give a database to a role, and touch that role's, without being a member of it.
pub(crate) fn join(observed: &Observed, tenant: &Tenant, superuser: bool) -> Option<Step> {
    let is_member = observed.role.as_ref().is_some_and(|role| role.is_ours_to_act_as);
    (!superuser && !is_member).then(|| Step {
        operation: format!("become a member of the role {:?}", tenant.user),
        sql: format!("GRANT {} TO CURRENT_USER", identifier(&tenant.user)),
        slow: false,
        optional: false,
        change: None,
    })
}

/// Gives the role another password.
pub(crate) fn change_password(tenant: &Tenant, password: &Secret) -> Step {
    Step::new(
        format!("change the password of the role {:?}", tenant.user),
        format!("ALTER ROLE {} PASSWORD {}", identifier(&tenant.user), verifier(password)),
        Change::PasswordChanged,
    )
}

/// What the server keeps of a password (SCRAM-SHA-256), as a literal: with it in the statement, the password itself
/// cannot reach the server's log.
fn verifier(password: &Secret) -> String {
    literal(&postgres_protocol::password::scram_sha_256(password.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::observe::{Database, Role};
    use super::*;
    use crate::Owner;
    use crate::record::Wanted;

    fn tenant() -> Tenant {
        Tenant { schema: "a\"b".into(), user: "u'x".into(), password: None }
    }

    fn steps(observed: &Observed, superuser: bool) -> Result<Vec<Change>, String> {
        let record = Wanted::new(&Owner::new("uid"), &tenant(), false);
        let holding = observed.holding(&tenant(), &record).map_err(|error| error.to_string())?;
        observed.refuse_foreign_database(&tenant()).map_err(|error| error.to_string())?;
        let steps = missing(observed, holding, &tenant(), &record, Some(&"secret".into()), superuser);
        for step in &steps {
            assert!(!step.sql.contains("secret") && !step.operation.contains("secret"), "{step:?}");
        }
        Ok(steps.into_iter().filter_map(|step| step.change).collect())
    }

    fn role(owner: Option<&str>) -> Role {
        let comment = owner.map(|owner| Record::new(owner, &tenant()).below(None));
        Role { may_log_in: true, comment, ..Role::default() }
    }

    fn database(owner: &str) -> Database {
        Database { owner: owner.into(), takes_connections: true, is_public: false }
    }

    #[test]
    fn a_new_tenant_gets_a_database_that_nobody_can_enter_meanwhile() {
        let all = [Change::UserAdded, Change::DatabaseAdded, Change::PublicRevoked, Change::DatabaseOpened];
        assert_eq!(steps(&Observed::default(), true).unwrap(), all);
        assert_eq!(steps(&Observed::default(), false).unwrap(), all);
    }

    #[test]
    fn what_is_right_needs_nothing_and_what_is_half_made_is_finished() {
        let mut observed = Observed { role: Some(role(Some("uid"))), database: Some(database("u'x")) };
        assert_eq!(steps(&observed, true).unwrap(), []);
        observed.database = Some(Database { takes_connections: false, is_public: true, ..database("u'x") });
        assert_eq!(steps(&observed, true).unwrap(), [Change::PublicRevoked, Change::DatabaseOpened]);
        observed.role =
            Some(Role { may_log_in: false, powerful: true, member_of: vec!["pg_monitor".into()], ..role(Some("uid")) });
        observed.database = Some(database("u'x"));
        let repaired = [Change::PermissionRemoved, Change::PermissionRemoved, Change::LoginUnlocked];
        assert_eq!(steps(&observed, true).unwrap(), repaired);
    }

    #[test]
    fn what_the_go_operator_made_is_adopted_and_nothing_else() {
        let mut observed = Observed { role: Some(role(None)), database: Some(database("u'x")) };
        assert_eq!(steps(&observed, true).unwrap(), [Change::OwnerRecorded]);
        for strange in [
            Role { powerful: true, ..role(None) },
            Role { member_of: vec!["staff".into()], ..role(None) },
            Role { owns_besides: vec!["payroll".into()], ..role(None) },
        ] {
            observed.role = Some(strange);
            assert!(steps(&observed, true).unwrap_err().contains("not made for this tenant"));
        }
        observed = Observed { role: Some(role(None)), database: None };
        assert!(steps(&observed, true).unwrap_err().contains("not made for this tenant"));
    }

    #[test]
    fn a_record_of_the_former_uid_is_written_anew_below_an_administrators_words() {
        let named = |uid: &str, former: Option<&str>| Owner {
            uid: uid.into(),
            name: Some("ns/one".into()),
            former: former.map(str::to_owned),
        };
        let comment = Wanted::new(&named("old", None), &tenant(), false).below(Some("ask Ada"));
        let role = Role { comment: Some(comment), ..role(None) };
        let observed = Observed { role: Some(role), database: Some(database("u'x")) };
        let restored = Wanted::new(&named("new", Some("old")), &tenant(), false);
        let holding = observed.holding(&tenant(), &restored).unwrap();
        let steps = missing(&observed, holding, &tenant(), &restored, None, true);
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(step.change, Some(Change::OwnerReplaced));
        assert!(
            step.sql.contains("ask Ada") && step.sql.contains("\"new\"") && !step.sql.contains("old"),
            "{}",
            step.sql
        );
        observed.holding(&tenant(), &Wanted::new(&named("new", None), &tenant(), false)).unwrap_err();
    }

    #[test]
    fn only_a_record_that_is_completed_may_be_refused() {
        let named = Owner { name: Some("ns/one".into()), ..Owner::new("uid") };
        let wanted = Wanted::new(&named, &tenant(), false);
        let present = Role { may_log_in: false, ..role(Some("uid")) };
        let observed = Observed { role: Some(present), database: Some(database("u'x")) };
        for (holding, optional) in [
            (observed.holding(&tenant(), &wanted).unwrap(), true),
            (Holding::Outdated(Change::OwnerReplaced), false),
            (Holding::Adoptable, false),
        ] {
            let steps = missing(&observed, holding, &tenant(), &wanted, None, true);
            let [record, unlock] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!(record.optional, optional, "{holding:?}");
            assert!(!unlock.optional);
        }
    }

    #[test]
    fn what_is_somebody_elses_is_refused() {
        for (observed, word) in [
            (Observed { role: Some(role(Some("other"))), database: None }, "UID other"),
            (Observed { role: Some(Role { superuser: true, ..role(Some("uid")) }), database: None }, "superuser"),
            (
                Observed { role: Some(role(Some("uid"))), database: Some(database("ada")) },
                "belongs to the role \"ada\"",
            ),
            (Observed { role: None, database: Some(database("ada")) }, "belongs to the role \"ada\""),
        ] {
            let error = steps(&observed, true).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
