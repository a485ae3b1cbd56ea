//! The life of a tenant, the same on every server.

use std::sync::Arc;

use kamaji_datastore::{Change, Driver, Leftovers, Store, Tenant};

use crate::live::Live;
use crate::tenant;

on_all! {
    a_tenant_is_set_up_once_and_works
    a_revoked_tenant_is_out_and_its_data_stays
    an_erased_tenant_is_recounted_to_zero_and_its_neighbour_stays
    names_of_another_owner_are_refused_and_untouched
    a_tenant_that_never_was_is_gone_already
    a_healthy_server_has_no_warnings
    the_size_of_a_tenant_is_known
}

async fn a_tenant_is_set_up_once_and_works(live: Live) {
    let (store, tenant) = (live.store("uid-1"), tenant("once", "once-user"));
    assert!(!store.is_set_up(&tenant).await.unwrap());
    let changed = store.ensure_tenant(&tenant).await.unwrap();
    assert!(changed.any());
    assert!(store.is_set_up(&tenant).await.unwrap(), "after {changed}");
    live.write_as(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert_eq!(store.ensure_tenant(&tenant).await.unwrap().to_string(), "nothing changed");
    // And seen by an operator that was restarted.
    let again = live.store("uid-1");
    assert!(again.is_set_up(&tenant).await.unwrap());
    assert!(!again.ensure_tenant(&tenant).await.unwrap().any());
}

async fn a_revoked_tenant_is_out_and_its_data_stays(live: Live) {
    let (store, tenant) = (live.store("uid-2"), tenant("revoked", "revoked-user"));
    store.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    let mut session = Session::of(&live, &tenant).await;
    session.works().await.unwrap();

    store.revoke(&tenant).await.unwrap();
    let left = store.recount(&tenant).await.unwrap();
    assert!(left.keys > 0 && left.sessions == 0, "{left}");
    if !matches!(live, Live::Nats(_)) {
        session.works().await.unwrap_err();
        live.write_as(&tenant).await.unwrap_err();
        assert!(!store.is_set_up(&tenant).await.unwrap());
    }
    store.revoke(&tenant).await.unwrap();

    // A deletion that is not one after all.
    store.taking_over().ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
}

async fn an_erased_tenant_is_recounted_to_zero_and_its_neighbour_stays(live: Live) {
    let (store, tenant, neighbour) = (live.store("uid-3"), tenant("gone", "gone-user"), tenant("gone2", "gone2-user"));
    let has_neighbour = !matches!(live, Live::Nats(_));
    let next_door = live.store("uid-4");
    if has_neighbour {
        next_door.ensure_tenant(&neighbour).await.unwrap();
        live.write_as(&neighbour).await.unwrap();
    }
    // Twice: the names are free again.
    for _ in 0..2 {
        assert!(store.ensure_tenant(&tenant).await.unwrap().any());
        live.write_as(&tenant).await.unwrap();
        assert!(!store.recount(&tenant).await.unwrap().is_empty());
        store.revoke(&tenant).await.unwrap();
        store.erase(&tenant).await.unwrap();
        let left = store.recount(&tenant).await.unwrap();
        assert!(left.is_empty(), "{left}");
        // As after a crash between erasing and releasing.
        store.revoke(&tenant).await.unwrap();
        store.erase(&tenant).await.unwrap();
        assert!(store.recount(&tenant).await.unwrap().is_empty());
    }
    if has_neighbour {
        assert!(next_door.is_set_up(&neighbour).await.unwrap());
        live.write_as(&neighbour).await.unwrap();
    }
}

async fn names_of_another_owner_are_refused_and_untouched(live: Live) {
    let (store, tenant) = (live.store("uid-5"), tenant("theirs", "theirs-user"));
    store.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();

    let mut same_user = tenant.clone();
    same_user.schema = "another".into();
    let mut same_schema = tenant.clone();
    same_schema.user = "another-user".into();
    // Nor does it help to be taken for a tenant that was set up here before.
    for thief in [live.store("uid-6"), live.store("uid-6").taking_over()] {
        for taken in [&tenant, &same_user, &same_schema] {
            for error in [
                thief.ensure_tenant(taken).await.map(drop).unwrap_err(),
                thief.is_set_up(taken).await.map(drop).unwrap_err(),
                thief.revoke(taken).await.unwrap_err(),
                thief.erase(taken).await.unwrap_err(),
                // Zero would release a finalizer.
                thief.recount(taken).await.map(drop).unwrap_err(),
            ] {
                assert_eq!(error.category(), "conflict", "{taken:?}: {error}");
                assert!(error.to_string().contains("theirs"), "{error}");
            }
        }
    }
    assert!(store.is_set_up(&tenant).await.unwrap());
    live.write_as(&tenant).await.unwrap();
    let connection = live.connection();
    let opened = kamaji_datastore::open(&connection).unwrap();
    let unknown = opened.for_owner("").erase(&tenant).await.unwrap_err();
    assert_eq!(unknown.category(), "incomplete", "{unknown}");
    // etcd can do without an owner, see `apiserver_etcd`.
    if connection.driver != Driver::Etcd {
        let unknown = opened.erase(&tenant).await.unwrap_err();
        assert_eq!(unknown.category(), "incomplete", "{unknown}");
    }
}

async fn a_tenant_that_never_was_is_gone_already(live: Live) {
    let (store, tenant) = (live.store("uid-7"), tenant("never", "never-user"));
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers::default());
    assert!(!store.is_set_up(&tenant).await.unwrap());
}

