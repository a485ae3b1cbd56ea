//! What an older definition prunes from a status is written again when the definition may have been updated.

use std::time::Duration;

use futures::FutureExt;
use http::{Request, Response};
use k8s_openapi::api::core::v1::Pod;
use kamaji_apply::{Applier, Outcome};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn a_status_that_was_pruned_is_sent_again_after_ten_minutes_and_not_before() {
    let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let applier = Applier::new(Client::new(service, "default"), "kamaji");
    let pod = |status: Value| -> Pod {
        let metadata = json!({"name": "a", "namespace": "b", "uid": "u"});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    };
    let (live, wanted) = (pod(json!({"phase": "Running"})), pod(json!({"phase": "Running", "reason": "New"})));
    // The API server answers with what it had.
    let body = serde_json::to_vec(&live).unwrap();
    tokio::spawn(async move {
        while let Some((_, answer)) = server.next_request().await {
            answer.send_response(Response::new(Body::from(body.clone())));
        }
    });
    let outcome = || applier.apply_status(&wanted, &live).map(|applied| applied.unwrap().outcome);
    for _ in 0..2 {
        assert_eq!(outcome().await, Outcome::Patched);
        tokio::time::advance(Duration::from_secs(599)).await;
        assert_eq!(outcome().await, Outcome::Unchanged);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}
