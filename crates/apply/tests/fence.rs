//! A write in flight ends with the lease.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_apply::{Applier, Fence, FenceLost};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

struct Lease(watch::Sender<bool>);

impl Fence for Lease {
    fn check(&self) -> Result<(), FenceLost> {
        if *self.0.borrow() { Ok(()) } else { Err(FenceLost) }
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        let mut held = self.0.subscribe();
        async move { drop(held.wait_for(|held| !held).await.map(|_| ())) }.boxed()
    }
}

#[tokio::test]
async fn cuts_a_write_that_the_api_server_has_not_answered() {
    let (service, mut server) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
    let lease = Arc::new(Lease(watch::Sender::new(true)));
    let applier = Applier::new(Client::new(service, "default"), "kamaji").with_fence(lease.clone());
    let desired: ConfigMap =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "a", "namespace": "b"}, "data": {"k": "v"}}))
            .unwrap();

    let writer = applier.clone();
    let wanted = desired.clone();
    let write = tokio::spawn(async move { writer.apply(&wanted, None).await });
    let (request, unanswered) = server.next_request().await.unwrap();
    assert_eq!(request.uri().path(), "/api/v1/namespaces/b/configmaps/a");
    lease.0.send_replace(false);
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.category(), "fenced");
    drop(unanswered);

    let error = applier.apply(&desired, None).await.unwrap_err();
    assert_eq!(error.category(), "fenced");
    assert_eq!(applier.writes().total(), 1);
}