async fn a_healthy_server_has_no_warnings(live: Live) {
    let health = live.store("uid-8").probe().await.unwrap();
    assert!(health.sentences().is_empty() && health.version.starts_with(|c: char| c.is_ascii_digit()), "{health:?}");
}

async fn the_size_of_a_tenant_is_known(live: Live) {
    let (store, tenant) = (live.store("uid-9"), tenant("sized", "sized-user"));
    store.ensure_tenant(&tenant).await.unwrap();
    live.write_as(&tenant).await.unwrap();
    let sizes = store.sizes(std::slice::from_ref(&tenant)).await.unwrap();
    let size = sizes.tenants[&tenant.schema];
    assert!(sizes.bytes > Some(0) && (size.keys > Some(0) || size.bytes > Some(0)), "{sizes:?}");
    // As the operator asks: of the tenants of several owners at once, on behalf of none.
    let unowned = kamaji_datastore::open(&live.connection()).unwrap();
    let never = crate::tenant("never-sized", "never-sized-user");
    let sizes = unowned.sizes(&[tenant.clone(), never]).await.unwrap();
    assert_eq!(sizes.tenants[&tenant.schema].bytes.is_some(), size.bytes.is_some(), "{sizes:?}");
    let none = unowned.sizes(&[]).await.unwrap();
    assert!(none.bytes > Some(0) && none.tenants.is_empty(), "{none:?}");
}

/// A session of the tenant that stays open.
enum Session {
    Etcd(Box<etcd_client::Client>, String),
    Postgres(tokio_postgres::Client),
    MariaDb(mysql_async::Conn),
    None,
}

impl Session {
    async fn of(live: &Live, tenant: &Tenant) -> Self {
        match live {
            Live::Etcd(etcd) => {
                let identity = etcd.tls().unwrap().client(&tenant.user).unwrap();
                let key = format!("/{}/registry/x", tenant.schema);
                Self::Etcd(Box::new(etcd.connect(Some(&identity)).await.unwrap()), key)
            }
            Live::Postgres(server) => {
                Self::Postgres(crate::live::postgres_as(server, tenant, &tenant.schema).await.unwrap())
            }
            Live::MariaDb(server) => {
                Self::MariaDb(crate::live::mariadb_as(server, tenant, Some(&tenant.schema)).await.unwrap())
            }
            Live::Nats(_) => Self::None,
        }
    }

    async fn works(&mut self) -> Result<(), String> {
        use mysql_async::prelude::Queryable as _;
        match self {
            Self::Etcd(client, key) => {
                client.get(key.as_str(), None).await.map(drop).map_err(|error| error.to_string())
            }
            Self::Postgres(client) => {
                client.simple_query("SELECT * FROM kine").await.map(drop).map_err(|error| error.to_string())
            }
            Self::MariaDb(conn) => conn.query_drop("SELECT * FROM kine").await.map_err(|error| error.to_string()),
            Self::None => Ok(()),
        }
    }
}

