//! Tenants that were created anew from a backup, under another UID.

use std::sync::Arc;

use kamaji_datastore::{Change, Error, Owner, Store, Tenant};

use crate::live::Live;
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

macro_rules! on_all {
    ($($name:ident)+) => {
        mod etcd { $(#[tokio::test] async fn $name() { super::$name(super::Live::etcd().await).await; })+ }
        mod postgres { $(#[tokio::test] async fn $name() { super::$name(super::Live::postgres().await).await; })+ }
        mod mariadb { $(#[tokio::test] async fn $name() { super::$name(super::Live::mariadb().await).await; })+ }
        mod nats { $(#[tokio::test] async fn $name() { super::$name(super::Live::nats().await).await; })+ }
    };
}

on_all! {
    goes_to_the_restored_tenant_of_the_same_name_alone
    a_record_without_a_name_gets_it_and_is_nobodys_before
}
