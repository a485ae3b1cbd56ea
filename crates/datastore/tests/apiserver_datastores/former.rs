//! Tenants that were created anew from a backup, under another UID.

use std::sync::Arc;

use kamaji_datastore::{BasicAuth, Change, Connection, Driver, Error, Owner, Store, Tenant, Tls};
use kamaji_testkit::server::Server;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_admin, postgres_admin};
use crate::tenant;

fn store(live: &Live, uid: &str, name: Option<&str>, former: Option<&str>) -> Arc<dyn Store> {
    let [name, former] = [name, former].map(|text| text.map(str::to_owned));
    let owner = Owner { uid: uid.to_owned(), name, former };
    kamaji_datastore::open(&live.connection()).unwrap().on_behalf_of(&owner)
}

async fn all_calls(store: &Arc<dyn Store>, tenant: &Tenant) -> [Result<(), Error>; 5] {
    [
        store.ensure_tenant(tenant).await.map(drop),
        store.is_set_up(tenant).await.map(drop),
        store.revoke(tenant).await,
        store.erase(tenant).await,
        store.recount(tenant).await.map(drop),
    ]
}

async fn is_refused(store: &Arc<dyn Store>, tenant: &Tenant, uid: &str) {
    for outcome in all_calls(store, tenant).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.category(), "conflict", "{error}");
        assert!(error.to_string().contains(&format!("UID {uid}")), "{error}");
    }
}

async fn ends(store: &Arc<dyn Store>, tenant: &Tenant) {
    store.revoke(tenant).await.unwrap();
    store.erase(tenant).await.unwrap();
    let left = store.recount(tenant).await.unwrap();
    assert!(left.is_empty(), "{left}");
}

async fn goes_to_the_restored_tenant_of_the_same_name_alone(live: Live) {
    let (one, two) = (Some("ns/one"), Some("ns/two"));
    let tenant = tenant("restored", "restored-user");
    let old = store(&live, "old", one, None);
    old.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    for (name, former) in [(one, None), (one, Some("older")), (two, Some("old")), (None, Some("old"))] {
        let thief = store(&live, "new", name, former);
        is_refused(&thief, &tenant, "old").await;
        is_refused(&thief.taking_over(), &tenant, "old").await;
    }
    live.write_as(&tenant).await.unwrap();

    let restored = store(&live, "new", one, Some("old"));
    assert!(!restored.is_set_up(&tenant).await.unwrap());
    assert_eq!(restored.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerReplaced]);
    assert!(restored.is_set_up(&tenant).await.unwrap() && !restored.ensure_tenant(&tenant).await.unwrap().any());
    assert!(store(&live, "new", one, None).is_set_up(&tenant).await.unwrap(), "it has no use for the former any more");
    live.write_as(&tenant).await.unwrap();
    is_refused(&old, &tenant, "new").await;
    is_refused(&store(&live, "third", one, Some("old")), &tenant, "new").await;
    ends(&restored, &tenant).await;

    // One that is deleted before it was looked at.
    old.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    ends(&restored, &tenant).await;
}

async fn a_record_without_a_name_gets_it_and_is_nobodys_before(live: Live) {
    let (one, tenant) = (Some("ns/one"), tenant("bare", "bare-user"));
    let bare = live.store("old");
    bare.ensure_tenant(&tenant).await.unwrap();
    is_refused(&store(&live, "new", one, Some("old")), &tenant, "old").await;
    let named = store(&live, "old", one, None);
    assert!(!named.is_set_up(&tenant).await.unwrap());
    assert_eq!(named.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerRecorded]);
    assert!(named.is_set_up(&tenant).await.unwrap() && bare.is_set_up(&tenant).await.unwrap());
    assert!(!bare.ensure_tenant(&tenant).await.unwrap().any());
    ends(&store(&live, "new", one, Some("old")), &tenant).await;
}

