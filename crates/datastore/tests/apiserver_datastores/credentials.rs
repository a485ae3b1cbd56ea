//! The DataStore's own credentials: wrong, missing, foreign, or of somebody without privileges.

use kamaji_datastore::{BasicAuth, Connection};
use kamaji_testkit::certificate::Authority;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_admin, postgres_admin};
use crate::tenant;

async fn all() -> [Live; 3] {
    [Live::postgres().await, Live::mariadb().await, Live::nats().await]
}

fn login(connection: &Connection, username: &str, password: &str) -> Connection {
    let basic_auth = Some(BasicAuth { username: username.into(), password: password.into() });
    Connection { basic_auth, ..connection.clone() }
}

#[tokio::test]
async fn a_wrong_password_is_unauthenticated_and_no_outage() {
    for live in all().await {
        let right = live.connection();
        let user = right.basic_auth.as_ref().unwrap().username.clone();
        for wrong in [login(&right, &user, "wrong-secret"), login(&right, "nobody-here", "wrong-secret")] {
            let store = kamaji_datastore::open(&wrong).unwrap().for_owner("uid");
            let tenant = tenant("a", "user-a");
            for error in [
                store.probe().await.map(drop).unwrap_err(),
                store.ensure_tenant(&tenant).await.map(drop).unwrap_err(),
                store.recount(&tenant).await.map(drop).unwrap_err(),
            ] {
                assert_eq!(error.category(), "unauthenticated", "{error}");
                assert!(error.to_string().contains(&right.endpoints[0]), "{error}");
                assert!(!format!("{error:?}").contains("wrong-secret"), "{error:?}");
            }
            assert_eq!(store.retry_after(), None);
        }
    }
}

#[tokio::test]
async fn a_foreign_authority_is_a_tls_failure() {
    let foreign = Authority::new("foreign").unwrap();
    for live in all().await {
        let mut connection = live.connection();
        connection.tls.as_mut().unwrap().ca = foreign.certificate().into_bytes();
        let mut said = Vec::new();
        for _ in 0..3 {
            let error = kamaji_datastore::open(&connection).unwrap().probe().await.unwrap_err();
            assert_eq!(error.category(), "tls", "{error}");
            assert!(error.to_string().contains("spec.tlsConfig"), "{error}");
            said.push(error.to_string());
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
    }
}

#[tokio::test]
async fn a_name_that_the_servers_certificate_lacks_is_a_tls_failure() {
    for live in all().await {
        let mut connection = live.connection();
        connection.endpoints = vec![connection.endpoints[0].replace("127.0.0.1", "127.0.0.2")];
        let address = connection.endpoints[0].parse().unwrap();
        // Servers listen on one address: something at the other one passes on.
        let listener = tokio::net::TcpListener::bind::<std::net::SocketAddr>(address).await.unwrap();
        let upstream = live.server().unwrap().address();
        let proxy = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = tokio::net::TcpStream::connect(upstream).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            }
        });
        let error = kamaji_datastore::open(&connection).unwrap().probe().await.unwrap_err();
        assert_eq!(error.category(), "tls", "{error}");
        proxy.abort();
    }
}

