//! Whose data on a datastore is: a tenant that was restored under another UID, what is recorded for somebody else, and
//! names that become free. Real servers, simulated pods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod datastores;
mod support;

use std::collections::BTreeSet;

use datastores::{
    ALL, Store, eventually, is_well, login, remove,
    servers::{Held, Live, Login, hold, own},
};
use etcd_client::DeleteOptions;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kamaji_api::{
    DataStore, TenantControlPlane, conditions,
    contract::annotations::{FORCE_DELETION, FORCE_DELETION_VALUE, FORMER_UID},
};
use kamaji_datastore::Driver;
use kamaji_plan::reservation::Reservation;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use support::{
    SOON, create, data_store, phase,
    stage::{Stage, Subject},
    tenant,
};

/// A tenant whose objects are gone and whose data is not, as a backup knows it.
struct Lost {
    live: Held,
    /// What was in the server before the tenant.
    bare: BTreeSet<String>,
    store: Store,
    namespace: String,
    uid: String,
    login: Login,
    secrets: Vec<Secret>,
}

const NAME: &str = "restored";

/// One tenant on each kind of datastore, lost while the operator is away.
async fn lost(stage: &mut Stage) -> Vec<Lost> {
    let mut all = Vec::new();
    for driver in ALL {
        let live = hold(driver).await;
        let bare = live.holdings().await;
        let store = Store::ready(stage, &live, NAME).await;
        let subject = store.tenant(stage, NAME).await;
        let login = login(&subject).await;
        live.write_as(&login).await.unwrap();
        let uid = subject.api::<TenantControlPlane>().get(NAME).await.unwrap().uid().unwrap();
        let secrets = subject.secrets().await.into_values().map(as_backed_up).collect();
        all.push(Lost { live, bare, store, namespace: subject.namespace, uid, login, secrets });
    }
    stage.operator.kill();
    let mut management = stage.cluster.api_server().etcd().client().await.unwrap();
    for Lost { namespace, .. } in &all {
        let secrets = format!("/registry/secrets/{namespace}/");
        management.delete(secrets, Some(DeleteOptions::new().with_prefix())).await.unwrap();
        let tenant = format!("/registry/kamaji.clastix.io/tenantcontrolplanes/{namespace}/{NAME}");
        management.delete(tenant, None).await.unwrap();
    }
    stage.operator.resume();
    all
}

/// Backups leave out what ties an object to its cluster.
fn as_backed_up(secret: Secret) -> Secret {
    let Secret { metadata, .. } = secret.clone();
    let ObjectMeta { name, namespace, labels, annotations, .. } = metadata;
    Secret { metadata: ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() }, ..secret }
}

