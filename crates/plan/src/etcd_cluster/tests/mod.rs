//! The plan as a whole, certificates, and the decisions about members.

mod certificates;
mod membership;
mod objects;

use std::sync::Arc;

use kamaji_api::EtcdCluster;
use serde_json::{Value, json};

use super::resolve::{Observed, Resolved, resolve};

fn resolved(spec: &Value) -> Resolved {
    let object = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "EtcdCluster",
        "metadata": {"name": "default", "uid": "uid-1", "generation": 1}, "spec": spec,
    });
    let cluster: Arc<EtcdCluster> = Arc::new(serde_json::from_value(object).unwrap());
    resolve(&cluster, "kamaji-system", &Observed::default()).unwrap()
}
