//! What a tenant's own credentials must not do to the others on the same etcd: the advisories of 2024 to 2026 live.

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, LeaseTimeToLiveOptions,
    Permission, PutOptions, Txn, TxnOp, WatchOptions,
};

use crate::{Etcd, log_in, secure, store, tenant};

/// A schema, and others that are near to it in the order of keys.
const OWN: &str = "a";
const OTHERS: [&str; 4] = ["aa", "a.b", "b", "A"];

/// An etcd with one key per tenant, and a client with the credentials of the tenant `a`.
async fn two_tenants() -> (Etcd, Client) {
    let etcd = secure().await;
    let store = store(&etcd);
    let mut root = etcd.client().await.unwrap();
    for schema in OTHERS.iter().chain([&OWN]) {
        let store = store.for_owner(&format!("uid-{schema}"));
        store.ensure_tenant(&tenant(schema, &format!("user-{schema}"))).await.unwrap();
        root.put(format!("/{schema}/secret"), "of the owner", None).await.unwrap();
    }
    for key in ["/", "/a", "/a0", "outside", "kamaji.clastix.io/owner/schema/new"] {
        root.put(key, "of nobody", None).await.unwrap();
    }
    let client = log_in(&etcd, "user-a").await;
    (etcd, client)
}

fn refused<T: std::fmt::Debug>(what: &str, outcome: Result<T, Error>) {
    let error = match outcome {
        Ok(answer) => panic!("{what} was not refused: {answer:?}"),
        Err(error) => error.to_string(),
    };
    let reason =
        ["permission denied", "user name is empty", "user name not found"].iter().any(|reason| error.contains(reason));
    assert!(reason, "{what} failed for another reason: {error}");
}

fn foreign_keys() -> Vec<String> {
    let near = ["/", "/a", "/a0", "outside"].map(str::to_owned);
    // Whose the names are: the tenant's own record is not the tenant's either.
    let records = ["schema/a", "user/user-a", "schema/b", "user/user-b", "schema/new"];
    let records = records.map(|name| format!("kamaji.clastix.io/owner/{name}"));
    OTHERS.iter().map(|schema| format!("/{schema}/secret")).chain(near).chain(records).collect()
}

/// Values of all foreign keys, as root: they must not change.
async fn foreign_values(etcd: &Etcd) -> Vec<(Vec<u8>, i64)> {
    let mut root = etcd.client().await.unwrap();
    let mut values = Vec::new();
    for key in foreign_keys() {
        let answer = root.get(key, None).await.unwrap();
        let value = answer.kvs().first().unwrap();
        values.push((value.value().to_vec(), value.lease()));
    }
    values
}

#[tokio::test]
async fn a_tenant_works_inside_its_prefix() {
    let (_etcd, mut client) = two_tenants().await;
    client.put("/a/x", "1", None).await.unwrap();
    let all = GetOptions::new().with_prefix();
    assert_eq!(client.get("/a/", Some(all)).await.unwrap().kvs().len(), 2);
    let lease = client.lease_grant(60, None).await.unwrap().id();
    client.put("/a/y", "1", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let mut watch = client.watch("/a/", Some(WatchOptions::new().with_prefix())).await.unwrap();
    assert!(watch.message().await.unwrap().unwrap().created());
    client.delete("/a/x", None).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().events().len(), 1);
    // As kube-apiserver writes: compare, then put, else get.
    let compare = Compare::mod_revision("/a/z", CompareOp::Equal, 0);
    let create =
        Txn::new().when([compare]).and_then([TxnOp::put("/a/z", "1", None)]).or_else([TxnOp::get("/a/z", None)]);
    assert!(client.txn(create).await.unwrap().succeeded());
}

#[tokio::test]
async fn reads_and_writes_outside_the_prefix_are_refused() {
    let (etcd, mut client) = two_tenants().await;
    let before = foreign_values(&etcd).await;
    for key in foreign_keys() {
        refused("get", client.get(key.as_str(), None).await);
        refused("count", client.get(key.as_str(), Some(GetOptions::new().with_count_only())).await);
        refused("serializable get", client.get(key.as_str(), Some(GetOptions::new().with_serializable())).await);
        refused("put", client.put(key.as_str(), "mine", None).await);
        refused("delete", client.delete(key.as_str(), None).await);
    }
    for (start, end) in [
        ("/", "0"),
        ("/a", "/a0"),
        ("/a/", "/a1"),
        ("/a/", "/b"),
        ("/a/x", "\0"),
        ("\0", "\0"),
        ("/A/", "/a0"),
        ("k", "l"),
    ] {
        refused("range", client.get(start, Some(GetOptions::new().with_range(end))).await);
        refused("delete range", client.delete(start, Some(DeleteOptions::new().with_range(end))).await);
    }
    refused("get from key", client.get("/a/", Some(GetOptions::new().with_from_key())).await);
    refused("get all", client.get("", Some(GetOptions::new().with_all_keys())).await);
    refused("delete all", client.delete("", Some(DeleteOptions::new().with_all_keys())).await);
    assert_eq!(foreign_values(&etcd).await, before);
}