fn opened_as(live: &Live, username: &str, owner: &Owner) -> Arc<dyn Store> {
    let basic_auth = Some(BasicAuth { username: username.into(), password: "x".into() });
    kamaji_datastore::open(&Connection { basic_auth, ..live.connection() }).unwrap().on_behalf_of(owner)
}

#[tokio::test]
async fn a_tenant_whose_record_the_login_may_not_complete_stays_set_up_on_postgres() {
    let live = Live::postgres().await;
    let admin = postgres_admin(live.server().unwrap(), "postgres").await;
    // As another login than that which made the role, from PostgreSQL 16 on.
    admin.batch_execute("CREATE ROLE exchanged LOGIN PASSWORD 'x'").await.unwrap();
    let tenant = tenant("uncommented", "uncommented-user");
    live.store("uid-c").ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    let owner = Owner { name: Some("ns/one".into()), ..Owner::new("uid-c") };
    for _ in 0..2 {
        let store = opened_as(&live, "exchanged", &owner);
        assert!(!store.is_set_up(&tenant).await.unwrap(), "it is tried again");
        assert!(!store.ensure_tenant(&tenant).await.unwrap().any());
    }
    // What a tenant needs is not let go.
    admin.batch_execute("ALTER ROLE \"uncommented-user\" NOLOGIN").await.unwrap();
    let error = opened_as(&live, "exchanged", &owner).ensure_tenant(&tenant).await.unwrap_err();
    assert_eq!(error.category(), "permission_denied", "{error}");
    // By a login that may.
    let named = store(&live, "uid-c", Some("ns/one"), None);
    assert_eq!(named.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerRecorded, Change::LoginUnlocked]);
    // Nor is a record of the former UID.
    let restored = Owner { name: Some("ns/one".into()), former: Some("uid-c".into()), ..Owner::new("uid-d") };
    let error = opened_as(&live, "exchanged", &restored).ensure_tenant(&tenant).await.unwrap_err();
    assert_eq!(error.category(), "permission_denied", "{error}");
}

#[tokio::test]
async fn an_administrators_words_and_the_record_outlive_a_restart_of_mariadb() {
    let mut server = kamaji_testkit::mariadb::start().await.unwrap();
    let tenant = tenant("worded", "worded-user");
    let open = |server: &Server, name: Option<&str>| {
        let identity = server.client();
        let client = (identity.certificate.clone().into_bytes(), identity.key.clone().into_bytes());
        let connection = Connection {
            driver: Driver::MySql,
            endpoints: vec![server.endpoint()],
            tls: Some(Tls { ca: server.authority().certificate().into_bytes(), client: Some(client) }),
            basic_auth: Some(BasicAuth {
                username: kamaji_testkit::mariadb::USER.into(),
                password: kamaji_testkit::mariadb::PASSWORD.into(),
            }),
        };
        let owner = Owner { name: name.map(str::to_owned), ..Owner::new("uid-w") };
        kamaji_datastore::open(&connection).unwrap().on_behalf_of(&owner)
    };
    open(&server, None).ensure_tenant(&tenant).await.unwrap();
    let mut admin = mariadb_admin(&server).await;
    let read = "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'worded'";
    let record: String = admin.query_first(read).await.unwrap().unwrap();
    admin.query_drop(format!("ALTER DATABASE worded COMMENT 'ask Ada\n{record}'")).await.unwrap();
    let changed = open(&server, Some("ns/one")).ensure_tenant(&tenant).await.unwrap();
    assert_eq!(changed.0, [Change::OwnerRecorded]);
    let before: String = admin.query_first(read).await.unwrap().unwrap();
    assert!(before.starts_with("ask Ada {") && before.contains("ns/one"), "{before}");
    drop(admin);

    server.restart().await.unwrap();
    let after: String = mariadb_admin(&server).await.query_first(read).await.unwrap().unwrap();
    assert_eq!(after, before);
    assert!(open(&server, Some("ns/one")).is_set_up(&tenant).await.unwrap());
}

on_all! {
    goes_to_the_restored_tenant_of_the_same_name_alone
    a_record_without_a_name_gets_it_and_is_nobodys_before
}
