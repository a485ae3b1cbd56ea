//! Controllers, scheduler and the simulated node, started.
#![allow(clippy::disallowed_methods, reason = "these tests write by themselves; no operator runs here")]
#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kamaji_testkit::cluster::Cluster;
use kamaji_testkit::kwok::HOLD_ANNOTATION;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(500);

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn pod_template(restart: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"labels": {"app": "a"}, "annotations": annotations},
        "spec": {
            "restartPolicy": restart,
            "initContainers": [{"name": "first", "image": "example.com/first:1"}],
            "containers": [{"name": "main", "image": "example.com/main:1"}],
        },
    })
}

fn deployment(replicas: i32, annotations: &Value) -> Deployment {
    object(json!({
        "metadata": {"name": "a"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "a"}},
            "template": pod_template("Always", annotations),
        },
    }))
}

fn ready(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default()
}

#[tokio::test]
async fn deployment_becomes_ready_and_takes_its_pods_along() {
    let begin = Instant::now();
    let cluster = Cluster::shared(&[]).await.unwrap();
    println!("cluster after {:?}", begin.elapsed());
    let server = cluster.api_server();
    let (client, namespace) = (server.client().unwrap(), server.namespace().await.unwrap());
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &deployment(2, &json!({}))).await.unwrap();
    let begin = Instant::now();
    wait_for(&api, "a", SOON, |deployment| ready(deployment) == 2).await.unwrap();
    println!("Deployment ready after {:?}", begin.elapsed());

    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        let status = pod.status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert!(status.pod_ip.is_some() && status.init_container_statuses.unwrap().iter().all(|init| init.ready));
    }
    let name = pods.list(&ListParams::default()).await.unwrap().items.pop().unwrap().metadata.name.unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&pods, &name, None, SOON).await.unwrap();
    let sets: Api<ReplicaSet> = Api::namespaced(client, &namespace);
    assert_eq!(sets.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn held_pod_becomes_ready_when_it_is_let_go() {
    let cluster = Cluster::shared(&[]).await.unwrap();
    let server = cluster.api_server();
    let (client, namespace) = (server.client().unwrap(), server.namespace().await.unwrap());
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), &deployment(1, &json!({HOLD_ANNOTATION: "true"}))).await.unwrap();
    wait_for(&api, "a", SHORT, |deployment| ready(deployment) == 1).await.unwrap_err();
    let let_go = json!({"spec": {"template": {"metadata": {"annotations": {HOLD_ANNOTATION: null}}}}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(let_go)).await.unwrap();
    wait_for(&api, "a", SOON, |deployment| ready(deployment) == 1).await.unwrap();
}

#[tokio::test]
async fn job_completes() {
    let cluster = Cluster::shared(&[]).await.unwrap();
    let server = cluster.api_server();
    let api: Api<Job> = Api::namespaced(server.client().unwrap(), &server.namespace().await.unwrap());
    let job = object(json!({"metadata": {"name": "a"}, "spec": {"template": pod_template("Never", &json!({}))}}));
    api.create(&PostParams::default(), &job).await.unwrap();
    wait_for(&api, "a", SOON, |job| job.status.as_ref().and_then(|status| status.succeeded) == Some(1)).await.unwrap();
}

#[tokio::test]
async fn namespace_empties_itself() {
    let cluster = Cluster::shared(&[]).await.unwrap();
    let server = cluster.api_server();
    let (client, namespace) = (server.client().unwrap(), server.namespace().await.unwrap());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    maps.create(&PostParams::default(), &object(json!({"metadata": {"name": "a"}}))).await.unwrap();
    let api: Api<Namespace> = Api::all(client);
    api.delete(&namespace, &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&api, &namespace, None, SOON).await.unwrap();
}
