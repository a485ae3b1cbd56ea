//! Wrong, missing and expired credentials of the DataStore itself.

use etcd_client::UserAddOptions;
use kamaji_datastore::{BasicAuth, Connection};
use kamaji_testkit::certificate::Authority;

use crate::{connection, connection_as, secure, store, tenant};

fn open(connection: &Connection) -> std::sync::Arc<dyn kamaji_datastore::Store> {
    kamaji_datastore::open(connection).unwrap()
}

#[tokio::test]
async fn a_foreign_authority_is_a_tls_failure() {
    let etcd = secure().await;
    let foreign = Authority::new("foreign").unwrap();

    let mut wrong_ca = connection(&etcd);
    wrong_ca.tls.as_mut().unwrap().ca = foreign.certificate().into_bytes();
    let mut wrong_client = connection_as(&etcd, &foreign.client("root", &[]).unwrap());
    wrong_client.endpoints = etcd.endpoints();
    let mut no_client = connection(&etcd);
    no_client.tls.as_mut().unwrap().client = None;
    for (case, connection) in [("CA", wrong_ca), ("foreign client", wrong_client), ("no client", no_client)] {
        let error = open(&connection).probe().await.unwrap_err();
        assert_eq!(error.category(), "tls", "{case}: {error}");
        assert!(error.to_string().contains(&etcd.endpoints()[0]), "{case}: {error}");
        assert!(error.to_string().contains("spec.tlsConfig"), "{case}: {error}");
        // A condition made of it does not change from pass to pass.
        for _ in 0..3 {
            let again = open(&connection).probe().await.unwrap_err();
            assert_eq!(again.to_string(), error.to_string(), "{case}");
        }
    }
}

#[tokio::test]
async fn a_name_that_the_servers_certificate_lacks_is_a_tls_failure() {
    let etcd = secure().await;
    let mut connection = connection(&etcd);
    let port = etcd.endpoints()[0].rsplit_once(':').unwrap().1.to_owned();
    // To the kernel this is the local machine, to the certificate it is not.
    connection.endpoints = vec![format!("0.0.0.0:{port}")];
    let error = open(&connection).probe().await.unwrap_err();
    assert_eq!(error.category(), "tls", "{error}");
    assert!(error.to_string().contains("0.0.0.0"), "{error}");
}

#[tokio::test]
async fn clear_text_to_a_tls_server_is_unreachable() {
    let etcd = secure().await;
    let connection = Connection { tls: None, ..connection(&etcd) };
    let error = open(&connection).probe().await.unwrap_err();
    assert_eq!(error.category(), "unreachable", "{error}");
}

#[tokio::test]
async fn an_unknown_user_is_unauthenticated_and_finds_nothing_gone() {
    let etcd = secure().await;
    let tenant = tenant("a", "user-a");
    store(&etcd).ensure_tenant(&tenant).await.unwrap();

    let stranger = etcd.tls().unwrap().client("stranger").unwrap();
    let store = open(&connection_as(&etcd, &stranger));
    // A recount of zero would release a tenant's finalizer with its data in place.
    for error in [
        store.recount(&tenant).await.map(drop).unwrap_err(),
        store.revoke(&tenant).await.unwrap_err(),
        store.erase(&tenant).await.unwrap_err(),
        store.ensure_tenant(&tenant).await.map(drop).unwrap_err(),
        store.is_set_up(&tenant).await.map(drop).unwrap_err(),
        store.probe().await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.category(), "unauthenticated", "{error}");
        assert!(error.to_string().contains("common name"), "{error}");
    }
    assert_eq!(store.retry_after(), None, "the server is there: its circuit stays closed");
}

#[tokio::test]
async fn a_login_without_privileges_is_denied() {
    let etcd = secure().await;
    let other = tenant("b", "user-b");
    store(&etcd).ensure_tenant(&other).await.unwrap();

    let identity = etcd.tls().unwrap().client("user-b").unwrap();
    let store = open(&connection_as(&etcd, &identity));
    for error in [
        store.probe().await.map(drop).unwrap_err(),
        store.ensure_tenant(&tenant("a", "user-a")).await.map(drop).unwrap_err(),
        store.recount(&tenant("a", "user-a")).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.category(), "permission_denied", "{error}");
    }
}

#[tokio::test]
async fn a_password_login_works_and_survives_the_loss_of_its_token() {
    let mut etcd = secure().await;
    let mut root = etcd.client().await.unwrap();
    root.user_add("operations", "the-password", Some(UserAddOptions::new())).await.unwrap();
    root.user_grant_role("operations", "root").await.unwrap();

    // The token decides, not the certificate, which names a user that does not exist.
    let mut connection = connection_as(&etcd, &etcd.tls().unwrap().client("nobody").unwrap());
    connection.basic_auth = Some(BasicAuth { username: "operations".into(), password: "the-password".into() });
    let store = open(&connection);
    store.ensure_tenant(&tenant("a", "user-a")).await.unwrap();

    // Tokens live in the server's memory.
    etcd.stop().await.unwrap();
    etcd.restart().await.unwrap();
    assert!(store.is_set_up(&tenant("a", "user-a")).await.unwrap());

    connection.basic_auth = Some(BasicAuth { username: "operations".into(), password: "wrong-password".into() });
    let error = open(&connection).probe().await.unwrap_err();
    assert_eq!(error.category(), "unauthenticated", "{error}");
    assert!(!format!("{error:?} {error}").contains("wrong-password"), "{error:?}");
}
