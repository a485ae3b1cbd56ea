//! The life of a tenant: set up, used, revoked, erased, recounted.

use std::time::Duration;

use etcd_client::WatchOptions;
use kamaji_datastore::{Change, Leftovers};

use crate::{Etcd, Options, all_keys, log_in, secure, store, tenant};

#[tokio::test]
async fn a_tenant_is_set_up_once_and_the_second_time_changes_nothing() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("schema-a", "user-a"));

    assert!(!store.is_set_up(&tenant).await.unwrap());
    let changed = store.ensure_tenant(&tenant).await.unwrap();
    assert_eq!(
        changed.0,
        [Change::RoleAdded, Change::PermissionGranted, Change::UserAdded, Change::RoleGranted],
        "{changed}"
    );
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert!(!store.ensure_tenant(&tenant).await.unwrap().any());

    // What the contract says is there, and that it is enough for the tenant to work.
    let mut root = etcd.client().await.unwrap();
    assert_eq!(root.user_get("user-a").await.unwrap().roles(), ["schema-a"]);
    let role = root.role_get("schema-a").await.unwrap();
    let permissions = role.permissions();
    assert_eq!(permissions.len(), 1);
    assert_eq!((permissions[0].key(), permissions[0].range_end()), (&b"/schema-a/"[..], &b"/schema-a0"[..]));
    assert!(root.auth_client().authenticate("user-a".into(), String::new()).await.is_err(), "the user has no password");
    log_in(&etcd, "user-a").await.put("/schema-a/registry/x", "1", None).await.unwrap();
}

#[tokio::test]
async fn many_tenants_set_up_at_once_all_succeed() {
    let etcd = secure().await;
    let store = store(&etcd);
    let tasks: Vec<_> = (0..100)
        .map(|index| {
            let store = store.for_owner(&format!("uid-{index}"));
            let tenant = tenant(&format!("schema-{index}"), &format!("user-{index}"));
            tokio::spawn(async move {
                store.ensure_tenant(&tenant).await.unwrap();
                (store.is_set_up(&tenant).await.unwrap(), tenant)
            })
        })
        .collect();
    for task in tasks {
        let (is_set_up, tenant) = task.await.unwrap();
        assert!(is_set_up, "{tenant:?}");
    }
    // Deleting them at once leaves nothing either.
    let tasks: Vec<_> = (0..100)
        .map(|index| {
            let store = store.for_owner(&format!("uid-{index}"));
            let tenant = tenant(&format!("schema-{index}"), &format!("user-{index}"));
            tokio::spawn(async move {
                store.revoke(&tenant).await.unwrap();
                store.erase(&tenant).await.unwrap();
                store.recount(&tenant).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Leftovers::default());
    }
    let mut root = etcd.client().await.unwrap();
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);
    assert!(root.role_list().await.unwrap().roles().iter().all(|role| role == "root"));
    assert_eq!(all_keys(&etcd).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_erased_tenant_is_recounted_to_zero_and_its_neighbours_keep_their_keys() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();
    let mut root = etcd.client().await.unwrap();
    let neighbours = ["/", "/a", "/a-b/x", "/a.b/x", "/a0", "/aa/x", "/b/x"];
    for key in neighbours {
        root.put(key, "theirs", None).await.unwrap();
    }
    // More than two batches.
    let mut client = log_in(&etcd, "user-a").await;
    for start in (0..2_500).step_by(100) {
        let puts: Vec<_> = (start..start + 100)
            .map(|key| etcd_client::TxnOp::put(format!("/a/registry/{key}"), "mine", None))
            .collect();
        client.txn(etcd_client::Txn::new().and_then(puts)).await.unwrap();
    }
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers { keys: 2_500, users: 1, roles: 1, sessions: 0 });
    let sizes = store.sizes(std::slice::from_ref(&tenant)).await.unwrap();
    assert_eq!(sizes.tenants["a"].keys, Some(2_500));
    assert!(
        sizes.bytes >= sizes.bytes_in_use && sizes.bytes_in_use > Some(0) && sizes.quota > sizes.bytes,
        "{sizes:?}"
    );

    store.revoke(&tenant).await.unwrap();
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers { keys: 2_500, users: 0, roles: 0, sessions: 0 });
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
    assert_eq!(all_keys(&etcd).await, neighbours);

    // Once more, as after a crash between erasing and releasing.
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn erasing_ends_even_while_somebody_goes_on_writing() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    let writer = tokio::spawn(async move {
        for key in 0_u64.. {
            root.put(format!("/a/{key}"), "again", None).await.unwrap();
        }
    });
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_secs(10), store.erase(&tenant)).await.expect("it does not end").unwrap();
    }
    assert!(!writer.is_finished(), "nobody wrote");
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_running_client_loses_access_when_its_tenant_is_revoked() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();
    let mut client = log_in(&etcd, "user-a").await;
    client.put("/a/registry/x", "1", None).await.unwrap();

    store.revoke(&tenant).await.unwrap();
    client.put("/a/registry/x", "2", None).await.unwrap_err();
    client.get("/a/registry/x", None).await.unwrap_err();
    client.delete("/a/registry/x", None).await.unwrap_err();
    assert_eq!(all_keys(&etcd).await, ["/a/registry/x"]);
    let mut watch = client.watch("/a/", Some(WatchOptions::new().with_prefix().with_start_revision(1))).await.unwrap();
    let answer = watch.message().await.unwrap().unwrap();
    assert!(answer.canceled() && answer.events().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn a_healthy_etcd_has_no_warnings() {
    let etcd = secure().await;
    let health = store(&etcd).probe().await.unwrap();
    assert_eq!(health.version, kamaji_testkit::parts::ETCD_VERSION);
    assert_eq!(health.sentences(), Vec::<String>::new());
}

#[tokio::test]
async fn without_authentication_tenants_still_come_and_go_and_the_probe_warns() {
    let etcd = Etcd::start(Options::default()).await.unwrap();
    let connection = kamaji_datastore::Connection {
        driver: kamaji_datastore::Driver::Etcd,
        endpoints: etcd.endpoints(),
        tls: None,
        basic_auth: Some(kamaji_datastore::BasicAuth { username: "someone".into(), password: "unused".into() }),
    };
    let (store, tenant) = (kamaji_datastore::open(&connection).unwrap(), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
    etcd.client().await.unwrap().put("/a/x", "1", None).await.unwrap();

    let health = store.probe().await.unwrap();
    assert_eq!(health.warnings.len(), 1, "{health:?}");
    assert!(health.warnings[0].contains("authentication disabled"), "{health:?}");

    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}
