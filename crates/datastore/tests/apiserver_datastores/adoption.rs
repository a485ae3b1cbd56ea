//! What the Go operator, or somebody else, made before.

use kamaji_datastore::{Change, Tenant};
use kamaji_testkit::server::Server;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_admin, postgres_admin};
use crate::tenant;

/// Password of [`tenant`] as a literal of PostgreSQL.
const PASSWORD: &str = "'it''s \"a\" \\password%'";

async fn on_postgres(server: &Server, statements: &[&str]) {
    let admin = postgres_admin(server, "postgres").await;
    for statement in statements {
        admin.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

async fn on_mariadb(server: &Server, statements: &[&str]) {
    let mut admin = mariadb_admin(server).await;
    for statement in statements {
        admin.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    admin.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_role_and_database_of_the_go_operator_are_taken_over_on_postgres() {
    let live = Live::postgres().await;
    on_postgres(
        live.server().unwrap(),
        &[
            &format!("CREATE ROLE \"go-user\" LOGIN PASSWORD {PASSWORD}"),
            "CREATE DATABASE \"go\"",
            "GRANT CONNECT, CREATE ON DATABASE \"go\" TO \"go-user\"",
            "ALTER DATABASE \"go\" OWNER TO \"go-user\"",
        ],
    )
    .await;
    let (store, tenant) = (live.store("uid-go").taking_over(), tenant("go", "go-user"));
    live.write_as(&tenant).await.unwrap();
    assert_eq!(live.store("new").ensure_tenant(&tenant).await.unwrap_err().category(), "conflict");
    assert!(!store.is_set_up(&tenant).await.unwrap());
    assert_eq!(store.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerRecorded, Change::PublicRevoked]);
    assert!(store.is_set_up(&tenant).await.unwrap());
    live.write_as(&tenant).await.unwrap();
    assert_eq!(live.store("another").erase(&tenant).await.unwrap_err().category(), "conflict");
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_user_and_database_of_the_go_operator_are_taken_over_on_mariadb() {
    let live = Live::mariadb().await;
    on_mariadb(
        live.server().unwrap(),
        &[
            "CREATE DATABASE `go_op`",
            "CREATE USER `8f2e8d97-80b5-4d74-87de-ba15903f2bb2`@'%' IDENTIFIED BY 'it''s \"a\" \\\\password%'",
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `go_op`.* TO `8f2e8d97-80b5-4d74-87de-ba15903f2bb2`@'%'",
        ],
    )
    .await;
    let (store, tenant) = (live.store("uid-go").taking_over(), tenant("go_op", "8f2e8d97-80b5-4d74-87de-ba15903f2bb2"));
    live.write_as(&tenant).await.unwrap();
    assert_eq!(
        store.ensure_tenant(&tenant).await.unwrap().0,
        [Change::OwnerRecorded, Change::PermissionGranted, Change::PermissionRemoved]
    );
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert!(!store.ensure_tenant(&tenant).await.unwrap().any());
    live.write_as(&tenant).await.unwrap();
    assert_eq!(live.store("another").erase(&tenant).await.unwrap_err().category(), "conflict");
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tenant_of_the_go_operator_that_is_deleted_first_is_erased_too() {
    let live = Live::postgres().await;
    on_postgres(
        live.server().unwrap(),
        &["CREATE ROLE \"go2-user\" LOGIN PASSWORD 'x'", "CREATE DATABASE \"go2\" OWNER \"go2-user\""],
    )
    .await;
    let (store, tenant) = (live.store("uid-go2").taking_over(), tenant("go2", "go2-user"));
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bucket_of_the_go_operator_is_taken_over_on_nats() {
    let live = Live::nats().await;
    let (store, tenant) = (live.store("uid-go").taking_over(), tenant("go", "go-user"));
    live.write_as(&tenant).await.unwrap();
    assert_eq!(store.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerRecorded]);
    assert!(store.is_set_up(&tenant).await.unwrap());
}

async fn refused(live: &Live, tenant: &Tenant, word: &str) {
    // Nor are they had by a tenant that is taken for one which was set up here before.
    for store in [live.store("uid-refused"), live.store("uid-refused").taking_over()] {
        for error in [
            store.ensure_tenant(tenant).await.map(drop).unwrap_err(),
            store.revoke(tenant).await.unwrap_err(),
            store.erase(tenant).await.unwrap_err(),
        ] {
            assert!(["conflict", "invalid_name"].contains(&error.category()), "{tenant:?}: {error}");
            assert!(error.to_string().contains(word), "{tenant:?}: {error}");
        }
    }
}

/// It looks just as the Go operator leaves a tenant.
async fn an_application_is_left_alone(live: &Live, shop: &Tenant) {
    live.write_as(shop).await.unwrap();
    let (store, asks) = (live.store("uid-new"), Tenant { password: Some("random".into()), ..shop.clone() });
    for error in [
        store.ensure_tenant(&asks).await.map(drop).unwrap_err(),
        store.is_set_up(&asks).await.map(drop).unwrap_err(),
        store.revoke(&asks).await.unwrap_err(),
        store.erase(&asks).await.unwrap_err(),
        store.recount(&asks).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.category(), "conflict", "{error}");
        assert!(error.to_string().contains("not made for this tenant"), "{error}");
    }
    // With the password that it had.
    live.write_as(shop).await.unwrap();
}

#[tokio::test]
async fn an_application_is_neither_set_up_nor_erased_on_postgres() {
    let live = Live::postgres().await;
    on_postgres(
        live.server().unwrap(),
        &[
            &format!("CREATE ROLE \"shop-user\" LOGIN PASSWORD {PASSWORD}"),
            "CREATE DATABASE \"shop\" OWNER \"shop-user\"",
        ],
    )
    .await;
    an_application_is_left_alone(&live, &tenant("shop", "shop-user")).await;
}

#[tokio::test]
async fn an_application_is_neither_set_up_nor_erased_on_mariadb() {
    let live = Live::mariadb().await;
    on_mariadb(
        live.server().unwrap(),
        &[
            "CREATE DATABASE `shop`",
            "CREATE USER `shop-user`@'%' IDENTIFIED BY 'it''s \"a\" \\\\password%'",
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `shop`.* TO `shop-user`@'%'",
        ],
    )
    .await;
    an_application_is_left_alone(&live, &tenant("shop", "shop-user")).await;
}

#[tokio::test]
async fn an_application_is_neither_set_up_nor_erased_on_nats() {
    an_application_is_left_alone(&Live::nats().await, &tenant("shop", "shop-user")).await;
}

#[tokio::test]
async fn names_of_others_are_refused_on_postgres() {
    let live = Live::postgres().await;
    on_postgres(
        live.server().unwrap(),
        &[
            "CREATE ROLE ada LOGIN",
            "CREATE ROLE chief SUPERUSER LOGIN",
            "CREATE DATABASE payroll OWNER ada",
            "CREATE DATABASE chiefs OWNER chief",
            "CREATE ROLE bob LOGIN CREATEDB",
            "CREATE DATABASE bobs OWNER bob",
            "CREATE DATABASE ownerless",
        ],
    )
    .await;
    for (schema, user, word) in [
        ("new", "ada", "not made for this tenant"),
        ("payroll", "new-user", "belongs to the role \"ada\""),
        ("chiefs", "chief", "superuser"),
        ("bobs", "bob", "not made for this tenant"),
        ("ownerless", "new-user", "belongs to the role"),
        ("new", kamaji_testkit::postgres::USER, "login of the DataStore itself"),
        ("new", kamaji_testkit::postgres::CERTIFIED_USER, "superuser"),
        ("new", "pg_monitor", "system role"),
        ("new", "postgres", "system role"),
        ("postgres", "new-user", "system database"),
        ("template1", "new-user", "system database"),
        ("root", "new-user", "administrator"),
    ] {
        refused(&live, &tenant(schema, user), word).await;
    }
    let admin = postgres_admin(live.server().unwrap(), "postgres").await;
    let sql = "SELECT count(*) FROM pg_database WHERE datname IN ('payroll','chiefs','bobs','ownerless')";
    assert_eq!(admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 4);
    let sql = "SELECT count(*) FROM pg_roles WHERE rolname IN ('ada','chief','bob') AND rolcanlogin";
    assert_eq!(admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn names_of_others_are_refused_on_mariadb() {
    let live = Live::mariadb().await;
    on_mariadb(
        live.server().unwrap(),
        &[
            "CREATE DATABASE payroll COMMENT 'ask Ada'",
            "CREATE USER ada@'%' IDENTIFIED BY 'x'",
            "GRANT ALL ON payroll.* TO ada@'%'",
            "CREATE USER localhero@localhost IDENTIFIED BY 'x'",
            "CREATE USER chief@'%' IDENTIFIED BY 'x'",
            "GRANT ALL ON *.* TO chief@'%'",
            "CREATE ROLE boss",
        ],
    )
    .await;
    for (schema, user, word) in [
        ("payroll", "ada", "not made for this tenant"),
        ("payroll", "new-user", "the database \"payroll\" on"),
        ("new", "ada", "the user \"ada\" on"),
        ("new", "localhero", "from the host \"localhost\""),
        ("new", "chief", "the user \"chief\" on"),
        ("new", "boss", "from the host \"\""),
        ("new", kamaji_testkit::mariadb::USER, "login of the DataStore itself"),
        ("new", "root", "administrator"),
        ("new", "mariadb.sys", "system user"),
        ("mysql", "new-user", "system database"),
        ("Information_Schema", "new-user", "system database"),
    ] {
        refused(&live, &tenant(schema, user), word).await;
    }
    let mut admin = mariadb_admin(live.server().unwrap()).await;
    let sql = "SELECT COUNT(*) FROM mysql.user WHERE User IN ('ada','localhero','chief','boss')";
    assert_eq!(admin.query_first::<u64, _>(sql).await.unwrap(), Some(4));
    let sql = "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'payroll'";
    assert_eq!(admin.query_first::<String, _>(sql).await.unwrap().unwrap(), "ask Ada");
}

#[tokio::test]
async fn what_was_tampered_with_is_repaired_on_postgres() {
    let live = Live::postgres().await;
    let (store, tenant) = (live.store("uid-t"), tenant("tampered", "tampered-user"));
    store.ensure_tenant(&tenant).await.unwrap();
    for (statement, change) in [
        ("ALTER ROLE \"tampered-user\" CREATEROLE", Change::PermissionRemoved),
        ("GRANT pg_read_all_data TO \"tampered-user\"", Change::PermissionRemoved),
        ("ALTER ROLE \"tampered-user\" NOLOGIN", Change::LoginUnlocked),
        ("ALTER DATABASE tampered ALLOW_CONNECTIONS false", Change::DatabaseOpened),
        ("GRANT CONNECT ON DATABASE tampered TO PUBLIC", Change::PublicRevoked),
        ("ALTER ROLE \"tampered-user\" PASSWORD 'other'", Change::PasswordChanged),
        ("DROP DATABASE tampered", Change::DatabaseAdded),
    ] {
        on_postgres(live.server().unwrap(), &[statement]).await;
        assert!(!store.is_set_up(&tenant).await.unwrap(), "{statement}");
        let changed = store.ensure_tenant(&tenant).await.unwrap();
        assert_eq!(changed.0.first(), Some(&change), "{statement}");
        assert!(store.is_set_up(&tenant).await.unwrap(), "{statement}");
        live.write_as(&tenant).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_tampered_with_is_repaired_on_mariadb() {
    let live = Live::mariadb().await;
    let (store, tenant) = (live.store("uid-t"), tenant("tamper_ed", "tampered-user"));
    store.ensure_tenant(&tenant).await.unwrap();
    for (statement, change) in [
        ("GRANT DROP ON `tamper\\_ed`.* TO `tampered-user`@'%'", Change::PermissionRemoved),
        ("GRANT SELECT ON mysql.user TO `tampered-user`@'%'", Change::PermissionRemoved),
        ("GRANT SELECT ON `%`.* TO `tampered-user`@'%'", Change::PermissionRemoved),
        ("GRANT PROCESS ON *.* TO `tampered-user`@'%'", Change::PermissionRemoved),
        ("REVOKE INDEX ON `tamper\\_ed`.* FROM `tampered-user`@'%'", Change::PermissionRemoved),
        ("REVOKE ALL, GRANT OPTION FROM `tampered-user`@'%'", Change::PermissionGranted),
        ("ALTER USER `tampered-user`@'%' ACCOUNT LOCK", Change::LoginUnlocked),
        ("ALTER USER `tampered-user`@'%' IDENTIFIED BY 'other'", Change::PasswordChanged),
        ("DROP USER `tampered-user`@'%'", Change::UserAdded),
    ] {
        on_mariadb(live.server().unwrap(), &[statement]).await;
        assert!(!store.is_set_up(&tenant).await.unwrap(), "{statement}");
        let changed = store.ensure_tenant(&tenant).await.unwrap();
        assert_eq!(changed.0.first(), Some(&change), "{statement}");
        assert!(store.is_set_up(&tenant).await.unwrap(), "{statement}: {changed}");
        live.write_as(&tenant).await.unwrap();
    }
}
