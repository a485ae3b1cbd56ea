//! Half-made, damaged and foreign users and roles.

use etcd_client::{Client, Permission, PermissionType, UserAddOptions};

use crate::{all_keys, secure, store, tenant};

async fn add_user(root: &mut Client, user: &str) {
    root.user_add(user, "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
}

fn wanted() -> Permission {
    Permission::read_write("/a/").with_range_end("/a0")
}

/// Brings the tenant `a` into one half-made or damaged state.
async fn damage(root: &mut Client, case: usize) -> Option<&'static str> {
    let case = match case {
        0 => {
            root.role_add("a").await.unwrap();
            "a role without permission"
        }
        1 => {
            add_user(root, "user-a").await;
            "a user without role"
        }
        2 => {
            root.role_add("a").await.unwrap();
            root.role_grant_permission("a", wanted()).await.unwrap();
            "a complete role without user"
        }
        3 => {
            root.role_add("a").await.unwrap();
            add_user(root, "user-a").await;
            root.user_grant_role("user-a", "a").await.unwrap();
            "a bound role without permission"
        }
        4 => {
            root.role_add("a").await.unwrap();
            let read = Permission::new(PermissionType::Read, "/a/").with_range_end("/a0");
            root.role_grant_permission("a", read).await.unwrap();
            "a permission to read only"
        }
        5 => {
            root.role_add("a").await.unwrap();
            root.role_grant_permission("a", Permission::read_write("/a/").with_from_key()).await.unwrap();
            add_user(root, "user-a").await;
            root.user_grant_role("user-a", "a").await.unwrap();
            "a range that is open at the top"
        }
        6 => {
            root.role_add("a").await.unwrap();
            for permission in [wanted(), Permission::read("").with_all_keys(), Permission::read_write("/b/x")] {
                root.role_grant_permission("a", permission).await.unwrap();
            }
            "foreign permissions beside the right one"
        }
        7 => {
            root.role_add("a").await.unwrap();
            let narrow = Permission::read_write("/a/").with_range_end("/a/z");
            for permission in [narrow, Permission::read("/a/").with_range_end("/a0"), wanted()] {
                root.role_grant_permission("a", permission).await.unwrap();
            }
            "several permissions from the same key"
        }
        _ => return None,
    };
    Some(case)
}

#[tokio::test]
async fn every_half_made_or_damaged_state_is_repaired() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    let mut cases = 0;
    while let Some(case) = damage(&mut root, cases).await {
        assert!(!store.is_set_up(&tenant).await.unwrap(), "{case}");
        assert!(store.ensure_tenant(&tenant).await.unwrap().any(), "{case}");
        assert!(store.is_set_up(&tenant).await.unwrap(), "{case}");
        assert!(!store.ensure_tenant(&tenant).await.unwrap().any(), "{case}");

        let role = root.role_get("a").await.unwrap();
        let ranges: Vec<_> = role
            .permissions()
            .iter()
            .map(|permission| (permission.get_type(), permission.key().to_vec(), permission.range_end().to_vec()))
            .collect();
        assert_eq!(ranges, [(PermissionType::Readwrite as i32, b"/a/".to_vec(), b"/a0".to_vec())], "{case}");
        assert_eq!(root.user_get("user-a").await.unwrap().roles(), ["a"], "{case}");

        store.revoke(&tenant).await.unwrap();
        assert!(store.recount(&tenant).await.unwrap().is_empty(), "{case}");
        cases += 1;
    }
    assert_eq!(cases, 8);
}

#[tokio::test]
async fn every_half_made_or_damaged_state_can_be_revoked() {
    let etcd = secure().await;
    let (store, tenant) = (store(&etcd), tenant("a", "user-a"));
    let mut root = etcd.client().await.unwrap();
    let mut cases = 0;
    while let Some(case) = damage(&mut root, cases).await {
        assert!(!store.recount(&tenant).await.unwrap().is_empty(), "{case}");
        store.revoke(&tenant).await.unwrap();
        assert!(store.recount(&tenant).await.unwrap().is_empty(), "{case}");
        assert_eq!(root.user_list().await.unwrap().users(), ["root"], "{case}");
        cases += 1;
    }
    assert_eq!(cases, 8);
}

#[tokio::test]
async fn refused_names_reach_the_server_in_no_call() {
    let etcd = secure().await;
    let store = store(&etcd);
    for (schema, user) in [("", "u"), ("a/b", "u"), ("a\0", "u"), ("root", "u"), ("a", "root"), ("a", ""), ("..", "u")]
    {
        let tenant = tenant(schema, user);
        let categories = [
            store.ensure_tenant(&tenant).await.map(drop).unwrap_err().category(),
            store.is_set_up(&tenant).await.map(drop).unwrap_err().category(),
            store.revoke(&tenant).await.unwrap_err().category(),
            store.erase(&tenant).await.unwrap_err().category(),
            store.recount(&tenant).await.map(drop).unwrap_err().category(),
            store.sizes(&[tenant]).await.map(drop).unwrap_err().category(),
        ];
        assert_eq!(categories, ["invalid_name"; 6], "{schema:?} {user:?}");
    }
    let mut root = etcd.client().await.unwrap();
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);
    assert_eq!(root.user_get("root").await.unwrap().roles(), ["root"]);
}

