//! A tenant's life in the management cluster: real etcd, kube-apiserver and kube-controller-manager, simulated pods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use kamaji_api::TenantControlPlane;
use kamaji_testkit::{cluster::Cluster, wait::wait_for_deletion};
use kube::Api;
use serde_json::Value;

use support::{Operator, SOON, create, data_store, phase, settle::scrape, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_on_etcd_becomes_ready_and_leaves_nothing_behind() {
    let cluster = Cluster::start(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let server = cluster.api_server();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let etcd = data_store(&client, "default").await;
    let operator = Operator::start(server, &[]);
    // With the keys that a tenant has which names no algorithm.
    let default_keys = |spec: &mut Value| {
        spec["kubernetes"].as_object_mut().unwrap().remove("encryptionAlgorithm").unwrap();
    };
    create(&client, &tenant(&namespace, "one", "default", default_keys)).await;
    phase(&client, &namespace, "one", "Ready").await;
    let metrics = scrape(operator.metrics_port()).await.unwrap();
    // The contract's handlers, as far as this tenant needs them.
    for handler in [
        "service",
        "kubeadmconfig",
        "ca",
        "front-proxy-ca-certificate",
        "sa-certificate",
        "api-server-certificate",
        "api-server-kubelet-client-certificate",
        "front-proxy-client-certificate",
        "admin-kubeconfig",
        "controller-manager-kubeconfig",
        "scheduler-kubeconfig",
        "datastore-config",
        "datastore-setup",
        "datastore-certificate",
        "deployment",
    ] {
        let count = format!("kamaji_handler_time_seconds_count{{handler=\"{handler}\"}} ");
        let counted = metrics.lines().find_map(|line| line.strip_prefix(&count)?.parse::<u64>().ok());
        assert!(counted.is_some_and(|times| times > 0), "{handler}: {counted:?}");
    }
    assert!(metrics.contains("kamaji_events_total{type=\"Normal\",reason=\"DataStoreIsValid\"} 1"), "{metrics}");
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    api.delete("one", &kube::api::DeleteParams::default()).await.unwrap();
    if let Err(error) = wait_for_deletion(&api, "one", None, SOON).await {
        panic!("{error}\n{}", operator.log());
    }
    let mut etcd = etcd.client().await.unwrap();
    assert_eq!(etcd.user_list().await.unwrap().users(), ["root"]);
}
