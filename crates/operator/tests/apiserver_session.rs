//! The operator's session with a tenant's own API server, a real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod session;

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Pod, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kamaji_plan::{status::tenant::TenantState, tenant_cluster::TenantCluster};
use kamaji_testkit::{
    api_server::ApiServer,
    certificate::Authority,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use session::{Counter, SOON, Side, address, credentials, object, one_of_each, versions, wish};

/// What the operator promises (issue: a deleted or edited object is back within five seconds).
const BACK: Duration = Duration::from_secs(5);

trait Object: Resource<DynamicType = ()> + Clone + Debug + Send + Serialize + DeserializeOwned + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Send + Serialize + DeserializeOwned + 'static> Object for K {}

fn within<K: Object + Resource<Scope = NamespaceResourceScope>>(client: &Client) -> Api<K> {
    Api::namespaced(client.clone(), "kube-system")
}

fn everywhere<K: Object + Resource<Scope = ClusterResourceScope>>(client: &Client) -> Api<K> {
    Api::all(client.clone())
}

async fn merge<K: Object>(api: &Api<K>, name: &str, patch: Value) {
    let by = PatchParams { field_manager: Some("by-hand".to_owned()), ..PatchParams::default() };
    api.patch(name, &by, &Patch::Merge(&patch)).await.unwrap();
}

/// Deletes an object, edits it, and takes its label off: each time it is back in time.
async fn heals<K: Object>(api: &Api<K>, name: &str, edit: Value, is_right: impl Fn(&K) -> bool) {
    let kind = K::kind(&()).into_owned();
    let before = api.get(name).await.unwrap();
    assert!(is_right(&before), "{kind} is not as it should be from the start: {before:?}");
    let in_time = |began: Instant, what: &str| {
        assert!(began.elapsed() < BACK, "{kind} was back {:?} after it was {what}", began.elapsed());
    };

    let began = Instant::now();
    api.delete(name, &DeleteParams::default()).await.unwrap();
    wait_for(api, name, SOON, |found: &K| found.meta().uid != before.meta().uid && is_right(found)).await.unwrap();
    in_time(began, "deleted");

    let began = Instant::now();
    merge(api, name, edit).await;
    wait_for(api, name, SOON, &is_right).await.unwrap();
    in_time(began, "edited");

    let began = Instant::now();
    merge(api, name, json!({"metadata": {"labels": {"kamaji.clastix.io/project": null}}})).await;
    wait_for(api, name, SOON, |found: &K| found.labels().contains_key("kamaji.clastix.io/project")).await.unwrap();
    in_time(began, "stripped of its label");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_put_in_place_over_one_connection_and_comes_back_in_time() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let counter = Counter::start(address(&server)).await;
    let wish = wish(&server, counter.address, one_of_each);
    let mut side = Side::keeping(&wish);
    let report = side.settled(&wish).await;
    let in_place = report.in_place.unwrap();
    assert!(in_place.addons.core_dns && in_place.addons.kube_proxy && in_place.addons.konnectivity.is_none());
    assert_eq!(in_place.cluster_info_checksum.as_deref(), Some("1cb251ec0d568de6a929b520c4aed8d1"));
    assert_eq!(versions(&client).await.len(), 11);
    assert_eq!(side.writes(), 11);

    let rules = json!({"rules": []});
    heals(&within::<ConfigMap>(&client), "addon", json!({"data": {"key": "other"}}), |found| {
        found.data.as_ref().unwrap()["key"] == "value"
    })
    .await;
    heals(&within::<ServiceAccount>(&client), "addon", json!({"metadata": {"labels": {"more": "x"}}}), |_| true).await;
    heals(&within::<Role>(&client), "addon", rules.clone(), |found| found.rules.is_some()).await;
    heals(&within::<RoleBinding>(&client), "addon", json!({"subjects": []}), |found| found.subjects.is_some()).await;
    heals(&everywhere::<ClusterRole>(&client), "addon", rules, |found| found.rules.is_some()).await;
    heals(&everywhere::<ClusterRoleBinding>(&client), "addon", json!({"subjects": []}), |found| {
        found.subjects.is_some()
    })
    .await;
    heals(&within::<Service>(&client), "addon", json!({"spec": {"selector": {"k8s-app": "other"}}}), |found| {
        found.spec.as_ref().unwrap().selector.as_ref().unwrap()["k8s-app"] == "addon"
    })
    .await;
    heals(&within::<Deployment>(&client), "coredns", json!({"spec": {"replicas": 0}}), |found| {
        found.spec.as_ref().unwrap().replicas == Some(2)
    })
    .await;
    let scheduled = json!({"spec": {"template": {"spec": {"containers": [{"name": "addon", "image": "other"}]}}}});
    heals(&within::<DaemonSet>(&client), "kube-proxy", scheduled, |found| {
        let pod = found.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].image.as_deref() == Some("registry.example/addon:v1")
    })
    .await;
    assert_eq!(counter.connections(), 1);

    // Whoever changes an object again and again keeps the operator no busier than once a second.
    let (before, began) = (side.writes(), Instant::now());
    while began.elapsed() < Duration::from_secs(3) {
        merge(&within::<ConfigMap>(&client), "addon", json!({"data": {"key": format!("{:?}", began.elapsed())}})).await;
    }
    let writes = side.writes() - before;
    assert!((1..=4).contains(&writes), "{writes} writes in three seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_and_a_dropped_addon_takes_only_what_is_ours() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let mut all = wish(&server, address(&server), one_of_each);
    let mut side = Side::keeping(&all);
    side.settled(&all).await;
    drop(side);
    let before = versions(&client).await;

    let mut side = Side::keeping(&all);
    side.settled(&all).await;
    assert_eq!(side.writes(), 0);
    assert_eq!(versions(&client).await, before);
    all.generation = Some(2);
    side.keep(&all);
    side.settled(&all).await;
    assert_eq!(side.writes(), 0);

    // The label is all that it has of ours.
    let foreign: ConfigMap = object("default", "copied", json!({"data": {"a": "b"}}));
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    config_maps.create(&PostParams::default(), &foreign).await.unwrap();
    let mut fewer = wish(&server, address(&server), || TenantCluster {
        kept_config_maps: vec![("kube-public".to_owned(), "cluster-info".to_owned())],
        roles: one_of_each().roles,
        created_once: one_of_each().created_once,
        ..TenantCluster::default()
    });
    fewer.generation = Some(3);
    side.keep(&fewer);
    let report = side.settled(&fewer).await;
    assert!(!report.in_place.unwrap().addons.core_dns);
    let names: Vec<String> = versions(&client).await.into_keys().collect();
    let left = [
        "ClusterRoleBinding//admins",
        "ConfigMap/default/copied",
        "ConfigMap/kube-public/cluster-info",
        "Role/kube-system/addon",
    ];
    assert_eq!(names, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_go_operator_wrote_is_taken_over_or_removed() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let config_maps = within::<ConfigMap>(&client);
    let go = PostParams { field_manager: Some("kamaji".to_owned()), ..PostParams::default() };
    let old: ConfigMap = object("kube-system", "addon", json!({"data": {"key": "old", "dropped": "x"}}));
    config_maps.create(&go, &old).await.unwrap();
    let unwanted: ConfigMap = object("kube-system", "konnectivity", json!({"data": {"key": "old"}}));
    config_maps.create(&go, &unwanted).await.unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "admins"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }))
    .unwrap();
    let admins = everywhere::<ClusterRoleBinding>(&client).create(&go, &binding).await.unwrap();

    let all = wish(&server, address(&server), one_of_each);
    let mut side = Side::keeping(&all);
    side.settled(&all).await;
    let data = config_maps.get("addon").await.unwrap().data.unwrap();
    assert_eq!(data.into_iter().collect::<Vec<_>>(), [("key".to_owned(), "value".to_owned())]);
    assert!(config_maps.get_opt("konnectivity").await.unwrap().is_none());
    let after = everywhere::<ClusterRoleBinding>(&client).get("admins").await.unwrap();
    assert_eq!(after.resource_version(), admins.resource_version(), "created once, by whomever");

    let mut again = Side::keeping(&all);
    again.settled(&all).await;
    assert_eq!(again.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_administrators_is_created_once_and_what_cannot_be_changed_is_made_anew() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let all = wish(&server, address(&server), one_of_each);
    let mut side = Side::keeping(&all);
    side.settled(&all).await;

    let bindings = everywhere::<ClusterRoleBinding>(&client);
    merge(&bindings, "admins", json!({"subjects": []})).await;
    let binding: ClusterRoleBinding = object(
        "",
        "addon",
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}),
    );
    let before = bindings.get("addon").await.unwrap();
    bindings.delete("addon", &DeleteParams::default()).await.unwrap();
    wait_for(&bindings, "addon", SOON, |found| found.uid() != before.uid()).await.unwrap();
    // By hand, with the session asleep: an object of that name that cannot become what is wanted.
    drop(side);
    bindings.delete("addon", &DeleteParams::default()).await.unwrap();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    let mut side = Side::keeping(&all);
    side.settled(&all).await;
    assert_eq!(bindings.get("addon").await.unwrap().role_ref.name, "addon");
    assert_eq!(bindings.get("admins").await.unwrap().subjects, None, "it is the administrators' since it exists");

    bindings.delete("admins", &DeleteParams::default()).await.unwrap();
    wait_for(&bindings, "admins", BACK, |found| found.subjects.is_some()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_object_and_an_image_that_cannot_be_pulled_are_named_and_the_rest_is_in_place() {
    let server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let bad = wish(&server, address(&server), || {
        let mut cluster = one_of_each();
        cluster.services[0].spec.as_mut().unwrap().cluster_ip = Some("192.0.2.1".to_owned());
        cluster
    });
    let mut side = Side::keeping(&bad);
    let report = side.reports(|report| matches!(report.state, TenantState::Troubled(_))).await;
    let TenantState::Troubled(troubles) = report.state else { unreachable!() };
    assert_eq!(troubles.len(), 1);
    assert_eq!(troubles[0].reason, "TenantObjectFailed");
    assert!(troubles[0].message.contains("Service kube-system/addon"), "{}", troubles[0].message);
    assert!(troubles[0].message.contains("192.0.2.1"), "{}", troubles[0].message);
    assert_eq!(versions(&client).await.len(), 10, "all others");

    let mut good = wish(&server, address(&server), one_of_each);
    good.generation = Some(2);
    side.keep(&good);
    side.settled(&good).await;

    let pods = within::<Pod>(&client);
    let pod = json!({
        "metadata": {"name": "kube-proxy-x", "labels": {"k8s-app": "addon"}},
        "spec": {"containers": [{"name": "addon", "image": "registry.example/addon:v1"}], "serviceAccountName": "addon",
            "automountServiceAccountToken": false},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({"status": {"containerStatuses": [{
        "name": "addon", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff"}},
    }]}});
    pods.patch_status("kube-proxy-x", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let status = |available: i32| {
        json!({"status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0,
            "numberReady": available, "numberAvailable": available}})
    };
    let daemon_sets = within::<DaemonSet>(&client);
    let writes = side.writes();
    daemon_sets.patch_status("kube-proxy", &PatchParams::default(), &Patch::Merge(&status(0))).await.unwrap();
    let report = side
        .reports(|report| match &report.state {
            TenantState::Troubled(troubles) => troubles.iter().any(|trouble| trouble.message.contains("DaemonSet")),
            _ => false,
        })
        .await;
    let TenantState::Troubled(troubles) = report.state else { unreachable!() };
    assert!(troubles.iter().all(|trouble| trouble.reason == "ImageNotPulled"), "{troubles:?}");
    assert!(
        troubles.iter().any(|trouble| trouble.message.starts_with(
            "The DaemonSet kube-system/kube-proxy of the tenant's cluster has 0 of 1 pods available: the image \
             registry.example/addon:v1"
        )),
        "{troubles:?}"
    );
    daemon_sets.patch_status("kube-proxy", &PatchParams::default(), &Patch::Merge(&status(1))).await.unwrap();
    let status = json!({"status": {"replicas": 2, "availableReplicas": 2, "readyReplicas": 2}});
    within::<Deployment>(&client)
        .patch_status("coredns", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    side.settled(&good).await;
    assert_eq!(side.writes(), writes, "a status costs no write");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_is_told_and_the_session_heals_and_follows_its_credentials() {
    let mut server = ApiServer::start().await.unwrap();
    let client = server.client().unwrap();
    let counter = Counter::start(address(&server)).await;
    let mut all = wish(&server, counter.address, one_of_each);

    // A server that does not prove to be the tenant's.
    let stranger = Authority::new("kubernetes").unwrap();
    let right = all.credentials.clone();
    all.credentials = credentials(&server, &stranger.certificate(), "kubernetes-super-admin");
    let mut side = Side::keeping(&all);
    let report = side.reports(|report| matches!(report.state, TenantState::Unreachable(_))).await;
    let TenantState::Unreachable(trouble) = report.state else { unreachable!() };
    assert_eq!(trouble.reason, "TenantNotTrusted");
    assert!(trouble.message.contains("does not prove to be localhost"), "{}", trouble.message);
    assert!(versions(&client).await.is_empty());

    all.credentials = right;
    side.keep(&all);
    side.settled(&all).await;

    let before = counter.connections();
    side.keep(&all);
    all.credentials = credentials(&server, &server.authority().certificate(), "another-admin");
    all.generation = Some(2);
    side.keep(&all);
    side.settled(&all).await;
    assert_eq!(counter.connections(), before + 1, "the same credentials again are no reason to dial");

    server.kill();
    let report = side.reports(|report| matches!(report.state, TenantState::Unreachable(_))).await;
    let TenantState::Unreachable(trouble) = report.state else { unreachable!() };
    assert_eq!(trouble.reason, "TenantUnreachable");
    server.restart().await.unwrap();
    all.rollout.updated = 2;
    side.keep(&all);
    side.settled(&all).await;
    let api = within::<ConfigMap>(&client);
    let uid = api.get("addon").await.unwrap().uid();
    api.delete("addon", &DeleteParams::default()).await.unwrap();
    wait_for(&api, "addon", BACK, |found| found.uid() != uid).await.unwrap();

    side.sessions.stop(session::UID);
    assert!(side.sessions.report(session::UID).is_none());
    api.delete("addon", &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&api, "addon", None, BACK).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(api.get_opt("addon").await.unwrap().is_none(), "nobody keeps it any more");
}