#[tokio::test]
async fn an_administrator_is_not_taken_as_a_tenants_login() {
    let etcd = secure().await;
    let store = store(&etcd);
    let mut root = etcd.client().await.unwrap();
    add_user(&mut root, "operations").await;
    root.user_grant_role("operations", "root").await.unwrap();

    let tenant = tenant("a", "operations");
    let error = store.ensure_tenant(&tenant).await.unwrap_err();
    assert_eq!(error.category(), "conflict");
    assert!(error.to_string().contains("administrator"), "{error}");
    store.revoke(&tenant).await.unwrap();
    assert_eq!(root.user_get("operations").await.unwrap().roles(), ["root"]);
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_tenants_schema_is_neither_taken_nor_revoked_nor_erased() {
    let etcd = secure().await;
    let store = store(&etcd);
    let owner = tenant("a", "user-a");
    store.ensure_tenant(&owner).await.unwrap();
    let mut root = etcd.client().await.unwrap();
    root.put("/a/x", "theirs", None).await.unwrap();

    let intruder = tenant("a", "user-b");
    // Nor by a tenant that is taken for one which was set up here before.
    for store in [store.clone(), store.taking_over()] {
        for error in [
            store.ensure_tenant(&intruder).await.map(drop).unwrap_err(),
            store.revoke(&intruder).await.unwrap_err(),
            store.erase(&intruder).await.unwrap_err(),
        ] {
            assert_eq!(error.category(), "conflict");
            assert!(error.to_string().contains("user-a") && error.to_string().contains("user-b"), "{error}");
        }
    }
    assert!(store.is_set_up(&owner).await.unwrap());
    assert_eq!(all_keys(&etcd).await, ["/a/x"]);
    assert_eq!(root.user_list().await.unwrap().users(), ["root", "user-a"]);
}

#[tokio::test]
async fn keys_that_are_there_already_are_a_tenants_only_if_it_was_set_up_before() {
    let etcd = secure().await;
    let (store, registry) = (store(&etcd), tenant("registry", "user-a"));
    let mut root = etcd.client().await.unwrap();
    // As an API server has them that shares this etcd with nobody.
    root.put("/registry/secrets/default/x", "theirs", None).await.unwrap();
    let error = store.ensure_tenant(&registry).await.unwrap_err();
    assert_eq!(error.category(), "conflict");
    assert!(error.to_string().contains("not made for this tenant"), "{error}");
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);
    assert_eq!(all_keys(&etcd).await, ["/registry/secrets/default/x"]);

    // Its role and user were lost, its keys were not.
    assert!(store.taking_over().ensure_tenant(&registry).await.unwrap().any());
    assert!(store.is_set_up(&registry).await.unwrap());
}

#[tokio::test]
async fn another_tenants_user_is_not_taken() {
    let etcd = secure().await;
    let store = store(&etcd);
    let owner = tenant("a", "shared");
    store.ensure_tenant(&owner).await.unwrap();
    let intruder = tenant("b", "shared");
    for store in [store.clone(), store.taking_over()] {
        assert_eq!(store.ensure_tenant(&intruder).await.unwrap_err().category(), "conflict");
    }
    store.revoke(&intruder).await.unwrap();
    store.erase(&intruder).await.unwrap();
    assert!(store.recount(&intruder).await.unwrap().is_empty());
    assert!(store.is_set_up(&owner).await.unwrap());
}

#[tokio::test]
async fn a_user_of_two_schemas_outlives_the_first_of_them() {
    let etcd = secure().await;
    let store = store(&etcd);
    let (first, second) = (tenant("a", "shared"), tenant("b", "shared"));
    store.ensure_tenant(&first).await.unwrap();
    // As the Go operator let it come about.
    let mut root = etcd.client().await.unwrap();
    root.role_add("b").await.unwrap();
    root.role_grant_permission("b", Permission::read_write("/b/").with_range_end("/b0")).await.unwrap();
    root.user_grant_role("shared", "b").await.unwrap();
    assert!(store.is_set_up(&first).await.unwrap() && store.is_set_up(&second).await.unwrap());

    store.revoke(&first).await.unwrap();
    assert!(store.recount(&first).await.unwrap().is_empty());
    assert!(store.is_set_up(&second).await.unwrap());
    store.revoke(&second).await.unwrap();
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);
}
