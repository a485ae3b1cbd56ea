//! A tenant whose datastore is away is deleted because its owner says so: what stays is told, its names are nobody
//! else's, and it is erased when the datastore is back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use k8s_openapi::api::events::v1::Event;
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_plan::reservation::Reservation;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use support::{
    SOON, data_store, phase,
    stage::{Stage, Subject},
};

impl Subject {
    /// Waits until a condition that holds says this.
    async fn says(&self, words: &str) -> String {
        let sentence = |tenant: &TenantControlPlane| {
            let all = tenant.status.as_ref()?.conditions.as_deref()?;
            let mut true_ones = all.iter().filter(|found| found.status == "True");
            true_ones.find(|found| found.message.contains(words)).map(|found| found.message.clone())
        };
        let found = wait_for(&self.api(), &self.name, SOON, |tenant| sentence(tenant).is_some()).await.unwrap();
        sentence(&found).unwrap()
    }

    async fn force(&self, value: &str) {
        let patch = json!({"metadata": {"annotations": {"kamaji.clastix.io/force-deletion": value}}});
        self.patch::<TenantControlPlane>(&self.name, patch).await;
    }

    async fn gone(&self) {
        wait_for_deletion(&self.api::<TenantControlPlane>(), &self.name, None, SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_left_by_a_forced_deletion_are_reserved_until_what_they_hold_is_erased() {
    let stage = Stage::shared().await;
    let left = stage
        .created("left", "default", |spec| {
            spec["dataStoreSchema"] = json!("left_schema");
            spec["dataStoreUsername"] = json!("left_user");
        })
        .await;
    phase(&left.client, &left.namespace, "left", "Ready").await;
    let mut etcd = stage.etcd.client().await.unwrap();
    etcd.put("/left_schema/a", "value", None).await.unwrap();

    stage.etcd.pause().unwrap();
    left.api::<TenantControlPlane>().delete("left", &DeleteParams::default()).await.unwrap();
    let sentence = left.says("kamaji.clastix.io/force-deletion=data-stays").await;
    assert!(sentence.contains("DataStore default"), "{sentence}");
    left.force("true").await;
    left.says("is \"true\" and takes effect only as \"data-stays\"").await;
    left.force("data-stays").await;
    left.gone().await;
    let told = left.told("DeletionForced").await.remove(0);
    assert!(told.contains("left_schema") && told.contains("left_user") && told.contains("are reserved"), "{told}");
    let data_stores: Api<DataStore> = Api::all(left.client.clone());
    let reserved = Reservation::all(&data_stores.get("default").await.unwrap());
    let names = reserved.iter().map(|left| (left.identity.schema.as_str(), left.identity.user.as_str()));
    assert_eq!(names.collect::<Vec<_>>(), [("left_schema", "left_user")]);

    let next = stage.created("next", "default", |spec| spec["dataStoreSchema"] = json!("left_schema")).await;
    let sentence = next.condition(conditions::STALLED, "NameReserved").await;
    assert!(sentence.starts_with("spec.dataStoreSchema: ") && sentence.contains("/left is erased"), "{sentence}");

    stage.etcd.resume().unwrap();
    let free = |data_store: &DataStore| Reservation::all(data_store).is_empty();
    wait_for(&data_stores, "default", SOON, free).await.unwrap();
    phase(&next.client, &next.namespace, "next", "Ready").await;
    assert!(etcd.get("/left_schema/a", None).await.unwrap().kvs().is_empty(), "its keys are erased");
    let users = etcd.user_list().await.unwrap();
    assert!(!users.users().contains(&"left_user".to_owned()), "{:?}", users.users());
    let events: Api<Event> = Api::namespaced(next.client.clone(), "default");
    let events = events.list(&ListParams::default()).await.unwrap();
    let freed = events.iter().find(|event| event.reason.as_deref() == Some("ReservedNamesFreed")).unwrap();
    assert!(freed.note.as_ref().unwrap().contains("left_user"), "{freed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_datastore_object_is_gone_can_be_deleted_by_force() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let _etcd = data_store(&client, "doomed").await;
    let orphan = stage.created("orphan", "doomed", |_| {}).await;
    phase(&orphan.client, &orphan.namespace, "orphan", "Ready").await;
    let data_stores: Api<DataStore> = Api::all(client);
    data_stores.delete("doomed", &DeleteParams::default()).await.unwrap();
    let bare = json!({"metadata": {"finalizers": null}});
    data_stores.patch("doomed", &PatchParams::default(), &Patch::Merge(&bare)).await.unwrap();
    wait_for_deletion(&data_stores, "doomed", None, SOON).await.unwrap();

    orphan.api::<TenantControlPlane>().delete("orphan", &DeleteParams::default()).await.unwrap();
    orphan.says("does not exist; create it again; to delete the tenant without its data, annotate").await;
    orphan.force("data-stays").await;
    orphan.gone().await;
    let told = orphan.told("DeletionForced").await.remove(0);
    assert!(told.contains("nothing will erase them"), "{told}");
}