#[tokio::test]
async fn transactions_reach_no_foreign_key_however_nested() {
    let (etcd, mut client) = two_tenants().await;
    let before = foreign_values(&etcd).await;
    for key in foreign_keys() {
        let operations = [
            ("get", TxnOp::get(key.as_str(), None)),
            ("put", TxnOp::put(key.as_str(), "mine", None)),
            ("put with previous value", TxnOp::put(key.as_str(), "mine", Some(PutOptions::new().with_prev_key()))),
            ("delete", TxnOp::delete(key.as_str(), None)),
            ("delete with previous value", TxnOp::delete(key.as_str(), Some(DeleteOptions::new().with_prev_key()))),
        ];
        for (what, operation) in operations {
            let inner = || Txn::new().and_then([operation.clone()]);
            let nested = |depth: usize| (0..depth).fold(inner(), |inner, _| Txn::new().and_then([TxnOp::txn(inner)]));
            for depth in 0..3 {
                refused(&format!("{what} of {key} in {depth} transactions"), client.txn(nested(depth)).await);
            }
            let impossible = Compare::version("/a/secret", CompareOp::Equal, 1_000_000);
            let otherwise = Txn::new().when([impossible]).or_else([TxnOp::txn(inner())]);
            refused(&format!("{what} of {key} otherwise"), client.txn(otherwise).await);
        }
        let own = TxnOp::put("/a/guess", "1", None);
        for compare in [
            Compare::value(key.as_str(), CompareOp::Equal, "of the owner"),
            Compare::version(key.as_str(), CompareOp::Greater, 0),
            Compare::version("/a/", CompareOp::Greater, 0).with_range("/b"),
        ] {
            let guess = || Txn::new().when([compare.clone()]).and_then([own.clone()]);
            refused(&format!("guess at {key}"), client.txn(guess()).await);
            refused(&format!("nested guess at {key}"), client.txn(Txn::new().and_then([TxnOp::txn(guess())])).await);
        }
    }
    assert_eq!(foreign_values(&etcd).await, before);
}

#[tokio::test]
async fn previous_values_need_the_right_to_read() {
    // The tenant's role reads and writes alike, so this is shown with a role that only writes.
    let (etcd, _) = two_tenants().await;
    let mut root = etcd.client().await.unwrap();
    root.user_add("writer", "", Some(etcd_client::UserAddOptions::new().with_no_pwd())).await.unwrap();
    root.role_add("writer").await.unwrap();
    root.role_grant_permission("writer", Permission::write("/b/").with_range_end("/b0")).await.unwrap();
    root.user_grant_role("writer", "writer").await.unwrap();
    let mut client = log_in(&etcd, "writer").await;
    let put = TxnOp::put("/b/secret", "x", Some(PutOptions::new().with_prev_key()));
    let delete = TxnOp::delete("/b/secret", Some(DeleteOptions::new().with_prev_key()));
    refused("put", client.put("/b/secret", "x", Some(PutOptions::new().with_prev_key())).await);
    for operation in [put, delete] {
        refused("transaction", client.txn(Txn::new().and_then([operation.clone()])).await);
        let nested = TxnOp::txn(Txn::new().and_then([operation]));
        refused("nested transaction", client.txn(Txn::new().and_then([nested])).await);
    }
}

#[tokio::test]
async fn watches_outside_the_prefix_are_refused() {
    let (etcd, mut client) = two_tenants().await;
    let mut watches: Vec<(String, WatchOptions)> =
        foreign_keys().into_iter().map(|key| (key, WatchOptions::new().with_start_revision(1))).collect();
    for (start, end) in
        [("/a/", "/a1"), ("/a/", "/b"), ("/a/", "\0"), ("/a/secret", "\0"), ("/a/zzz", "\0"), ("\0", "\0")]
    {
        watches.push((start.to_owned(), WatchOptions::new().with_range(end).with_start_revision(1)));
    }
    watches.push(("/a/".to_owned(), WatchOptions::new().with_from_key().with_start_revision(1)));
    watches.push((String::new(), WatchOptions::new().with_all_keys().with_start_revision(1)));
    for (start, options) in watches {
        let case = format!("watch from {start:?} with {options:?}");
        let mut stream = client.watch(start, Some(options)).await.unwrap();
        let first = tokio::time::timeout(Duration::from_secs(5), stream.message()).await;
        let first = first.unwrap_or_else(|_| panic!("{case}: no answer"));
        match first {
            Err(error) => refused(&case, Err::<(), _>(error)),
            Ok(answer) => {
                let answer = answer.unwrap();
                assert!(answer.canceled() && answer.events().is_empty(), "{case}: {answer:?}");
            }
        }
    }
    drop(etcd);
}

