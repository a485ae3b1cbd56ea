//! An EtcdCluster's objects in a real API server. No controller and no kubelet runs beside the operator.
#![allow(clippy::disallowed_methods, reason = "tests write as people do; no operator writes here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may end")]

mod etcd_cluster;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::{DataStore, conditions};
use kamaji_testkit::{api_server::ApiServer, wait::wait_for};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use etcd_cluster::{Controller, SOON, clusters, condition, create};

async fn server() -> (ApiServer, Client, String) {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    (server, client, namespace)
}

/// Waits for another object of the same name.
async fn comes_back<K>(api: &Api<K>, name: &str) -> (K, K)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + serde::de::DeserializeOwned
        + serde::Serialize
        + 'static,
{
    let before = api.get(name).await.unwrap();
    api.delete(name, &DeleteParams::default()).await.unwrap();
    let after = wait_for(api, name, SOON, |object: &K| object.uid() != before.uid()).await.unwrap();
    (before, after)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_once_and_come_back() {
    let (_server, client, namespace) = server().await;
    let controller = Controller::start(&client, &namespace, None);
    let storage = json!({"persistent": {"size": "8Gi", "storageClassName": "fast"}});
    create(&client, "main", &json!({"replicas": 3, "storage": storage})).await;
    let forming = condition(&client, "main", conditions::PROGRESSING, "True", "Forming").await;
    assert_eq!(forming.finalizers(), ["kamaji.clastix.io/EtcdCluster"]);

    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let set = sets.get("etcd-main").await.unwrap();
    assert_eq!(set.spec.as_ref().unwrap().replicas, Some(3));
    // Tenants must not find a store that lets everybody in.
    let data_stores: Api<DataStore> = Api::all(client.clone());
    assert!(data_stores.get_opt("main").await.unwrap().is_none());

    let at_rest = controller.rest().await;
    clusters(&client)
        .patch("main", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}})))
        .await
        .unwrap();
    assert_eq!(controller.rest().await, at_rest, "a pass over an unchanged specification writes nothing");
    let restarted = Controller::start(&client, &namespace, None);
    assert_eq!(restarted.rest().await, 0, "a new process writes nothing either");
    restarted.stop().await;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for authority in ["etcd-main-ca", "etcd-main-peer-ca"] {
        let (before, after) = comes_back(&secrets, authority).await;
        assert_eq!(before.data, after.data, "{authority} comes back with the same bytes");
    }
    comes_back(&secrets, "etcd-main-member").await;
    comes_back(&Api::<Service>::namespaced(client.clone(), &namespace), "etcd-main").await;
    comes_back(&Api::<PodDisruptionBudget>::namespaced(client.clone(), &namespace), "etcd-main").await;
    comes_back(&Api::<ConfigMap>::namespaced(client.clone(), &namespace), "etcd-main").await;
    comes_back(&sets, "etcd-main").await;
    let nobody = json!({"spec": {"replicas": 0}});
    sets.patch("etcd-main", &PatchParams::default(), &Patch::Merge(nobody)).await.unwrap();
    wait_for(&sets, "etcd-main", SOON, |set: &StatefulSet| set.spec.as_ref().unwrap().replicas == Some(3))
        .await
        .unwrap();
    let ca = secrets.get("etcd-main-ca").await.unwrap();
    let edited = json!({"stringData": {"ca.crt": "broken"}});
    secrets.patch("etcd-main-ca", &PatchParams::default(), &Patch::Merge(edited)).await.unwrap();
    wait_for(&secrets, "etcd-main-ca", SOON, |secret: &Secret| {
        secret.data == ca.data && secret.resource_version() != ca.resource_version()
    })
    .await
    .unwrap();

    clusters(&client).delete("main", &DeleteParams::default()).await.unwrap();
    kamaji_testkit::wait::wait_for_deletion(&clusters(&client), "main", None, SOON).await.unwrap();
    assert!(sets.get_opt("etcd-main").await.unwrap().is_none_or(|set| set.metadata.deletion_timestamp.is_some()));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said_and_heals_when_the_cause_goes() {
    let (_server, client, namespace) = server().await;
    let controller = Controller::start(&client, &namespace, None);
    let data_stores: Api<DataStore> = Api::all(client.clone());
    let reference = |key: &str| json!({"secretReference": {"name": "s", "namespace": "n", "keyPath": key}});
    let foreign = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "taken"},
        "spec": {"driver": "etcd", "endpoints": ["elsewhere:2379"], "tlsConfig": {
            "certificateAuthority": {"certificate": reference("c"), "privateKey": reference("k")},
            "clientCertificate": {"certificate": reference("c"), "privateKey": reference("k")},
        }},
    });
    let foreign: DataStore = serde_json::from_value(foreign).unwrap();
    data_stores.create(&PostParams::default(), &foreign).await.unwrap();
    create(&client, "taken", &json!({})).await;
    condition(&client, "taken", conditions::STALLED, "True", "DataStoreTaken").await;
    assert_eq!(data_stores.get("taken").await.unwrap().spec.endpoints, ["elsewhere:2379"]);
    data_stores.delete("taken", &DeleteParams::default()).await.unwrap();
    condition(&client, "taken", conditions::STALLED, "False", "AsExpected").await;

    create(&client, "dotted.name", &json!({})).await;
    condition(&client, "dotted.name", conditions::STALLED, "True", "InvalidName").await;
    create(&client, "full", &json!({"quota": "8Gi", "storage": {"persistent": {"size": "8Gi"}}})).await;
    condition(&client, "full", conditions::STALLED, "True", "InvalidQuota").await;
    let smaller = json!({"spec": {"quota": "4Gi"}});
    clusters(&client).patch("full", &PatchParams::default(), &Patch::Merge(smaller)).await.unwrap();
    condition(&client, "full", conditions::STALLED, "False", "AsExpected").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_a_cluster_that_was_served_is_never_made_anew() {
    let (_server, client, namespace) = server().await;
    let served = create(&client, "served", &json!({})).await;
    let mut status = served.clone();
    status.status = Some(serde_json::from_value(json!({"members": [{"name": "etcd-served-0", "id": "1"}]})).unwrap());
    let status = serde_json::to_vec(&status).unwrap();
    clusters(&client)
        .replace_status("served", &PostParams::default(), &serde_json::from_slice(&status).unwrap())
        .await
        .unwrap();
    let controller = Controller::start(&client, &namespace, None);
    condition(&client, "served", conditions::DEGRADED, "True", "AuthorityLost").await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    assert!(secrets.get_opt("etcd-served-ca").await.unwrap().is_none());
    controller.stop().await;
}
