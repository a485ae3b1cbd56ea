//! Whose a tenant's names are: records beside the keys of all tenants, written first and removed last.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, GetOptions, Permission, UserAddOptions};
use kamaji_datastore::{Change, Error, Leftovers, Store, Tenant};

use crate::{Etcd, Options, all_keys, log_in, secure, store, tenant};

const RECORDS: [&str; 2] = ["kamaji.clastix.io/owner/schema/a", "kamaji.clastix.io/owner/user/user-a"];

fn owned(etcd: &Etcd, owner: &str) -> Arc<dyn Store> {
    store(etcd).for_owner(owner)
}

/// Everything that can be changed: users with their roles, roles with their permissions, keys with their revisions.
async fn everything(root: &mut Client) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for user in root.user_list().await.unwrap().users() {
        found.insert(format!("user {user}: {:?}", root.user_get(user).await.unwrap().roles()));
    }
    for role in root.role_list().await.unwrap().roles() {
        found.insert(format!("role {role}: {:?}", root.role_get(role).await.unwrap().permissions()));
    }
    let all = GetOptions::new().with_all_keys();
    for pair in root.get("", Some(all)).await.unwrap().kvs() {
        found.insert(format!("key {}: {}", pair.key_str().unwrap(), pair.mod_revision()));
    }
    found
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

/// Refused to whoever else asks, also to a tenant that is taken for one which was set up here before; nothing changes.
async fn refused_to_others(etcd: &Etcd, root: &mut Client, word: &str) {
    let before = everything(root).await;
    for squatter in [owned(etcd, "uid-squatter"), owned(etcd, "uid-squatter").taking_over()] {
        for asked in [tenant("a", "user-a"), tenant("a", "mine"), tenant("mine", "user-a")] {
            for outcome in all_calls(&squatter, &asked).await {
                let error = outcome.unwrap_err();
                assert_eq!(error.category(), "conflict", "{asked:?}: {error}");
                let sentence = error.to_string();
                assert!(sentence.contains(word) && sentence.contains("kamaji.clastix.io/owner/"), "{sentence}");
            }
        }
    }
    assert_eq!(everything(root).await, before);
}

/// The first `steps` of a setup.
async fn half_made(root: &mut Client, steps: usize) {
    let value = r#"{"kamaji.clastix.io/owner":"uid-a","schema":"a","user":"user-a"}"#;
    for step in 0..steps {
        match step {
            0 => {
                for key in RECORDS {
                    root.put(key, value, None).await.unwrap();
                }
            }
            1 => {
                root.role_add("a").await.unwrap();
            }
            2 => {
                let permission = Permission::read_write("/a/").with_range_end("/a0");
                root.role_grant_permission("a", permission).await.unwrap();
            }
            3 => {
                root.user_add("user-a", "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
            }
            4 => {
                root.user_grant_role("user-a", "a").await.unwrap();
            }
            _ => {
                root.put("/a/x", "theirs", None).await.unwrap();
            }
        }
    }
}

/// As the Go operator leaves a tenant.
async fn unrecorded(root: &mut Client) {
    half_made(root, 6).await;
    for key in RECORDS {
        root.delete(key, None).await.unwrap();
    }
}

async fn ends(store: &Arc<dyn Store>, tenant: &Tenant) {
    store.revoke(tenant).await.unwrap();
    store.erase(tenant).await.unwrap();
    let left = store.recount(tenant).await.unwrap();
    assert!(left.is_empty(), "{left}");
}

async fn is_bare(etcd: &Etcd, root: &mut Client, when: &str) {
    assert_eq!(all_keys(etcd).await, Vec::<String>::new(), "{when}");
    assert_eq!(root.user_list().await.unwrap().users(), ["root"], "{when}");
    assert!(root.role_list().await.unwrap().roles().iter().all(|role| role == "root"), "{when}");
}

#[tokio::test]
async fn a_new_tenant_is_recorded_first_and_its_record_goes_last() {
    let etcd = secure().await;
    let (store, tenant) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    let changed = store.ensure_tenant(&tenant).await.unwrap();
    let steps =
        [Change::OwnerRecorded, Change::RoleAdded, Change::PermissionGranted, Change::UserAdded, Change::RoleGranted];
    assert_eq!(changed.0, steps, "{changed}");
    assert_eq!(all_keys(&etcd).await, RECORDS);
    for key in RECORDS {
        let pair = root.get(key, None).await.unwrap().kvs()[0].clone();
        assert_eq!(pair.value_str().unwrap(), r#"{"kamaji.clastix.io/owner":"uid-a","schema":"a","user":"user-a"}"#);
    }
    let rest = everything(&mut root).await;
    assert!(store.is_set_up(&tenant).await.unwrap());
    assert!(!store.ensure_tenant(&tenant).await.unwrap().any());
    assert_eq!(everything(&mut root).await, rest, "nothing is written at rest");

    log_in(&etcd, "user-a").await.put("/a/x", "1", None).await.unwrap();
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers { keys: 1, users: 1, roles: 2, sessions: 0 });
    // Erased before it is revoked: whose the role is, is still known.
    store.erase(&tenant).await.unwrap();
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers { keys: 0, users: 1, roles: 2, sessions: 0 });
    store.revoke(&tenant).await.unwrap();
    assert_eq!(store.recount(&tenant).await.unwrap(), Leftovers { keys: 0, users: 0, roles: 1, sessions: 0 });
    assert_eq!(all_keys(&etcd).await, RECORDS);
    refused_to_others(&etcd, &mut root, "uid-a").await;
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
    is_bare(&etcd, &mut root, "erased").await;
}