/// A tenant that says which UID it had.
async fn claims(
    stage: &Stage,
    (namespace, name): (&str, &str),
    store: &Store,
    former: &str,
    change: impl FnOnce(&mut Value),
) -> Subject {
    let client = stage.cluster.api_server().client().unwrap();
    let mut object = tenant(namespace, name, &store.name, change);
    object.annotations_mut().insert(FORMER_UID.to_owned(), former.to_owned());
    create(&client, &object).await;
    Subject { client, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Waits until a condition that holds says all of this.
async fn says(subject: &Subject, words: &[String]) {
    let said = |tenant: &TenantControlPlane| {
        let all = tenant.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut true_ones = all.into_iter().filter(|found| found.status == "True");
        true_ones.any(|found| words.iter().all(|word| found.message.contains(word)))
    };
    subject.back(&subject.name, said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_tenant_has_its_data_back_by_its_former_uid_and_nobody_else_gets_it() {
    let mut stage = Stage::start().await;
    let all = lost(&mut stage).await;
    futures::future::join_all(all.iter().map(|lost| Box::pin(is_the_restored_ones_alone(&stage, lost)))).await;
}

async fn is_the_restored_ones_alone(stage: &Stage, lost: &Lost) {
    let Lost { live, bare, store, namespace, uid, login, secrets } = lost;
    let full = live.holdings().await;

    // It knows the UID and the names, and is somewhere else.
    let elsewhere = stage.cluster.api_server().namespace().await.unwrap();
    let names = |spec: &mut Value| {
        spec["dataStoreSchema"] = json!(login.schema);
        spec["dataStoreUsername"] = json!(login.user);
    };
    let thief = claims(stage, (&elsewhere, NAME), store, uid, names).await;
    says(&thief, &[format!("UID {uid}")]).await;
    remove(&thief).await;
    let told = thief.told("ForeignDataKept").await;
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [&store.name, &login.schema, &format!("UID {uid}"), "can be removed with"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    assert_eq!(live.holdings().await, full);

    let client = stage.cluster.api_server().client().unwrap();
    let secret_api = kube::Api::<Secret>::namespaced(client.clone(), namespace);
    for secret in secrets {
        secret_api.create(&PostParams::default(), secret).await.unwrap();
    }
    // Its Secrets tell its names; the backup has no status.
    create(&client, &tenant(namespace, NAME, &store.name, |_| {})).await;
    let subject = Subject { client, namespace: namespace.clone(), name: NAME.to_owned() };
    says(&subject, &[format!("UID {uid}"), format!("{FORMER_UID}={uid}")]).await;
    assert_eq!(live.holdings().await, full);
    subject.patch::<TenantControlPlane>(NAME, json!({"metadata": {"annotations": {FORMER_UID: uid}}})).await;
    is_well(&subject).await;
    let told = subject.told("FormerDataTakenOver").await;
    assert!(told.len() == 1 && told[0].contains(uid.as_str()) && told[0].contains(&login.schema), "{told:?}");
    assert_eq!(&datastores::login(&subject).await, login);
    let present = subject.api::<TenantControlPlane>().get(NAME).await.unwrap().uid().unwrap();
    let owned = |line: &String| line.replace(&format!("owner\":\"{uid}\""), &format!("owner\":\"{present}\""));
    assert_eq!(live.holdings().await, full.iter().map(owned).collect(), "nothing but the owner changed");
    live.write_as(login).await.unwrap();
    let now = subject.secrets().await;
    for name in ["restored-ca", "restored-sa-certificate"] {
        let before = secrets.iter().find(|secret| secret.name_any() == name).unwrap();
        assert_eq!(now[name].data, before.data, "{name}");
    }

    // What is recorded is the present UID: it is done with the annotation, and all of it goes with the tenant.
    subject.patch::<TenantControlPlane>(NAME, json!({"metadata": {"annotations": {FORMER_UID: null}}})).await;
    remove(&subject).await;
    assert_eq!(&live.holdings().await, bare);
}

/// Deleted by force while its datastore is away, and brought back before the datastore is.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_was_restored_after_a_forced_deletion_has_its_data_when_the_datastore_is_back() {
    let stage = Stage::shared().await;
    let live = own(Driver::Etcd).await;
    let Live::Etcd(etcd) = &*live else { panic!("it is an etcd") };
    let store = Store::ready(stage, &live, "returns").await;
    let subject = store.tenant(stage, NAME).await;
    let login = login(&subject).await;
    live.write_as(&login).await.unwrap();
    let full = live.holdings().await;
    let former = subject.api::<TenantControlPlane>().get(NAME).await.unwrap().uid().unwrap();
    let secrets: Vec<Secret> = subject.secrets().await.into_values().map(as_backed_up).collect();

    etcd.pause().unwrap();
    let forced = json!({"metadata": {"annotations": {FORCE_DELETION: FORCE_DELETION_VALUE}}});
    subject.patch::<TenantControlPlane>(NAME, forced).await;
    remove(&subject).await;
    assert_eq!(Reservation::all(&store.get().await).len(), 1);
    let secret_api = subject.api::<Secret>();
    for name in subject.secrets().await.into_keys() {
        secret_api.delete(&name, &DeleteParams::default()).await.unwrap();
        wait_for_deletion(&secret_api, &name, None, SOON).await.unwrap();
    }
    for secret in &secrets {
        secret_api.create(&PostParams::default(), secret).await.unwrap();
    }
    create(&subject.client, &tenant(&subject.namespace, NAME, &store.name, |_| {})).await;
    let sentence = subject.condition(conditions::STALLED, "NameReserved").await;
    assert!(sentence.ends_with(&format!("{FORMER_UID}={former}")), "{sentence}");
    subject.patch::<TenantControlPlane>(NAME, json!({"metadata": {"annotations": {FORMER_UID: former}}})).await;
    etcd.resume().unwrap();

    is_well(&subject).await;
    assert_eq!(datastores::login(&subject).await, login);
    let present = subject.api::<TenantControlPlane>().get(NAME).await.unwrap().uid().unwrap();
    let owned = |line: &String| line.replace(&format!("owner\":\"{former}\""), &format!("owner\":\"{present}\""));
    assert_eq!(live.holdings().await, full.iter().map(owned).collect(), "nothing but the owner changed");
    let free = |data_store: &DataStore| Reservation::all(data_store).is_empty();
    wait_for(&store.api(), &store.name, SOON, free).await.unwrap();
    let events: Api<Event> = Api::namespaced(subject.client.clone(), "default");
    let told = async |reason: &str| {
        let events = events.list(&ListParams::default()).await.unwrap();
        events.into_iter().any(|event| {
            event.reason.as_deref() == Some(reason) && event.note.is_some_and(|note| note.contains(&login.schema))
        })
    };
    eventually("the Event ReservedNamesReturned", async || told("ReservedNamesReturned").await).await;
    assert!(!told("ReservedNamesFreed").await);
    remove(&subject).await;
}

/// Nothing on a DataStore changes for the one who waits: the other was on another.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_asks_for_anothers_uid_has_it_soon_after_that_one_is_gone() {
    let stage = Stage::shared().await;
    let client = stage.cluster.api_server().client().unwrap();
    let _apart = data_store(&client, "apart").await;
    let holder = stage.created("holder", "apart", |_| {}).await;
    phase(&client, &holder.namespace, "holder", "Ready").await;
    let uid = holder.api::<TenantControlPlane>().get("holder").await.unwrap().uid().unwrap();
    let heir = stage.created("heir", "default", |spec| spec["dataStoreSchema"] = json!(uid)).await;
    heir.condition(conditions::STALLED, "NameTaken").await;
    remove(&holder).await;
    is_well(&heir).await;
    assert_eq!(login(&heir).await.schema, uid);
    remove(&heir).await;
}

/// A paused DataStore does not say who uses it, so nobody learns from it that a name is free.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_free_soon_after_its_tenant_is_gone_whatever_its_datastore_says() {
    let stage = Stage::shared().await;
    let live = hold(Driver::Etcd).await;
    let store = Store::ready(stage, &live, "silent").await;
    let wants = |spec: &mut Value| spec["dataStoreSchema"] = json!("wanted");
    let holder = stage.created("holder", &store.name, wants).await;
    is_well(&holder).await;
    let heir = stage.created("heir", &store.name, wants).await;
    heir.condition(conditions::STALLED, "NameTaken").await;
    store.patch(json!({"metadata": {"annotations": {"kamaji.clastix.io/paused": "true"}}})).await;
    remove(&holder).await;
    is_well(&heir).await;
    remove(&heir).await;
}
