//! A tenant with its own credentials against its neighbours and the server. What etcd is asked is in `apiserver_etcd`.

use kamaji_datastore::Tenant;
use kamaji_testkit::server::Server;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_as, postgres_as};
use crate::tenant;

/// Two tenants with rows of theirs: who attacks, and whom.
async fn two(live: &Live, name: &str) -> (Tenant, Tenant) {
    let pair = [
        tenant(&format!("{name}a_b"), &format!("{name}-mallory")),
        tenant(&format!("{name}axb"), &format!("{name}-alice")),
    ];
    for tenant in &pair {
        live.store(&format!("uid-{}", tenant.user)).ensure_tenant(tenant).await.unwrap();
        live.write_as(tenant).await.unwrap();
    }
    pair.into()
}

/// Every one of them must fail, on a connection that works.
async fn none_succeeds_on_postgres(client: &tokio_postgres::Client, attacks: &[String]) {
    for attack in attacks {
        let outcome = client.simple_query(attack).await;
        assert!(outcome.is_err(), "{attack} succeeded: {outcome:?}");
        client.simple_query("ROLLBACK; SELECT 1").await.unwrap_or_else(|error| panic!("after {attack}: {error:?}"));
    }
}

#[tokio::test]
async fn no_tenant_reaches_another_on_postgres() {
    let live = Live::postgres().await;
    let (mallory, alice) = two(&live, "pg-").await;
    let server: &Server = live.server().unwrap();

    let refused = postgres_as(server, &mallory, &alice.schema).await.err().unwrap();
    assert!(refused.contains("permission denied for database"), "{refused}");
    let wrong = Tenant { user: alice.user.clone(), ..mallory.clone() };
    let wrong = Tenant { password: Some("guessed".into()), ..wrong };
    assert!(postgres_as(server, &wrong, &alice.schema).await.is_err());

    let client = postgres_as(server, &mallory, &mallory.schema).await.unwrap();
    let (theirs, user, own) = (&alice.schema, &alice.user, &mallory.user);
    let attacks = [
        format!("SET ROLE \"{user}\""),
        format!("SET SESSION AUTHORIZATION \"{user}\""),
        format!("GRANT \"{user}\" TO \"{own}\""),
        format!("GRANT pg_read_all_data TO \"{own}\""),
        format!("GRANT CONNECT ON DATABASE \"{theirs}\" TO \"{own}\""),
        format!("ALTER ROLE \"{user}\" PASSWORD 'x'"),
        format!("ALTER ROLE \"{own}\" SUPERUSER"),
        format!("ALTER ROLE \"{own}\" CREATEROLE"),
        format!("ALTER ROLE \"{own}\" CREATEDB"),
        format!("COMMENT ON ROLE \"{own}\" IS 'mine'"),
        format!("COMMENT ON ROLE \"{user}\" IS 'mine'"),
        format!("DROP ROLE \"{user}\""),
        format!("DROP DATABASE \"{theirs}\""),
        format!("ALTER DATABASE \"{theirs}\" OWNER TO \"{own}\""),
        format!("ALTER DATABASE \"{theirs}\" SET search_path = 'evil'"),
        format!("ALTER DATABASE \"{}\" RENAME TO stolen", mallory.schema),
        format!("ALTER DATABASE \"{}\" OWNER TO \"{user}\"", mallory.schema),
        format!("CREATE DATABASE copy TEMPLATE \"{theirs}\""),
        "CREATE ROLE accomplice".into(),
        "SELECT rolpassword FROM pg_authid".into(),
        "SELECT * FROM pg_shadow".into(),
        "SELECT pg_read_file('pg_hba.conf')".into(),
        "SELECT pg_ls_dir('base')".into(),
        "COPY pg_database TO PROGRAM 'cat'".into(),
        "COPY pg_database TO '/tmp/stolen'".into(),
        "ALTER SYSTEM SET log_statement = 'none'".into(),
        "SELECT pg_reload_conf()".into(),
        "CREATE EXTENSION dblink".into(),
        "CREATE LANGUAGE plpython3u".into(),
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION f()".into(),
        format!("SELECT pg_database_size('{theirs}')"),
        "SET session_replication_role = 'replica'".into(),
        // Past the boundary of the database, in a transaction within another, and by following what the server writes.
        format!("SELECT * FROM \"{theirs}\".public.kine"),
        format!("BEGIN; SAVEPOINT inner_one; SET LOCAL ROLE \"{user}\""),
        format!("DO $$ BEGIN BEGIN EXECUTE 'SET ROLE \"{user}\"'; END; END $$"),
        "SELECT pg_create_physical_replication_slot('spy')".into(),
        "SELECT pg_create_logical_replication_slot('spy', 'test_decoding')".into(),
        "CREATE PUBLICATION spy FOR ALL TABLES".into(),
        format!("CREATE SUBSCRIPTION spy CONNECTION 'dbname={theirs}' PUBLICATION spy"),
        // What all share: the log of writes, the catalogue, its locks.
        "CHECKPOINT".into(),
        "SELECT pg_switch_wal()".into(),
        format!("REINDEX DATABASE \"{theirs}\""),
        "BEGIN; LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE".into(),
        "UPDATE pg_database SET datallowconn = false".into(),
        format!("ALTER DATABASE \"{theirs}\" ALLOW_CONNECTIONS false"),
        format!("ALTER ROLE \"{user}\" NOLOGIN"),
        format!("DROP OWNED BY \"{user}\""),
        format!("REASSIGN OWNED BY \"{user}\" TO \"{own}\""),
        format!("ALTER ROLE \"{own}\" RENAME TO root"),
    ];
    none_succeeds_on_postgres(&client, &attacks).await;

    // It sees that others are there, as every login of a PostgreSQL does, but not what they say.
    let _alices_session = postgres_as(server, &alice, &alice.schema).await.unwrap();
    let rows = client
        .query(
            "SELECT query FROM pg_stat_activity WHERE usename IS DISTINCT FROM current_user AND usename IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "<insufficient privilege>"), "{rows:?}");
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
    assert!(client.simple_query(&kill).await.is_err());

    // And in the database that all may enter.
    let public = postgres_as(server, &mallory, "postgres").await.unwrap();
    let attacks = [
        "CREATE TABLE public.trap (x int)".into(),
        "CREATE SCHEMA evil".into(),
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'".into(),
    ];
    none_succeeds_on_postgres(&public, &attacks).await;
    live.write_as(&alice).await.unwrap();
}

#[tokio::test]
async fn a_trap_in_a_tenants_database_does_not_catch_the_administrator() {
    let live = Live::postgres().await;
    let (store, mallory) = (live.store("uid-trap"), tenant("trap", "trapper"));
    store.ensure_tenant(&mallory).await.unwrap();
    let client = postgres_as(live.server().unwrap(), &mallory, "trap").await.unwrap();
    // Whoever asks for anything in here, by whatever name, runs this as himself.
    client
        .batch_execute(
            "CREATE FUNCTION public.spring() RETURNS bool LANGUAGE plpgsql AS \
                 $$ BEGIN EXECUTE 'ALTER ROLE trapper SUPERUSER'; RETURN true; END $$; \
             CREATE VIEW public.kine AS SELECT 1 AS id WHERE public.spring(); \
             CREATE FUNCTION public.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1 WHERE public.spring()'; \
             ALTER DATABASE trap SET search_path = public, pg_catalog; ALTER ROLE trapper SET search_path = public, pg_catalog",
        )
        .await
        .unwrap();
    drop(client);
    store.is_set_up(&mallory).await.unwrap();
    store.ensure_tenant(&mallory).await.unwrap();
    store.sizes(std::slice::from_ref(&mallory)).await.unwrap();
    store.recount(&mallory).await.unwrap();
    let admin = crate::live::postgres_admin(live.server().unwrap(), "postgres").await;
    let row = admin.query_one("SELECT rolsuper FROM pg_roles WHERE rolname = 'trapper'", &[]).await.unwrap();
    assert!(!row.get::<_, bool>(0));
    store.revoke(&mallory).await.unwrap();
    store.erase(&mallory).await.unwrap();
    assert!(store.recount(&mallory).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tenant_that_hides_objects_in_public_databases_is_erased_all_the_same() {
    let live = Live::postgres().await;
    let (store, hoarder) = (live.store("uid-hoarder"), tenant("hoard", "hoarder"));
    store.ensure_tenant(&hoarder).await.unwrap();
    for database in ["hoard", "postgres", "template1"] {
        let client = postgres_as(live.server().unwrap(), &hoarder, database).await.unwrap();
        client.batch_execute("SELECT lo_create(0)").await.unwrap();
    }
    store.revoke(&hoarder).await.unwrap();
    store.erase(&hoarder).await.unwrap();
    assert!(store.recount(&hoarder).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tenant_that_makes_its_database_a_template_is_erased_all_the_same() {
    let live = Live::postgres().await;
    let (store, hoarder) = (live.store("uid-pattern"), tenant("pattern", "pattern-user"));
    store.ensure_tenant(&hoarder).await.unwrap();
    let client = postgres_as(live.server().unwrap(), &hoarder, "pattern").await.unwrap();
    client.batch_execute("ALTER DATABASE pattern IS_TEMPLATE true").await.unwrap();
    drop(client);
    store.revoke(&hoarder).await.unwrap();
    store.erase(&hoarder).await.unwrap();
    assert!(store.recount(&hoarder).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_role_whose_database_was_taken_meanwhile_is_erased_without_it() {
    let live = Live::postgres().await;
    let (store, late) = (live.store("uid-late"), tenant("taken", "late-user"));
    store.ensure_tenant(&late).await.unwrap();
    let admin = crate::live::postgres_admin(live.server().unwrap(), "postgres").await;
    admin.batch_execute("DROP DATABASE taken").await.unwrap();
    admin.batch_execute("CREATE DATABASE taken").await.unwrap();
    assert_eq!(store.ensure_tenant(&late).await.unwrap_err().category(), "conflict");
    store.revoke(&late).await.unwrap();
    store.erase(&late).await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'taken'), \
               (SELECT count(*) FROM pg_roles WHERE rolname = 'late-user')";
    let row = admin.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 0));
}

#[tokio::test]
async fn no_tenant_reaches_another_on_mariadb() {
    let live = Live::mariadb().await;
    // The grant of `my-a_b` would be one on `my-axb`, were it not escaped.
    let (mallory, alice) = two(&live, "my-").await;
    let server: &Server = live.server().unwrap();
    assert!(mariadb_as(server, &mallory, Some(&alice.schema)).await.unwrap_err().contains("Access denied"));

    let mut client = mariadb_as(server, &mallory, Some(&mallory.schema)).await.unwrap();
    let visible: Vec<String> = client.query("SHOW DATABASES").await.unwrap();
    assert_eq!(visible, ["information_schema".to_owned(), mallory.schema.clone()]);
    let (theirs, user, own) = (&alice.schema, &alice.user, &mallory.user);
    for attack in [
        format!("USE `{theirs}`"),
        format!("SELECT * FROM `{theirs}`.kine"),
        format!("INSERT INTO `{theirs}`.kine (name) VALUES ('x')"),
        format!("DELETE FROM `{theirs}`.kine"),
        format!("CREATE TABLE `{theirs}`.trap (x int)"),
        format!("ALTER TABLE kine RENAME `{theirs}`.kine2"),
        format!("RENAME TABLE `{theirs}`.kine TO `{}`.stolen", mallory.schema),
        format!("DROP DATABASE `{theirs}`"),
        format!("ALTER DATABASE `{theirs}` COMMENT 'mine'"),
        format!("CREATE VIEW v AS SELECT * FROM `{theirs}`.kine"),
        format!("CREATE TRIGGER t BEFORE INSERT ON kine FOR EACH ROW DELETE FROM `{theirs}`.kine"),
        format!("CREATE TABLE merged (id BIGINT) ENGINE=MERGE UNION=(`{theirs}`.kine)"),
        format!("GRANT ALL ON `{theirs}`.* TO `{own}`@'%'"),
        format!("GRANT SELECT ON `{}`.* TO `{user}`@'%'", mallory.schema),
        "GRANT ALL ON *.* TO CURRENT_USER".into(),
        format!("SET PASSWORD FOR `{user}`@'%' = PASSWORD('x')"),
        format!("ALTER USER `{user}`@'%' IDENTIFIED BY 'x'"),
        format!("DROP USER `{user}`@'%'"),
        format!("RENAME USER `{user}`@'%' TO stolen@'%'"),
        "CREATE USER accomplice".into(),
        "CREATE ROLE accomplice".into(),
        "CREATE DATABASE `my-aab`".into(),
        "SELECT * FROM mysql.user".into(),
        "SELECT * FROM mysql.global_priv".into(),
        "SELECT * FROM mysql.db".into(),
        "SET GLOBAL general_log = 1".into(),
        "SELECT LOAD_FILE('/etc/passwd') IS NULL FROM mysql.db".into(),
        "SELECT 1 INTO OUTFILE '/tmp/stolen'".into(),
        "INSTALL SONAME 'ha_connect'".into(),
        "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'".into(),
        "FLUSH PRIVILEGES".into(),
        "SHUTDOWN".into(),
        format!("SHOW TABLES FROM `{theirs}`"),
        format!("SHOW CREATE DATABASE `{theirs}`"),
        format!("HANDLER `{theirs}`.kine OPEN"),
        format!("UPDATE `{theirs}`.kine SET prev_revision = 9"),
        format!("REPLACE INTO `{theirs}`.kine (id) VALUES (1)"),
        format!("TRUNCATE `{theirs}`.kine"),
        format!("OPTIMIZE TABLE `{theirs}`.kine"),
        format!("LOCK TABLES `{theirs}`.kine WRITE"),
        format!("ALTER TABLE kine ADD FOREIGN KEY (id) REFERENCES `{theirs}`.kine (id)"),
        format!("BEGIN NOT ATOMIC START TRANSACTION; DELETE FROM `{theirs}`.kine; COMMIT; END"),
        format!("EXECUTE IMMEDIATE 'DELETE FROM `{theirs}`.kine'"),
        "SHOW BINLOG EVENTS".into(),
        "PURGE BINARY LOGS BEFORE NOW()".into(),
        "FLUSH TABLES WITH READ LOCK".into(),
        "SET GLOBAL read_only = 1".into(),
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')".into(),
        "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM kine".into(),
        "CREATE PROCEDURE p() DELETE FROM kine".into(),
    ] {
        let outcome = client.query_drop(&attack).await;
        assert!(outcome.is_err(), "{attack} succeeded");
        client.query_drop("SELECT 1").await.unwrap_or_else(|error| panic!("after {attack}: {error}"));
    }
    // Nor does it see their sessions, or end one.
    let mut alices_session = mariadb_as(server, &alice, Some(&alice.schema)).await.unwrap();
    let seen: Vec<String> = client.query("SELECT DISTINCT USER FROM information_schema.PROCESSLIST").await.unwrap();
    assert_eq!(seen, std::slice::from_ref(&mallory.user));
    client.query_drop(format!("KILL {}", alices_session.id())).await.unwrap_err();
    alices_session.query_drop("SELECT * FROM kine").await.unwrap();
    live.write_as(&alice).await.unwrap();
}

#[tokio::test]
async fn a_name_on_which_every_login_has_rights_is_refused_on_mariadb() {
    let live = Live::mariadb().await;
    let mut admin = crate::live::mariadb_admin(live.server().unwrap()).await;
    // As a default installation has it for `test` and `test_…`.
    admin.query_drop("GRANT ALL ON `open\\_%`.* TO PUBLIC").await.unwrap();
    let error = live.store("uid-open").ensure_tenant(&tenant("open_a", "open-user")).await.unwrap_err();
    assert_eq!(error.category(), "invalid_name", "{error}");
    assert!(error.to_string().contains("every login"), "{error}");
    let databases: Vec<String> = admin.query("SHOW DATABASES LIKE 'open%'").await.unwrap();
    assert!(databases.is_empty(), "{databases:?}");
    live.store("uid-openxa").ensure_tenant(&tenant("openxa", "openxa-user")).await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_forges_its_record_loses_only_its_own_names() {
    let live = Live::mariadb().await;
    let (mallory, alice) = two(&live, "forge-").await;
    let mut client = mariadb_as(live.server().unwrap(), &mallory, Some(&mallory.schema)).await.unwrap();
    let forged = format!(
        "{{\"kamaji.clastix.io/owner\":\"uid-{}\",\"schema\":\"{}\",\"user\":\"{}\"}}",
        alice.user, alice.schema, alice.user
    );
    client.query_drop(format!("ALTER DATABASE `{}` COMMENT '{forged}'", mallory.schema)).await.unwrap();
    let store = live.store(&format!("uid-{}", mallory.user));
    assert_eq!(store.ensure_tenant(&mallory).await.unwrap_err().category(), "conflict");
    let other = live.store(&format!("uid-{}", alice.user));
    assert!(other.is_set_up(&alice).await.unwrap());
    assert!(!other.ensure_tenant(&alice).await.unwrap().any());
}

#[tokio::test]
async fn a_second_tenant_of_an_account_is_refused_on_nats() {
    let live = Live::nats().await;
    let (first, second) = (tenant("first", "x"), tenant("second", "y"));
    // At once: the server lets one through.
    let (one, two) = (live.store("uid-first"), live.store("uid-second"));
    let outcomes = tokio::join!(one.ensure_tenant(&first), two.ensure_tenant(&second));
    let refused = match outcomes {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.category(), "conflict", "{refused}");
    assert!(refused.to_string().contains("holds one tenant"), "{refused}");
}