async fn many_at_once(live: Live) {
    const COUNT: usize = 20;
    let tenants = || {
        (0..COUNT).map(|index| {
            let tenant = tenant(&format!("many-{index}"), &format!("many-user-{index}"));
            (live.store(&format!("uid-many-{index}")), tenant)
        })
    };
    let store = kamaji_datastore::open(&live.connection()).unwrap();
    let shared: Vec<(Arc<dyn Store>, Tenant)> = tenants()
        .enumerate()
        .map(|(index, (_, tenant))| (store.for_owner(&format!("uid-many-{index}")), tenant))
        .collect();
    let set_up = futures::future::join_all(shared.iter().map(|(store, tenant)| store.ensure_tenant(tenant))).await;
    for changed in set_up {
        assert!(changed.unwrap().0.contains(&Change::UserAdded));
    }
    for (store, tenant) in &shared {
        assert!(store.is_set_up(tenant).await.unwrap());
    }
    let erased = shared.iter().map(|(store, tenant)| async move {
        store.revoke(tenant).await?;
        store.erase(tenant).await?;
        store.recount(tenant).await
    });
    for left in futures::future::join_all(erased).await {
        assert!(left.unwrap().is_empty());
    }
}

#[tokio::test]
async fn many_tenants_come_and_go_at_once_on_etcd() {
    many_at_once(Live::etcd().await).await;
}

#[tokio::test]
async fn many_tenants_come_and_go_at_once_on_postgres() {
    many_at_once(Live::postgres().await).await;
}

#[tokio::test]
async fn many_tenants_come_and_go_at_once_on_mariadb() {
    many_at_once(Live::mariadb().await).await;
}

async fn a_changed_password_is_noticed(live: Live) {
    let (store, old) = (live.store("uid-10"), tenant("rotated", "rotated-user"));
    store.ensure_tenant(&old).await.unwrap();
    live.write_as(&old).await.unwrap();
    let new = Tenant { password: Some("another'one\\".into()), ..old.clone() };
    assert!(!store.is_set_up(&new).await.unwrap());
    assert_eq!(store.ensure_tenant(&new).await.unwrap().0, [Change::PasswordChanged]);
    assert!(!store.ensure_tenant(&new).await.unwrap().any());
    assert!(!store.is_set_up(&old).await.unwrap());
    live.write_as(&new).await.unwrap();
    live.write_as(&old).await.unwrap_err();

    let without = Tenant { password: None, ..new.clone() };
    assert!(store.is_set_up(&without).await.unwrap());
    assert_eq!(store.ensure_tenant(&without).await.unwrap_err().category(), "incomplete");
}

#[tokio::test]
async fn a_changed_password_is_noticed_on_postgres() {
    a_changed_password_is_noticed(Live::postgres().await).await;
}

#[tokio::test]
async fn a_changed_password_is_noticed_on_mariadb() {
    a_changed_password_is_noticed(Live::mariadb().await).await;
}

/// As two operators do, one of which has yet to learn that it does not lead.
async fn the_same_tenant_set_up_many_times_at_once_is_set_up_once(live: Live) {
    let tenant = tenant("raced", "raced-user");
    let stores: Vec<_> = (0..8).map(|_| live.store("uid-raced")).collect();
    let outcomes = futures::future::join_all(stores.iter().map(|store| store.ensure_tenant(&tenant))).await;
    let added = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().0.contains(&Change::UserAdded)).count();
    assert_eq!(added, 1);
    assert!(live.store("uid-raced").is_set_up(&tenant).await.unwrap());
    live.write_as(&tenant).await.unwrap();

    // And one name that several want goes to one of them.
    let contested: Vec<_> = (0..6).map(|index| live.store(&format!("uid-contested-{index}"))).collect();
    let wanted = crate::tenant("contested", "contested-user");
    let outcomes = futures::future::join_all(contested.iter().map(|store| store.ensure_tenant(&wanted))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{lost:?}");
    assert!(lost.iter().all(|lost| lost.as_ref().unwrap_err().category() == "conflict"), "{lost:?}");
}

#[tokio::test]
async fn the_same_tenant_set_up_many_times_at_once_is_set_up_once_on_etcd() {
    the_same_tenant_set_up_many_times_at_once_is_set_up_once(Live::etcd().await).await;
}

#[tokio::test]
async fn the_same_tenant_set_up_many_times_at_once_is_set_up_once_on_postgres() {
    the_same_tenant_set_up_many_times_at_once_is_set_up_once(Live::postgres().await).await;
}

#[tokio::test]
async fn the_same_tenant_set_up_many_times_at_once_is_set_up_once_on_mariadb() {
    the_same_tenant_set_up_many_times_at_once_is_set_up_once(Live::mariadb().await).await;
}