#[tokio::test]
async fn clear_text_works_where_the_server_takes_it_and_is_said_where_not() {
    for live in all().await {
        let connection = Connection { tls: None, ..live.connection() };
        let outcome = kamaji_datastore::open(&connection).unwrap().probe().await;
        if matches!(live, Live::Nats(_)) {
            let error = outcome.unwrap_err();
            assert_eq!(error.category(), "tls", "{error}");
            assert!(error.to_string().contains("the server wants TLS"), "{error}");
        } else {
            outcome.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_demanded() {
    for (live, user, password) in [
        (Live::postgres().await, kamaji_testkit::postgres::CERTIFIED_USER, kamaji_testkit::postgres::PASSWORD),
        (Live::mariadb().await, kamaji_testkit::mariadb::CERTIFIED_USER, kamaji_testkit::mariadb::PASSWORD),
    ] {
        let with = login(&live.connection(), user, password);
        kamaji_datastore::open(&with).unwrap().probe().await.unwrap();
        let mut without = with.clone();
        without.tls.as_mut().unwrap().client = None;
        let error = kamaji_datastore::open(&without).unwrap().probe().await.unwrap_err();
        assert_eq!(error.category(), "unauthenticated", "{error}");
    }
    let live = Live::nats().await;
    let mut without = live.connection();
    without.tls.as_mut().unwrap().client = None;
    let error = kamaji_datastore::open(&without).unwrap().probe().await.unwrap_err();
    assert!(["tls", "unreachable"].contains(&error.category()), "{error}");
}

#[tokio::test]
async fn a_login_without_privileges_is_denied() {
    let live = Live::postgres().await;
    let admin = postgres_admin(live.server().unwrap(), "postgres").await;
    admin.batch_execute("CREATE ROLE weak LOGIN PASSWORD 'x'").await.unwrap();
    let weak = kamaji_datastore::open(&login(&live.connection(), "weak", "x")).unwrap().for_owner("uid");
    let error = weak.probe().await.unwrap_err();
    assert_eq!(error.category(), "permission_denied", "{error}");
    assert!(error.to_string().contains("CREATEROLE"), "{error}");
    assert_eq!(weak.ensure_tenant(&tenant("w", "w-user")).await.unwrap_err().category(), "permission_denied");

    let live = Live::mariadb().await;
    let mut admin = mariadb_admin(live.server().unwrap()).await;
    admin.query_drop("CREATE USER weak@'%' IDENTIFIED BY 'x'").await.unwrap();
    let weak = kamaji_datastore::open(&login(&live.connection(), "weak", "x")).unwrap().for_owner("uid");
    let error = weak.probe().await.unwrap_err();
    assert_eq!(error.category(), "permission_denied", "{error}");
    assert!(error.to_string().contains("CREATE USER"), "{error}");
    assert_eq!(weak.ensure_tenant(&tenant("w", "w-user")).await.unwrap_err().category(), "permission_denied");

    let live = Live::nats().await;
    let plain = login(&live.connection(), kamaji_testkit::nats::PLAIN_USER, kamaji_testkit::nats::PASSWORD);
    let error = kamaji_datastore::open(&plain).unwrap().probe().await.unwrap_err();
    assert!(error.to_string().contains("JetStream"), "{error}");
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_will_do_on_postgres() {
    let live = Live::postgres().await;
    let admin = postgres_admin(live.server().unwrap(), "postgres").await;
    admin.batch_execute("CREATE ROLE managed LOGIN CREATEDB CREATEROLE PASSWORD 'x'").await.unwrap();
    let store = kamaji_datastore::open(&login(&live.connection(), "managed", "x")).unwrap().for_owner("uid-m");
    store.probe().await.unwrap();
    let tenant = tenant("managed", "managed-user");
    store.ensure_tenant(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert!(!store.ensure_tenant(&tenant).await.unwrap().any());
    live.write_as(&tenant).await.unwrap();
    let session = crate::live::postgres_as(live.server().unwrap(), &tenant, "managed").await.unwrap();
    store.sizes(std::slice::from_ref(&tenant)).await.unwrap();
    store.revoke(&tenant).await.unwrap();
    session.simple_query("SELECT 1").await.unwrap_err();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_administrator_with_just_the_named_privileges_will_do_on_mariadb() {
    let live = Live::mariadb().await;
    let mut admin = mariadb_admin(live.server().unwrap()).await;
    admin.query_drop("CREATE USER managed@'%' IDENTIFIED BY 'x'").await.unwrap();
    admin
        .query_drop(
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, PROCESS, CREATE USER, CONNECTION ADMIN ON *.* \
             TO managed@'%' WITH GRANT OPTION",
        )
        .await
        .unwrap();
    let store = kamaji_datastore::open(&login(&live.connection(), "managed", "x")).unwrap().for_owner("uid-m");
    store.probe().await.unwrap();
    let tenant = tenant("managed", "managed-user");
    store.ensure_tenant(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
    live.write_as(&tenant).await.unwrap();
    let mut session = crate::live::mariadb_as(live.server().unwrap(), &tenant, Some("managed")).await.unwrap();
    store.revoke(&tenant).await.unwrap();
    session.query_drop("SELECT 1").await.unwrap_err();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_datastore_without_a_login_says_which_field_is_missing() {
    for live in [Live::postgres().await, Live::mariadb().await] {
        let connection = Connection { basic_auth: None, ..live.connection() };
        let error = kamaji_datastore::open(&connection).unwrap().probe().await.unwrap_err();
        assert_eq!(error.category(), "invalid_connection");
        assert!(error.to_string().contains("spec.basicAuth"), "{error}");
    }
}
