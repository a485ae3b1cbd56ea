//! Takes over the clusters of tenants that the Go operator kept, on a real API server, where the captured objects are
//! present.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well, and writes as the Go operator did"
)]

mod captured;
mod session;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_operator::tenant::Planner;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    exposed::Exposed,
    resolve::{self, Observed},
    tenant_cluster,
};
use kamaji_testkit::api_server::{ApiServer, Options};
use kube::{
    Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use captured::{api, golden, live, objects};
use session::{Side, address, versions, wish};

fn of_kind(all: &[Value], kind: &str) -> Value {
    all.iter().find(|object| object["kind"] == kind).unwrap().clone()
}

/// What is wished for the captured tenant `name`.
fn planner(folder: &Path, name: &str) -> (Arc<TenantControlPlane>, Planner) {
    let management = objects(&folder.join(name).join("management.yaml"));
    let tenant: TenantControlPlane = serde_json::from_value(of_kind(&management, "TenantControlPlane")).unwrap();
    let tenant = Arc::new(tenant);
    let deployment = serde_json::from_value(of_kind(&management, "Deployment")).unwrap();
    let authority = management.iter().find(|object| object["metadata"]["name"] == format!("{name}-ca")).unwrap();
    let authority: Secret = serde_json::from_value(authority.clone()).unwrap();
    let stores = objects(&folder.join("datastores.yaml"));
    let store = stores.into_iter().find(|store| store["metadata"]["name"] == "default").unwrap();
    let store: DataStore = serde_json::from_value(store).unwrap();
    let observed = Observed {
        data_store: Some(&store),
        chosen: Some("default"),
        deployment: Some(&deployment),
        ..Observed::default()
    };
    let resolved = resolve::resolve(&tenant, &observed).unwrap();
    let endpoint = tenant.status.clone().unwrap().control_plane_endpoint.unwrap();
    let exposed = Exposed::new(&resolved, endpoint.rsplit_once(':').unwrap().0.parse().unwrap());
    let ca = authority.data.unwrap()["ca.crt"].0.clone();
    (tenant, Arc::new(move || tenant_cluster::plan(&resolved, &exposed, KeyAlgorithm::Rsa2048, &ca)))
}

/// Loads what was captured with its field managers. Bindings come first: in the Go operator's clusters they own the rest.
async fn load(client: &Client, captured: &[Value]) {
    let mut uids: BTreeMap<String, String> = BTreeMap::new();
    let (owners, owned): (Vec<&Value>, Vec<&Value>) =
        captured.iter().partition(|object| object["kind"] == "ClusterRoleBinding");
    for object in owners.into_iter().chain(owned) {
        let text = uids.iter().fold(object.to_string(), |text, (old, new)| text.replace(old, new));
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object.as_object_mut().unwrap().remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        let managed_fields = metadata.remove("managedFields");
        let old = metadata.remove("uid").unwrap();
        for field in ["resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
        let api = api(client, &object);
        let by = PostParams { field_manager: Some("kamaji".to_owned()), ..PostParams::default() };
        let made = api.create(&by, &serde_json::from_value(object).unwrap()).await.unwrap();
        uids.insert(old.as_str().unwrap().to_owned(), made.uid().unwrap());
        if let Some(managed_fields) = managed_fields {
            let patch = json!({"metadata": {"managedFields": managed_fields}});
            api.patch(&made.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        }
    }
}

async fn is_taken_over(folder: &Path, name: &str) {
    let (tenant, plan) = planner(folder, name);
    let profile = tenant.spec.network_profile.clone().unwrap_or_default();
    let range = profile.service_cidrs.unwrap_or_default().first().cloned().unwrap_or("10.96.0.0/16".to_owned());
    let extra_args = vec![format!("--service-cluster-ip-range={range}")];
    let server = ApiServer::start_with(Options { extra_args, ..Options::default() }).await.unwrap();
    let client = server.client().unwrap();
    let captured = objects(&folder.join(name).join("tenant.yaml"));
    load(&client, &captured).await;
    let before = live(&client, &captured).await;

    let wish = wish(&server, address(&server), move || plan());
    let mut side = Side::keeping(&wish);
    side.settled(&wish).await;
    let after = live(&client, &captured).await;
    for (name, before) in &before {
        for part in ["/metadata/uid", "/metadata/generation", "/spec", "/rules", "/roleRef", "/subjects"] {
            assert_eq!(after[name].pointer(part), before.pointer(part), "{name} {part}");
        }
    }
    let rested = versions(&client).await;
    assert!(before.keys().len() <= rested.len() + 1, "all but what is created once have the label by now: {rested:#?}");

    let mut again = Side::keeping(&wish);
    again.settled(&wish).await;
    assert_eq!(again.writes(), 0);
    assert_eq!(versions(&client).await, rested);
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_over_captured_clusters_without_a_rolled_pod_where_those_are_present() {
    let Some(folder) = golden() else { return };
    for name in ["etcd-basic", "etcd-full"] {
        is_taken_over(&folder, name).await;
    }
}