#[tokio::test]
async fn recorded_names_are_refused_to_a_squatter_at_every_step_of_a_setup_which_its_owner_finishes() {
    let etcd = secure().await;
    let (store, tenant) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    for steps in 1..=6 {
        half_made(&mut root, steps).await;
        refused_to_others(&etcd, &mut root, "uid-a").await;
        assert_eq!(store.is_set_up(&tenant).await.unwrap(), steps > 4, "after {steps} steps");
        assert_eq!(store.ensure_tenant(&tenant).await.unwrap().any(), steps <= 4, "after {steps} steps");
        assert!(store.is_set_up(&tenant).await.unwrap(), "after {steps} steps");
        ends(&store, &tenant).await;
        is_bare(&etcd, &mut root, &format!("after {steps} steps")).await;

        half_made(&mut root, steps).await;
        ends(&store, &tenant).await;
        is_bare(&etcd, &mut root, &format!("after {steps} steps that were not finished")).await;
    }
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_anywhere_is_finished_by_the_next() {
    let etcd = secure().await;
    let (store, tenant) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    for steps in 1..=5 {
        half_made(&mut root, 6).await;
        root.put("/a/y", "theirs", None).await.unwrap();
        for step in 0..steps {
            match step {
                0 => {
                    root.user_delete("user-a").await.unwrap();
                }
                1 => {
                    root.role_delete("a").await.unwrap();
                }
                2 => {
                    root.delete("/a/x", None).await.unwrap();
                }
                3 => {
                    root.delete("/a/y", None).await.unwrap();
                }
                // Both go together: this is somebody with etcdctl.
                _ => {
                    root.delete(RECORDS[0], None).await.unwrap();
                }
            }
        }
        assert!(!store.recount(&tenant).await.unwrap().is_empty(), "after {steps} steps");
        ends(&store, &tenant).await;
        is_bare(&etcd, &mut root, &format!("after {steps} steps")).await;
        ends(&store, &tenant).await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_harms_no_later_one() {
    let etcd = secure().await;
    let (store, tenant) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    for microseconds in (0..60_000).step_by(3_000) {
        let given_up = tokio::time::timeout(Duration::from_micros(microseconds), async {
            store.ensure_tenant(&tenant).await?;
            store.revoke(&tenant).await?;
            store.erase(&tenant).await
        });
        let _ = given_up.await;
    }
    store.ensure_tenant(&tenant).await.unwrap();
    assert!(store.is_set_up(&tenant).await.unwrap());
    ends(&store, &tenant).await;
    is_bare(&etcd, &mut etcd.client().await.unwrap(), "erased").await;
}

#[tokio::test]
async fn of_two_owners_at_once_exactly_one_gets_the_schema_and_the_other_leaves_nothing() {
    let etcd = secure().await;
    let mut root = etcd.client().await.unwrap();
    for round in 0..20 {
        let contenders: Vec<_> = ["one", "two"]
            .into_iter()
            .map(|name| (owned(&etcd, &format!("uid-{name}")).taking_over(), tenant("a", name)))
            .collect();
        let calls = contenders.iter().map(|(store, tenant)| store.ensure_tenant(tenant));
        let outcomes = futures::future::join_all(calls).await;
        let (won, lost): (Vec<_>, Vec<_>) = contenders.iter().zip(outcomes).partition(|(_, outcome)| outcome.is_ok());
        assert_eq!((won.len(), lost.len()), (1, 1), "round {round}: {won:?} {lost:?}");
        let (winner, tenant) = won[0].0;
        let error = lost[0].1.as_ref().unwrap_err();
        assert_eq!(error.category(), "conflict", "round {round}: {error}");

        assert!(winner.is_set_up(tenant).await.unwrap(), "round {round}");
        let user = format!("kamaji.clastix.io/owner/user/{}", tenant.user);
        assert_eq!(all_keys(&etcd).await, [RECORDS[0], &user], "round {round}");
        let users: BTreeSet<_> = root.user_list().await.unwrap().users().iter().cloned().collect();
        assert_eq!(users, ["root".to_owned(), tenant.user.clone()].into(), "round {round}");
        ends(winner, tenant).await;
        is_bare(&etcd, &mut root, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn what_carries_no_record_is_adopted_only_by_a_tenant_that_was_set_up_before() {
    let etcd = secure().await;
    let (new, tenant) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    let old = new.taking_over();
    let mut root = etcd.client().await.unwrap();
    unrecorded(&mut root).await;
    let before = everything(&mut root).await;
    for outcome in all_calls(&new, &tenant).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.category(), "conflict", "{error}");
        assert!(error.to_string().contains("not made for this tenant"), "{error}");
    }
    assert!(!old.is_set_up(&tenant).await.unwrap(), "it is not complete without its record");
    assert_eq!(everything(&mut root).await, before);

    assert_eq!(old.ensure_tenant(&tenant).await.unwrap().0, [Change::OwnerRecorded]);
    assert!(old.is_set_up(&tenant).await.unwrap() && new.is_set_up(&tenant).await.unwrap());
    log_in(&etcd, "user-a").await.get("/a/x", None).await.unwrap();
    refused_to_others(&etcd, &mut root, "uid-a").await;
    ends(&new, &tenant).await;
    is_bare(&etcd, &mut root, "adopted").await;

    // One that is deleted before it was looked at.
    unrecorded(&mut root).await;
    ends(&old, &tenant).await;
    is_bare(&etcd, &mut root, "never adopted").await;
}

#[tokio::test]
async fn keys_of_somebody_else_are_neither_taken_nor_erased() {
    let etcd = secure().await;
    let (store, tenant) = (owned(&etcd, "uid-a"), tenant("registry", "user-a"));
    let mut root = etcd.client().await.unwrap();
    root.put("/registry/secrets/default/x", "theirs", None).await.unwrap();
    for outcome in all_calls(&store, &tenant).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.category(), "conflict", "{error}");
        assert!(error.to_string().contains("not made for this tenant"), "{error}");
    }
    assert_eq!(all_keys(&etcd).await, ["/registry/secrets/default/x"]);
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);
}

#[tokio::test]
async fn names_that_a_tenant_cannot_have_are_not_recorded_for_it() {
    let etcd = secure().await;
    let old = owned(&etcd, "uid-a").taking_over();
    let mut root = etcd.client().await.unwrap();
    root.user_add("operations", "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
    root.user_grant_role("operations", "root").await.unwrap();
    let error = old.ensure_tenant(&tenant("a", "operations")).await.unwrap_err();
    assert!(error.to_string().contains("administrator"), "{error}");

    unrecorded(&mut root).await;
    let error = old.ensure_tenant(&tenant("a", "mine")).await.unwrap_err();
    assert!(error.to_string().contains("belongs to the user \"user-a\""), "{error}");
    assert_eq!(all_keys(&etcd).await, ["/a/x"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_somebody_elses() {
    let etcd = secure().await;
    let mut root = etcd.client().await.unwrap();
    for value in ["", "mine", "{}", r#"{"kamaji.clastix.io/owner":"uid-squatter"}"#] {
        for key in RECORDS {
            root.put(key, value, None).await.unwrap();
        }
        refused_to_others(&etcd, &mut root, "somebody unknown").await;
    }
}

#[tokio::test]
async fn who_has_no_owner_goes_by_role_and_user_and_writes_no_record() {
    let etcd = secure().await;
    let (unowned, tenant) = (store(&etcd), tenant("a", "user-a"));
    unowned.ensure_tenant(&tenant).await.unwrap();
    assert_eq!(all_keys(&etcd).await, Vec::<String>::new());
    owned(&etcd, "uid-a").taking_over().ensure_tenant(&tenant).await.unwrap();
    assert!(unowned.is_set_up(&tenant).await.unwrap());
    unowned.revoke(&tenant).await.unwrap();
    unowned.erase(&tenant).await.unwrap();
    assert!(unowned.recount(&tenant).await.unwrap().is_empty());
    assert_eq!(all_keys(&etcd).await, RECORDS, "they are their owner's");
}

#[tokio::test]
async fn a_full_store_lets_a_tenant_go_with_its_record() {
    let options = Options { extra_args: vec!["--quota-backend-bytes=4194304".to_owned()], ..Options::secure() };
    let etcd = Etcd::start(options).await.unwrap();
    let (store, full) = (owned(&etcd, "uid-a"), tenant("a", "user-a"));
    store.ensure_tenant(&full).await.unwrap();
    let mut client = log_in(&etcd, "user-a").await;
    let value = vec![b'x'; 256 * 1024];
    while client.put("/a/x", value.clone(), None).await.is_ok() {}
    let error = owned(&etcd, "uid-b").ensure_tenant(&tenant("b", "user-b")).await.unwrap_err();
    assert_eq!(error.category(), "no_space", "{error}");
    ends(&store, &full).await;
    is_bare(&etcd, &mut etcd.client().await.unwrap(), "erased").await;
}
