//! An etcd that the operator runs itself: authentication, membership, space.

use std::time::Duration;

use kamaji_datastore::Change;
use kamaji_datastore::etcd::Admin;
use kamaji_datastore::etcd::admin::{Alarm, AlarmKind, Member, Status};
use kamaji_testkit::process::{Launch, Process};
use kamaji_testkit::{parts, ports};

use crate::{Etcd, Options, connection, secure, store, tenant};

fn admin(etcd: &Etcd) -> Admin {
    Admin::open(&connection(etcd)).unwrap()
}

/// Asks until `condition` holds of what a member says of itself.
async fn status_until(admin: &Admin, endpoint: &str, condition: impl Fn(&Status) -> bool) -> Status {
    let wait = async {
        loop {
            if let Ok(status) = admin.status(endpoint).await
                && condition(&status)
            {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the member's status is not as awaited")
}

#[tokio::test]
async fn authentication_is_enabled_once_and_then_strangers_are_out() {
    let etcd = secure().await;
    let mut root = etcd.client().await.unwrap();
    root.auth_disable().await.unwrap();
    root.user_delete("root").await.unwrap();
    let admin = admin(&etcd);

    assert!(!admin.auth_enabled().await.unwrap());
    let changed = admin.enable_auth().await.unwrap();
    assert!(changed.0.contains(&Change::UserAdded) && changed.0.contains(&Change::AuthenticationEnabled), "{changed}");
    assert!(admin.auth_enabled().await.unwrap());
    assert!(!admin.enable_auth().await.unwrap().any());

    store(&etcd).ensure_tenant(&tenant("a", "user-a")).await.unwrap();
    assert!(crate::log_in(&etcd, "stranger").await.get("/a/x", None).await.is_err());
    assert!(crate::log_in(&etcd, "user-a").await.get("/a/x", None).await.is_ok());
}

#[tokio::test]
async fn a_lost_member_is_replaced_by_a_learner_that_is_promoted() {
    let mut etcd = Etcd::start(Options { members: 3, ..Options::secure() }).await.unwrap();
    let admin = admin(&etcd);
    store(&etcd).ensure_tenant(&tenant("a", "user-a")).await.unwrap();
    etcd.stop_member(2).await.unwrap();
    let lost = admin.member_list().await.unwrap().into_iter().find(|member| member.name == "member-2").unwrap();
    admin.member_remove(lost.id).await.unwrap();
    admin.member_remove(lost.id).await.unwrap();
    assert_eq!(admin.member_list().await.unwrap().len(), 2);

    let (client_port, peer_port) = (ports::free().unwrap(), ports::free().unwrap());
    let peer_url = format!("https://127.0.0.1:{peer_port}");
    let learner = add_learner(&admin, &peer_url).await;
    assert!(learner.is_learner && learner.name.is_empty() && learner.peer_urls == [peer_url.clone()], "{learner:?}");
    let twice = admin.member_add_learner(std::slice::from_ref(&peer_url)).await.unwrap_err();
    assert_eq!(twice.category(), "conflict", "{twice}");
    assert!(!admin.promote(learner.id).await.unwrap(), "a learner that does not run is not promoted");

    let endpoint = format!("127.0.0.1:{client_port}");
    let _process = start_learner(&etcd, &admin, &endpoint, &peer_url).await;
    status_until(&admin, &endpoint, |status| status.is_learner && status.raft_applied_index > 0).await;
    let promote = async {
        while !admin.promote(learner.id).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), promote).await.expect("the learner is never promoted");
    assert!(admin.promote(learner.id).await.unwrap(), "promoting twice is fine");

    let members = admin.member_list().await.unwrap();
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| !member.is_learner), "{members:?}");
    let status = status_until(&admin, &endpoint, |status| !status.is_learner).await;
    assert_eq!((status.member, status.version.as_str()), (learner.id, parts::ETCD_VERSION));
    // It serves tenants: it has the users and roles too.
    let mut connection = connection(&etcd);
    connection.endpoints = vec![endpoint];
    assert!(kamaji_datastore::open(&connection).unwrap().is_set_up(&tenant("a", "user-a")).await.unwrap());
}