#[tokio::test]
async fn leases_give_no_hold_on_foreign_keys() {
    let (etcd, mut client) = two_tenants().await;
    let mut root = etcd.client().await.unwrap();
    let theirs = root.lease_grant(600, None).await.unwrap().id();
    root.put("/b/leased", "1", Some(PutOptions::new().with_lease(theirs))).await.unwrap();
    let before = foreign_values(&etcd).await;

    let own = client.lease_grant(600, None).await.unwrap().id();
    let attach = |key: &str, lease| TxnOp::put(key, "mine", Some(PutOptions::new().with_lease(lease)));
    for key in foreign_keys() {
        refused("attach", client.put(key.as_str(), "mine", Some(PutOptions::new().with_lease(own))).await);
        refused("attach in a transaction", client.txn(Txn::new().and_then([attach(&key, own)])).await);
        let nested = TxnOp::txn(Txn::new().and_then([attach(&key, own)]));
        refused("attach in a nested transaction", client.txn(Txn::new().and_then([nested])).await);
    }
    // A lease that holds a foreign key is not the tenant's either.
    refused("borrow", client.put("/a/x", "1", Some(PutOptions::new().with_lease(theirs))).await);
    refused("borrow in a transaction", client.txn(Txn::new().and_then([attach("/a/x", theirs)])).await);
    refused("revoke", client.lease_revoke(theirs).await);
    let with_keys = LeaseTimeToLiveOptions::new().with_keys();
    refused("keys of a lease", client.lease_time_to_live(theirs, Some(with_keys)).await);
    refused("renewal", client.lease_keep_alive(theirs).await.map(drop));
    refused("list of leases", client.leases().await);
    assert_eq!(foreign_values(&etcd).await, before);
    assert_eq!(root.get("/b/leased", None).await.unwrap().kvs().len(), 1);
}

#[tokio::test]
async fn the_cluster_and_its_history_are_out_of_reach() {
    let (etcd, mut client) = two_tenants().await;
    let mut root = etcd.client().await.unwrap();
    let revision = root.get("outside", None).await.unwrap().header().unwrap().revision();
    let members = root.member_list().await.unwrap().members().to_vec();

    refused("compact", client.compact(revision, None).await);
    refused("member add", client.member_add(["https://127.0.0.1:1"], None).await);
    refused("member remove", client.member_remove(members[0].id()).await);
    refused("member update", client.member_update(members[0].id(), ["https://127.0.0.1:1".to_owned()]).await);
    refused("member promote", client.member_promote(members[0].id()).await);
    refused("alarm", client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await);
    refused("disarm", client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await);
    refused("defragment", client.defragment().await);
    refused("hash", client.hash().await);
    refused("hash of history", client.hash_kv(0).await);
    refused("move leader", client.move_leader(members[0].id()).await);
    let snapshot = match client.snapshot().await {
        Ok(mut stream) => stream.message().await.map(drop),
        Err(error) => Err(error),
    };
    refused("snapshot", snapshot);
    root.get("outside", Some(GetOptions::new().with_revision(revision))).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_names_no_user_reaches_no_key() {
    let (etcd, _) = two_tenants().await;
    for name in ["", "stranger", "user-a\0", "USER-A"] {
        let mut client = log_in(&etcd, name).await;
        for key in foreign_keys().into_iter().chain(["/a/secret".to_owned()]) {
            refused("get", client.get(key.as_str(), None).await);
            refused("put", client.put(key.as_str(), "mine", None).await);
            refused("delete", client.delete(key.as_str(), None).await);
        }
        refused("transaction", client.txn(Txn::new().and_then([TxnOp::get("/a/secret", None)])).await);
        refused("compact", client.compact(1, None).await);
    }
    assert!(etcd.connect(None).await.unwrap().get("/a/secret", None).await.is_err(), "no certificate, no session");
}

#[tokio::test]
async fn users_and_roles_are_out_of_reach() {
    let (etcd, mut client) = two_tenants().await;
    refused("disable authentication", client.auth_disable().await);
    refused("list users", client.user_list().await);
    refused("list roles", client.role_list().await);
    refused("read a user", client.user_get("user-b").await);
    refused("read a role", client.role_get("b").await);
    refused("add a user", client.user_add("mallory", "password", None).await);
    refused("delete a user", client.user_delete("user-b").await);
    refused("password of root", client.user_change_password("root", "password").await);
    refused("own password", client.user_change_password("user-a", "password").await);
    refused("take a role", client.user_grant_role("user-a", "b").await);
    refused("take the role root", client.user_grant_role("user-a", "root").await);
    refused("widen the own role", client.role_grant_permission("a", Permission::read_write("").with_all_keys()).await);
    refused("delete a role", client.role_delete("b").await);
    assert!(store(&etcd).is_set_up(&tenant("b", "user-b")).await.unwrap());
}
