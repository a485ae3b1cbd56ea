//! Status, finalizers, annotations, Events.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1;
use kamaji_apply::{Event, EventType, Outcome};
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::{applier, apply_twice, object, place};

fn deployment(namespace: &str, status: &Value) -> Result<Deployment> {
    object(
        json!({
            "metadata": {"name": "d"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
            }},
            "status": status,
        }),
        namespace,
    )
}

#[tokio::test]
async fn writes_a_status_once_and_removes_what_goes() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let live = applier.apply(&deployment(&namespace, &json!({}))?, None).await?.object;
    let full = deployment(
        &namespace,
        &json!({"replicas": 2, "readyReplicas": 1, "conditions": [
            {"type": "Available", "status": "True", "reason": "Tested", "message": "yes"},
        ]}),
    )?;
    let first = applier.apply_status(&full, &live).await?;
    assert_eq!(first.outcome, Outcome::Patched);
    assert_eq!(applier.apply_status(&full, &first.object).await?.outcome, Outcome::Unchanged);
    assert_eq!(applier.writes().status, 1);

    let less = deployment(&namespace, &json!({"replicas": 2}))?;
    let second = applier.apply_status(&less, &first.object).await?.object;
    let status = second.status.clone().unwrap_or_default();
    assert_eq!((status.replicas, status.ready_replicas, status.conditions), (Some(2), None, None));

    apply_twice(&client, &deployment(&namespace, &json!({"replicas": 9}))?, Some(&second)).await?;
    let api: Api<Deployment> = Api::namespaced(client, &namespace);
    assert_eq!(api.get("d").await?.status.and_then(|status| status.replicas), Some(2));
    Ok(())
}

#[tokio::test]
async fn refuses_the_status_of_a_predecessor() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let desired = deployment(&namespace, &json!({"replicas": 2}))?;
    let old = applier.apply(&desired, None).await?.object;
    applier.delete(&old).await?;
    applier.apply(&desired, None).await?;
    let error = applier.apply_status(&desired, &old).await.unwrap_err();
    assert_eq!(error.category(), "conflict", "{error}");
    Ok(())
}

#[tokio::test]
async fn sets_finalizers_only_on_what_it_saw() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let desired: ConfigMap = object(json!({"metadata": {"name": "f"}}), &namespace)?;
    let live = applier.apply(&desired, None).await?.object;
    let set = applier.set_finalizers(&live, vec!["example.com/a".to_owned()]).await?;
    assert_eq!(set.finalizers(), ["example.com/a"]);
    applier.set_finalizers(&set, vec!["example.com/a".to_owned()]).await?;
    assert_eq!(applier.writes().patch, 1);

    let error = applier.set_finalizers(&live, vec!["example.com/b".to_owned()]).await.unwrap_err();
    assert_eq!(error.category(), "conflict", "{error}");
    // What apply does not state stays: it does not own it.
    let again = apply_twice(&client, &desired, Some(&set)).await?;
    assert_eq!(again.object.finalizers(), ["example.com/a"]);
    assert!(applier.set_finalizers(&set, vec![]).await?.finalizers().is_empty());
    Ok(())
}

#[tokio::test]
async fn annotates_beside_the_applied_fields() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let desired: ConfigMap =
        object(json!({"metadata": {"name": "a", "annotations": {"ours": "1"}}, "data": {"k": "v"}}), &namespace)?;
    let live = applier.apply(&desired, None).await?.object;
    let change = |value: Option<&str>| BTreeMap::from([("note".to_owned(), value.map(str::to_owned))]);
    let noted = applier.annotate(&live, change(Some("x"))).await?;
    assert_eq!(noted.annotations()["note"], "x");
    applier.annotate(&noted, change(Some("x"))).await?;
    applier.annotate(&live, change(None)).await?;
    assert_eq!(applier.writes().patch, 1);

    let again = apply_twice(&client, &desired, Some(&noted)).await?;
    assert_eq!(again.outcome, Outcome::Unchanged);
    let cleared = applier.annotate(&noted, change(None)).await?;
    assert_eq!(cleared.annotations(), &BTreeMap::from([("ours".to_owned(), "1".to_owned())]));
    Ok(())
}

#[tokio::test]
async fn publishes_an_event_that_describe_finds() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let subject = applier.apply(&object::<ConfigMap>(json!({"metadata": {"name": "s"}}), &namespace)?, None).await?;
    let event = Event {
        type_: EventType::Warning,
        reason: "Degraded".to_owned(),
        action: "Reconcile".to_owned(),
        note: "the key is gone".to_owned(),
    };
    applier.publish_event(&event, subject.object.object_ref(&()), "kamaji-0").await?;
    let api: Api<v1::Event> = Api::namespaced(client, &namespace);
    let uid = subject.object.uid().unwrap_or_default();
    let found = api.list(&ListParams::default().fields(&format!("regarding.uid={uid}"))).await;
    let found = match found {
        Ok(found) => found,
        Err(_) => api.list(&ListParams::default()).await?,
    };
    let event = &found.items[0];
    assert_eq!(event.note.as_deref(), Some("the key is gone"));
    assert_eq!(event.reporting_controller.as_deref(), Some("kamaji"));
    assert_eq!(event.regarding.as_ref().and_then(|subject| subject.uid.clone()), Some(uid));
    assert_eq!(applier.writes().event, 1);
    Ok(())
}
