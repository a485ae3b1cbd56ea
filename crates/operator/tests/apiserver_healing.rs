//! What somebody deletes or edits by hand comes back: real etcd, kube-apiserver and kube-controller-manager, simulated
//! pods.

#![allow(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{TenantControlPlane, conditions, contract};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    phase,
    settle::{counts, settle},
    stage::Stage,
};

/// Healing takes this long at most, on a machine that does nothing else: half of all cases must show it.
const BACK: Duration = Duration::from_secs(2);

/// Half of the times are within [`BACK`]; the others may have met a busy machine.
fn check(times: &mut [(String, Duration)]) {
    times.sort_by_key(|(_, time)| *time);
    println!("back after: {times:?}");
    let (what, median) = &times[times.len() / 2];
    assert!(*median < BACK, "{what} came back after {median:?} only");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_deleted_comes_back_with_the_same_bytes_and_without_a_rollout() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("deleted").await;
    let (secrets, deployment) = (subject.secrets().await, subject.deployment().await);
    let service: Service = subject.api().get("deleted").await.unwrap();
    assert_eq!(secrets.len(), 11, "{:?}", secrets.keys());
    let mut times = Vec::new();
    for name in secrets.keys() {
        times.push((name.clone(), subject.delete::<Secret>(name).await));
    }
    times.push(("ConfigMap".to_owned(), subject.delete::<ConfigMap>("deleted-kubeadmconfig").await));
    times.push(("Service".to_owned(), subject.delete::<Service>("deleted").await));
    settle(&stage.operator, &subject.client, &subject.namespace, &["deleted"]).await;
    for (name, after) in subject.secrets().await {
        let before = &secrets[&name];
        assert_eq!(after.data, before.data, "{name}");
        assert_eq!(after.labels(), before.labels(), "{name}");
        assert_eq!(after.finalizers(), before.finalizers(), "{name}");
    }
    let again: Service = subject.api().get("deleted").await.unwrap();
    assert_eq!(again.spec.unwrap().cluster_ip, service.spec.unwrap().cluster_ip);
    let after = subject.deployment().await;
    assert_eq!((after.uid(), after.metadata.generation), (deployment.uid(), deployment.metadata.generation));

    times.push(("Deployment".to_owned(), subject.delete::<Deployment>("deleted").await));
    phase(&subject.client, &subject.namespace, "deleted", "Ready").await;
    assert_eq!(subject.deployment().await.spec.unwrap().template, deployment.spec.unwrap().template);
    let told = subject.told("KeyRestored").await;
    assert_eq!(told.len(), 3, "{told:?}");
    check(&mut times);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_edited_is_put_right_without_a_rollout() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("edited").await;
    let (secrets, deployment) = (subject.secrets().await, subject.deployment().await);
    let mut times = Vec::new();
    for (name, before) in &secrets {
        let garbage: BTreeMap<&String, &str> =
            before.data.iter().flatten().map(|(key, _)| (key, "Z2FyYmFnZQ==")).collect();
        subject.patch::<Secret>(name, json!({"data": garbage})).await;
        times.push((format!("{name} data"), subject.back::<Secret>(name, |found| found.data == before.data).await));
        let key = before.data.iter().flatten().next().unwrap().0;
        subject.patch::<Secret>(name, json!({"data": {key.as_str(): null}})).await;
        times.push((format!("{name} key"), subject.back::<Secret>(name, |found| found.data == before.data).await));
        subject.patch::<Secret>(name, json!({"metadata": {"labels": null}})).await;
        times.push((
            format!("{name} labels"),
            subject.back::<Secret>(name, |found| found.labels() == before.labels()).await,
        ));
        subject.patch::<Secret>(name, json!({"metadata": {"ownerReferences": null, "finalizers": null}})).await;
        let owned = |found: &Secret| {
            found.owner_references() == before.owner_references() && found.finalizers() == before.finalizers()
        };
        times.push((format!("{name} owner"), subject.back::<Secret>(name, owned).await));
    }
    let name = "edited-kubeadmconfig";
    let before: ConfigMap = subject.api().get(name).await.unwrap();
    let same = |found: &ConfigMap| found.data == before.data && found.labels() == before.labels();
    subject.patch::<ConfigMap>(name, json!({"data": {"ClusterConfiguration": "{}"}})).await;
    times.push(("ConfigMap data".to_owned(), subject.back(name, same).await));
    subject.patch::<ConfigMap>(name, json!({"data": null, "metadata": {"labels": null}})).await;
    times.push(("ConfigMap labels".to_owned(), subject.back(name, same).await));

    let before: Service = subject.api().get("edited").await.unwrap();
    let same = |found: &Service| found.spec == before.spec && found.labels() == before.labels();
    subject.patch::<Service>("edited", json!({"spec": {"selector": {"kamaji.clastix.io/name": "other"}}})).await;
    times.push(("Service selector".to_owned(), subject.back("edited", same).await));
    subject
        .json_patch::<Service>("edited", json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]))
        .await;
    times.push(("Service port".to_owned(), subject.back("edited", same).await));
    subject.patch::<Service>("edited", json!({"metadata": {"labels": null}})).await;
    times.push(("Service labels".to_owned(), subject.back("edited", same).await));

    settle(&stage.operator, &subject.client, &subject.namespace, &["edited"]).await;
    let after = subject.deployment().await;
    assert_eq!(after.metadata.generation, deployment.metadata.generation, "edits of other objects roll no pods");

    let spec = deployment.spec.clone();
    let same = |found: &Deployment| found.spec == spec && found.labels() == deployment.labels();
    subject.patch::<Deployment>("edited", json!({"metadata": {"labels": null}})).await;
    times.push(("Deployment labels".to_owned(), subject.back("edited", same).await));
    subject
        .patch::<Deployment>(
            "edited",
            json!({"metadata": {"annotations": {contract::annotations::TEMPLATE_REVISION: null}}}),
        )
        .await;
    let marked = |found: &Deployment| found.annotations().contains_key(contract::annotations::TEMPLATE_REVISION);
    times.push(("Deployment revision".to_owned(), subject.back("edited", marked).await));
    settle(&stage.operator, &subject.client, &subject.namespace, &["edited"]).await;
    assert_eq!(subject.templates().await, 1, "nor do labels and annotations");
    subject.patch::<Deployment>("edited", json!({"spec": {"replicas": 3}})).await;
    times.push(("Deployment replicas".to_owned(), subject.back("edited", same).await));
    for (path, value) in [("image", json!("example.com/other:1")), ("args", json!([])), ("name", json!("other"))] {
        let path = format!("/spec/template/spec/containers/0/{path}");
        subject.json_patch::<Deployment>("edited", json!([{"op": "replace", "path": path, "value": value}])).await;
        if path.ends_with("name") {
            // Whoever renames a container has added one, which is his; ours is back beside it.
            let names =
                |found: &Deployment| containers(found).iter().filter(|name| *name == "kube-apiserver").count() == 1;
            times.push((format!("Deployment {path}"), subject.back("edited", names).await));
        } else {
            times.push((format!("Deployment {path}"), subject.back("edited", same).await));
        }
    }
    check(&mut times);
}