/// etcd insists that its members have been connected for five seconds first.
async fn add_learner(admin: &Admin, peer_url: &str) -> Member {
    let peer_urls = [peer_url.to_owned()];
    let add = async {
        loop {
            match admin.member_add_learner(&peer_urls).await {
                Ok(learner) => return learner,
                Err(error) => assert_eq!(error.category(), "unavailable", "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), add).await.expect("the learner is never added")
}

async fn start_learner(etcd: &Etcd, admin: &Admin, endpoint: &str, peer_url: &str) -> Process {
    let members = admin.member_list().await.unwrap();
    let name = |name: &str| if name.is_empty() { "member-3".to_owned() } else { name.to_owned() };
    let cluster: Vec<String> =
        members.iter().map(|member| format!("{}={}", name(&member.name), member.peer_urls[0])).collect();
    let file = |name: &str| etcd.folder().join(name).display().to_string();
    let args = [
        "--name=member-3".to_owned(),
        format!("--data-dir={}", file("member-3")),
        format!("--listen-client-urls=https://{endpoint}"),
        format!("--advertise-client-urls=https://{endpoint}"),
        format!("--listen-peer-urls={peer_url}"),
        format!("--initial-advertise-peer-urls={peer_url}"),
        format!("--initial-cluster={}", cluster.join(",")),
        "--initial-cluster-state=existing".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", file("ca.crt")),
        format!("--cert-file={}", file("server.crt")),
        format!("--key-file={}", file("server.key")),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={}", file("ca.crt")),
        format!("--peer-cert-file={}", file("server.crt")),
        format!("--peer-key-file={}", file("server.key")),
    ];
    let log = etcd.folder().join("member-3.log");
    Process::start(&Launch {
        name: "etcd member-3".to_owned(),
        program: parts::etcd(),
        args: args.to_vec(),
        env: Vec::new(),
        log,
    })
    .unwrap()
}

#[tokio::test]
async fn leadership_moves_where_it_is_sent() {
    let etcd = Etcd::start(Options { members: 3, ..Options::secure() }).await.unwrap();
    let admin = admin(&etcd);
    let mut leader = None;
    let mut follower = None;
    for endpoint in etcd.endpoints() {
        let status = admin.status(&endpoint).await.unwrap();
        if status.is_leader() {
            leader = Some(endpoint);
        } else {
            follower = Some((endpoint, status.member));
        }
    }
    let (leader, (follower, member)) = (leader.unwrap(), follower.unwrap());
    admin.move_leader(&leader, member).await.unwrap();
    status_until(&admin, &follower, Status::is_leader).await;
    let error = admin.move_leader(&leader, member).await.unwrap_err();
    assert_eq!(error.category(), "refused", "only the leader hands over: {error}");
    assert!(error.to_string().contains(&leader), "{error}");
}

#[tokio::test]
async fn a_full_store_takes_writes_again_after_compaction_defragmentation_and_disarming() {
    let quota = 4 * 1024 * 1024;
    let options = Options { extra_args: vec![format!("--quota-backend-bytes={quota}")], ..Options::secure() };
    let etcd = Etcd::start(options).await.unwrap();
    let (admin, store, tenant) = (admin(&etcd), store(&etcd), tenant("a", "user-a"));
    store.ensure_tenant(&tenant).await.unwrap();
    let mut client = crate::log_in(&etcd, "user-a").await;
    let value = vec![b'x'; 256 * 1024];
    let full = loop {
        if let Err(error) = client.put("/a/x", value.clone(), None).await {
            break error.to_string();
        }
    };
    assert!(full.contains("database space exceeded"), "{full}");

    let endpoint = &etcd.endpoints()[0];
    let before = admin.status(endpoint).await.unwrap();
    assert!(before.errors.iter().any(|error| error.contains("NOSPACE")), "{before:?}");
    assert_eq!(admin.alarm_list().await.unwrap(), [Alarm { member: before.member, kind: AlarmKind::NoSpace }]);
    let health = store.probe().await.unwrap();
    assert!(health.warnings.iter().any(|warning| warning.contains("NOSPACE")), "{health:?}");
    assert!(health.warnings.iter().any(|warning| warning.contains("quota")), "{health:?}");
    // Tenants can still be taken away while the store is full.
    let leaving = crate::tenant("b", "user-b");
    store.ensure_tenant(&leaving).await.unwrap();
    store.revoke(&leaving).await.unwrap();
    store.erase(&leaving).await.unwrap();
    assert!(store.recount(&leaving).await.unwrap().is_empty());

    store.erase(&tenant).await.unwrap();
    let revision = admin.compact().await.unwrap();
    assert_eq!(admin.compact().await.unwrap(), revision, "compacting twice is fine");
    admin.defragment(endpoint).await.unwrap();
    for alarm in admin.alarm_list().await.unwrap() {
        admin.alarm_disarm(alarm).await.unwrap();
    }
    assert_eq!(admin.alarm_list().await.unwrap(), []);
    let after = admin.status(endpoint).await.unwrap();
    assert!(after.db_size < before.db_size / 2, "{before:?} {after:?}");
    client.put("/a/x", value, None).await.unwrap();
    assert_eq!(store.probe().await.unwrap().warnings, Vec::<String>::new());
}

#[tokio::test]
async fn a_member_that_is_away_is_named_and_leaves_the_cluster_calls_alone() {
    let mut etcd = Etcd::start(Options { members: 3, ..Options::secure() }).await.unwrap();
    let admin = admin(&etcd);
    etcd.stop_member(1).await.unwrap();
    let endpoint = etcd.endpoints()[1].clone();
    let error = admin.status(&endpoint).await.unwrap_err();
    assert_eq!(error.category(), "unreachable");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert_eq!(admin.member_list().await.unwrap().len(), 3);
}

#[tokio::test]
async fn administration_needs_the_user_root() {
    let etcd = secure().await;
    store(&etcd).ensure_tenant(&tenant("a", "user-a")).await.unwrap();
    let identity = etcd.tls().unwrap().client("user-a").unwrap();
    let admin = Admin::open(&crate::connection_as(&etcd, &identity)).unwrap();
    for error in [
        admin.compact().await.map(drop).unwrap_err(),
        admin.defragment(&etcd.endpoints()[0]).await.unwrap_err(),
        admin.member_add_learner(&["https://127.0.0.1:1".to_owned()]).await.map(drop).unwrap_err(),
        admin.alarm_disarm(Alarm { member: 0, kind: AlarmKind::NoSpace }).await.unwrap_err(),
    ] {
        assert_eq!(error.category(), "permission_denied", "{error}");
    }
}
