//! Objects that another program of the same manager name wrote by ordinary updates.

use anyhow::Result;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kamaji_apply::Outcome;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{MANAGER, applier, apply_twice, object, place};

fn params(manager: &str) -> PostParams {
    PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() }
}

fn managers(object: &impl ResourceExt) -> Vec<(&str, &str)> {
    let entries = object.managed_fields().iter();
    let mut managers: Vec<_> = entries
        .map(|entry| (entry.manager.as_deref().unwrap_or(""), entry.operation.as_deref().unwrap_or("")))
        .collect();
    managers.sort_unstable();
    managers
}

#[tokio::test]
async fn removes_what_the_former_program_wrote_and_we_do_not_want() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let former: ConfigMap = object(
        json!({"metadata": {"name": "m", "labels": {"old": "1", "both": "1"}}, "data": {"a": "1", "gone": "1"}}),
        &namespace,
    )?;
    api.create(&params(MANAGER), &former).await?;
    let edit = json!({"metadata": {"labels": {"theirs": "x"}}});
    let edit_params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    let live = api.patch("m", &edit_params, &Patch::Merge(edit)).await?;

    let desired: ConfigMap =
        object(json!({"metadata": {"name": "m", "labels": {"both": "1"}}, "data": {"a": "1"}}), &namespace)?;
    let taken = apply_twice(&client, &desired, Some(&live)).await?;
    assert_eq!(taken.outcome, Outcome::Patched);
    assert_eq!(taken.object.data, desired.data);
    let labels: Vec<_> = taken.object.labels().keys().map(String::as_str).collect();
    assert_eq!(labels, ["both", "theirs"]);
    assert_eq!(managers(&taken.object), [(MANAGER, "Apply"), ("somebody", "Update")]);
    Ok(())
}

#[tokio::test]
async fn takes_over_an_object_that_the_caller_did_not_know() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    api.create(&params(MANAGER), &object(json!({"metadata": {"name": "m"}, "data": {"gone": "1"}}), &namespace)?)
        .await?;
    let desired: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"a": "1"}}), &namespace)?;
    let taken = apply_twice(&client, &desired, None).await?;
    assert_eq!(taken.object.data, desired.data);
    Ok(())
}

#[tokio::test]
async fn takes_over_once_more_after_a_rollback_to_the_former_program() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let desired: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"a": "1"}}), &namespace)?;
    let applied = apply_twice(&client, &desired, None).await?;
    let mut former = applied.object.clone();
    former.metadata.labels = Some([("old".to_owned(), "1".to_owned())].into());
    let former = api.replace("m", &params(MANAGER), &former).await?;
    assert_eq!(managers(&former), [(MANAGER, "Apply"), (MANAGER, "Update")]);

    let again = apply_twice(&client, &desired, Some(&former)).await?;
    assert_eq!(again.object.data, desired.data);
    assert!(again.object.labels().is_empty());
    assert_eq!(managers(&again.object), [(MANAGER, "Apply")]);
    Ok(())
}

#[tokio::test]
async fn changes_no_value_when_the_wanted_object_is_what_the_former_program_wrote() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let desired: Service = object(
        json!({
            "metadata": {"name": "s", "labels": {"a": "b"}},
            "spec": {"type": "ClusterIP", "selector": {"a": "b"}, "ports": [
                {"name": "kube-apiserver", "port": 6443, "protocol": "TCP", "targetPort": 6443},
            ]},
        }),
        &namespace,
    )?;
    let former = api.create(&params(MANAGER), &desired).await?;
    let taken = apply_twice(&client, &desired, Some(&former)).await?;
    assert_eq!(taken.object.spec, former.spec);
    Ok(())
}

#[tokio::test]
async fn takes_over_from_a_stale_view_of_the_object() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let former: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"gone": "1"}}), &namespace)?;
    let stale = api.create(&params(MANAGER), &former).await?;
    api.patch("m", &PatchParams::default(), &Patch::Merge(json!({"data": {"theirs": "1"}}))).await?;
    let desired: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"a": "1"}}), &namespace)?;
    let applier = applier(&client);
    let taken = applier.apply(&desired, Some(&stale)).await?.object;
    let keys: Vec<_> = taken.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "theirs"]);
    assert_eq!((applier.writes().migrate, applier.writes().apply), (1, 1));
    Ok(())
}

#[tokio::test]
async fn creates_anew_when_the_object_to_take_over_is_gone() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let desired: ConfigMap = object(json!({"metadata": {"name": "m"}, "data": {"a": "1"}}), &namespace)?;
    let former = api.create(&params(MANAGER), &desired).await?;
    applier(&client).delete(&former).await?;
    let created = apply_twice(&client, &desired, Some(&former)).await?;
    assert_eq!(created.outcome, Outcome::Created);
    Ok(())
}
