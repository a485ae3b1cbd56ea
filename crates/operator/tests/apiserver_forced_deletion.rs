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

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    events::v1::Event,
};
use kamaji_api::{DataStore, TenantControlPlane, conditions};
use kamaji_plan::reservation::Reservation;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{
    SOON, data_store, phase,
    settle::{counted, counts},
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

/// Deletes a DataStore, past the finalizer that its tenants are a reason for.
async fn remove_data_store(client: &Client, name: &str) {
    let data_stores: Api<DataStore> = Api::all(client.clone());
    data_stores.delete(name, &DeleteParams::default()).await.unwrap();
    let bare = json!({"metadata": {"finalizers": null}});
    data_stores.patch(name, &PatchParams::default(), &Patch::Merge(&bare)).await.unwrap();
    wait_for_deletion(&data_stores, name, None, SOON).await.unwrap();
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
    remove_data_store(&client, "doomed").await;

    orphan.api::<TenantControlPlane>().delete("orphan", &DeleteParams::default()).await.unwrap();
    orphan.says("does not exist; create it again; to delete the tenant without its data, annotate").await;
    orphan.force("data-stays").await;
    orphan.gone().await;
    let told = orphan.told("DeletionForced").await.remove(0);
    assert!(told.contains("nothing will erase them"), "{told}");
}

/// Lets nobody take a finalizer off a tenant, until it is deleted: a deletion that has to be tried again and again.
async fn keep_finalizers(subject: &Subject) -> Api<ValidatingAdmissionPolicyBinding> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(subject.client.clone());
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "finalizers-stay"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["kamaji.clastix.io"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["tenantcontrolplanes"],
            }]},
            "validations": [{"expression": "!has(oldObject.metadata.finalizers) || (has(object.metadata.finalizers) && \
                size(object.metadata.finalizers) >= size(oldObject.metadata.finalizers))"}],
        },
    });
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(subject.client.clone());
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "finalizers-stay"},
        "spec": {"policyName": "finalizers-stay", "validationActions": ["Deny"]},
    });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    // The API server takes a moment to heed it.
    let began = Instant::now();
    let (bare, dry) =
        (json!({"metadata": {"finalizers": null}}), PatchParams { dry_run: true, ..PatchParams::default() });
    let tenants = subject.api::<TenantControlPlane>();
    while tenants.patch(&subject.name, &dry, &Patch::Merge(&bare)).await.is_ok() {
        assert!(began.elapsed() < SOON, "the policy has no effect");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bindings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_deletion_that_takes_several_passes_is_told_once() {
    let stage = Stage::start().await;
    let client = stage.cluster.api_server().client().unwrap();
    let _etcd = data_store(&client, "doomed").await;
    let held = stage.created("held", "default", |_| {}).await;
    let orphan = stage.created("orphan", "doomed", |_| {}).await;
    for subject in [&held, &orphan] {
        phase(&client, &subject.namespace, &subject.name, "Ready").await;
    }
    remove_data_store(&client, "doomed").await;
    let bindings = keep_finalizers(&held).await;
    stage.etcd.pause().unwrap();
    for subject in [&held, &orphan] {
        subject.force("data-stays").await;
        subject.api::<TenantControlPlane>().delete(&subject.name, &DeleteParams::default()).await.unwrap();
        subject.told("DeletionForced").await;
        subject.says("could not be written").await;
    }
    let before = counts(&stage.operator).await.passes;
    counted(&stage.operator, |counts| counts.passes >= before + 6).await;
    for subject in [&held, &orphan] {
        assert_eq!(subject.events("DeletionForced").await.len(), 1, "{}", subject.name);
    }

    bindings.delete("finalizers-stay", &DeleteParams::default()).await.unwrap();
    for subject in [&held, &orphan] {
        subject.gone().await;
        assert_eq!(subject.events("DeletionForced").await.len(), 1, "{}", subject.name);
    }
}