fn containers(deployment: &Deployment) -> Vec<String> {
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers.iter().map(|container| container.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_add_to_a_secret_is_left_alone_and_rolls_nothing() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("added").await;
    let deployment = subject.deployment().await;
    let added = json!({
        "data": {"note": "aGVsbG8="},
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}, "finalizers": ["example.com/theirs"]},
    });
    subject.patch::<Secret>("added-api-server-certificate", added).await;
    settle(&stage.operator, &subject.client, &subject.namespace, &["added"]).await;
    let secret = subject.secret("api-server-certificate").await;
    assert!(secret.data.as_ref().unwrap().contains_key("note") && secret.finalizers() == ["example.com/theirs"]);
    assert_eq!(subject.deployment().await.metadata.generation, deployment.metadata.generation);

    // Deleted with a finalizer that is not ours: it is waited for, and comes back when it is gone.
    subject.api::<Secret>().delete(&secret.name_any(), &DeleteParams::default()).await.unwrap();
    let waits = subject.condition(conditions::PROGRESSING, "WaitingForDeletion").await;
    assert!(waits.contains("added-api-server-certificate") && waits.contains("example.com/theirs"), "{waits}");
    subject.patch::<Secret>(&secret.name_any(), json!({"metadata": {"finalizers": null}})).await;
    subject.back::<Secret>(&secret.name_any(), |found| found.uid() != secret.uid()).await;
    let again = subject.secret("api-server-certificate").await;
    for key in ["apiserver.crt", "apiserver.key"] {
        assert_eq!(again.data.as_ref().unwrap()[key], secret.data.as_ref().unwrap()[key]);
    }
    settle(&stage.operator, &subject.client, &subject.namespace, &["added"]).await;
    assert_eq!(subject.deployment().await.metadata.generation, deployment.metadata.generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_asked_for_changes_what_it_names_and_what_depends_on_it() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("rotated").await;
    let before = subject.secrets().await;
    let rotate = json!({"metadata": {"annotations": {contract::annotations::ROTATE: ""}}});
    let done =
        |found: &Secret| found.annotations().get(contract::annotations::ROTATE).is_some_and(|mark| !mark.is_empty());
    subject.patch::<Secret>("rotated-api-server-certificate", rotate.clone()).await;
    subject.back::<Secret>("rotated-api-server-certificate", done).await;
    settle(&stage.operator, &subject.client, &subject.namespace, &["rotated"]).await;
    let middle = subject.secrets().await;
    let changed: Vec<&String> = middle.keys().filter(|name| middle[*name].data != before[*name].data).collect();
    assert_eq!(changed, ["rotated-api-server-certificate"]);
    let told = subject.events("CertificateIssued").await;
    assert!(
        told.len() == 1 && told[0].contains("rotated-api-server-certificate: a rotation was asked for"),
        "{told:?}"
    );

    subject.patch::<Secret>("rotated-ca", rotate).await;
    subject.back::<Secret>("rotated-ca", done).await;
    settle(&stage.operator, &subject.client, &subject.namespace, &["rotated"]).await;
    let after = subject.secrets().await;
    let changed: Vec<&str> = after
        .keys()
        .filter(|name| after[*name].data != middle[*name].data)
        .map(|name| &name["rotated-".len()..])
        .collect();
    let signed = [
        "admin-kubeconfig",
        "api-server-certificate",
        "api-server-kubelet-client-certificate",
        "ca",
        "controller-manager-kubeconfig",
        "scheduler-kubeconfig",
    ];
    assert_eq!(changed, signed);
    let told = subject.events("KeyRotated").await;
    assert!(told.len() == 1 && told[0].starts_with("rotated-ca: "), "{told:?}");
    phase(&subject.client, &subject.namespace, "rotated", "Ready").await;
    // The old keys are not given back.
    assert_eq!(subject.secret("ca").await.data, after["rotated-ca"].data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sleeps_with_no_replicas_and_wakes_through_the_scale_subresource() {
    let stage = Stage::shared().await;
    let subject = stage.tenant("asleep").await;
    let before = subject.secrets().await;
    let template = subject.deployment().await.spec.unwrap().template;
    let tenants: Api<TenantControlPlane> = subject.api();
    for (replicas, state) in [(0, "Sleeping"), (2, "Ready")] {
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        tenants.patch_scale("asleep", &PatchParams::default(), &scale).await.unwrap();
        phase(&subject.client, &subject.namespace, "asleep", state).await;
        let rolled = |found: &Deployment| {
            let ready = found.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            found.spec.as_ref().unwrap().replicas == Some(replicas) && ready == replicas
        };
        subject.back::<Deployment>("asleep", rolled).await;
        let reported = move |tenant: &TenantControlPlane| {
            let status = tenant.status.as_ref().unwrap();
            status.kubernetes_resources.deployment.status.replicas.unwrap_or(0) == replicas
        };
        subject.back::<TenantControlPlane>("asleep", reported).await;
        let scale = tenants.get_scale("asleep").await.unwrap();
        assert_eq!(scale.spec.unwrap().replicas.unwrap_or(0), replicas);
        let status = scale.status.unwrap();
        assert_eq!((status.replicas, status.selector.as_deref()), (replicas, Some("kamaji.clastix.io/name=asleep")));
    }
    assert_eq!(subject.deployment().await.spec.unwrap().template, template);
    let after = subject.secrets().await;
    assert!(after.keys().all(|name| after[name].data == before[name].data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_operator_mints_no_key_and_changes_nothing() {
    let mut stage = Stage::start().await;
    let (lost, broken, blank, bare) =
        tokio::join!(stage.tenant("lost"), stage.tenant("broken"), stage.tenant("blank"), stage.tenant("bare"));
    stage.operator.kill();
    let backup = lost.secret("ca").await;
    lost.api::<Secret>().delete("lost-ca", &DeleteParams::default()).await.unwrap();
    broken.patch::<Secret>("broken-ca", json!({"data": {"ca.key": "Z2FyYmFnZQ=="}})).await;
    bare.patch::<Secret>("bare-ca", json!({"metadata": {"labels": null}})).await;
    bare.patch::<Deployment>("bare", json!({"metadata": {"labels": null}})).await;
    for subject in [&blank, &bare] {
        let tenant: TenantControlPlane = subject.api().get(&subject.name).await.unwrap();
        let status = serde_json::to_value(tenant.status).unwrap();
        let nothing: BTreeMap<&String, Value> =
            status.as_object().unwrap().keys().map(|key| (key, Value::Null)).collect();
        let patch = Patch::Merge(json!({"status": nothing}));
        subject.api::<TenantControlPlane>().patch_status(&subject.name, &PatchParams::default(), &patch).await.unwrap();
    }
    let before = support::settle::versions(&blank.client, &blank.namespace).await;
    let (bare_secrets, bare_deployment) = (bare.secrets().await, bare.deployment().await);
    stage.operator.resume();

    for subject in [&blank, &bare] {
        phase(&subject.client, &subject.namespace, &subject.name, "Ready").await;
        settle(&stage.operator, &subject.client, &subject.namespace, &[&subject.name]).await;
    }
    let mut after = support::settle::versions(&blank.client, &blank.namespace).await;
    after.insert("TenantControlPlane/blank".to_owned(), before["TenantControlPlane/blank"].clone());
    assert_eq!(after, before, "a lost status changes nothing else");
    for (name, secret) in bare.secrets().await {
        assert_eq!(secret.data, bare_secrets[&name].data, "{name}");
    }
    assert_eq!(bare.deployment().await.metadata.generation, bare_deployment.metadata.generation);
    assert!(bare.secret("ca").await.labels().contains_key(contract::labels::PROJECT));

    let message = lost.condition(conditions::STALLED, "KeyLost").await;
    assert!(message.contains("lost-ca") && message.contains("backup"), "{message}");
    lost.condition(conditions::DEGRADED, "KeyLost").await;
    assert!(lost.api::<Secret>().get_opt("lost-ca").await.unwrap().is_none());
    let message = broken.condition(conditions::STALLED, "KeyUnusable").await;
    assert!(message.contains("broken-ca") && message.contains("certs.kamaji.clastix.io/rotate"), "{message}");
    assert!(!message.contains("garbage"), "{message}");
    for (subject, reason) in [(&lost, "KeyLost"), (&broken, "KeyUnusable")] {
        assert_eq!(subject.told(reason).await.len(), 1);
    }

    // The ways out that the sentences name.
    let mut restored = backup.clone();
    restored.metadata.resource_version = None;
    restored.metadata.uid = None;
    lost.api::<Secret>().create(&PostParams::default(), &restored).await.unwrap();
    broken
        .patch::<Secret>("broken-ca", json!({"metadata": {"annotations": {contract::annotations::ROTATE: ""}}}))
        .await;
    for subject in [&lost, &broken] {
        let healthy = |tenant: &TenantControlPlane| {
            let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            conditions::is_true(all, conditions::READY) && !conditions::is_true(all, conditions::STALLED)
        };
        subject.back::<TenantControlPlane>(&subject.name, healthy).await;
    }
    assert_eq!(lost.secret("ca").await.data, backup.data);
    assert_eq!(broken.told("KeyRotated").await.len(), 1);
}

/// User and system CPU time of a process (`proc_pid_stat(5)`), in hundredths of a second.
fn cpu(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let times = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    times.map(|time| time.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_take_few_passes_to_become_ready_and_none_at_rest() {
    const TENANTS: u64 = 8;
    let stage = Stage::start().await;
    stage.tenant("first").await;
    let id = stage.operator.process.as_ref().unwrap().id();
    let (before, spent) = (counts(&stage.operator).await, cpu(id));
    let names: Vec<String> = (0..TENANTS).map(|index| format!("tenant-{index}")).collect();
    let tenants = futures::future::join_all(names.iter().map(|name| stage.created(name, "default", |_| {}))).await;
    for tenant in &tenants {
        phase(&tenant.client, &tenant.namespace, &tenant.name, "Ready").await;
    }
    let ready = counts(&stage.operator).await;
    let mut rest = ready.clone();
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = counts(&stage.operator).await;
        if (&now.writes, now.passes) == (&rest.writes, rest.passes) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no rest: {now:?}");
        rest = now;
    }
    let spent = cpu(id) - spent;
    let passes = rest.passes - before.passes;
    let writes: u64 = rest.writes.values().sum::<u64>() - before.writes.values().sum::<u64>();
    println!(
        "per tenant from creation to rest: {:.1} passes, {:.1} writes, {} ms CPU (unoptimised); DataStore passes: {}; \
         {} passes after all were Ready",
        passes as f64 / TENANTS as f64,
        writes as f64 / TENANTS as f64,
        spent * 10 / TENANTS,
        rest.store_passes - before.store_passes,
        rest.passes - ready.passes
    );
    for (verb, count) in &rest.writes {
        println!("  {verb}: {:.1}", (count - before.writes.get(verb).unwrap_or(&0)) as f64 / TENANTS as f64);
    }
    assert!(passes <= 12 * TENANTS, "{passes} passes for {TENANTS} tenants");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = counts(&stage.operator).await;
    assert_eq!(after.writes, rest.writes, "a write at rest");
    assert_eq!(after.passes, rest.passes, "a pass at rest");
}
