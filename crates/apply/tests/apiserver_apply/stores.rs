//! Watch caches.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kamaji_apply::store::{self, Error};
use kamaji_testkit::api_server::{ApiServer, Options};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{MANAGER, applier, object, place};

type Events<K> = BoxStream<'static, Result<Event<K>, Error>>;

async fn next<K>(events: &mut Events<K>) -> Result<Event<K>> {
    Ok(events.next().await.context("the stream ended")??)
}

async fn until_listed<K>(events: &mut Events<K>) -> Result<()> {
    while !matches!(next(events).await?, Event::InitDone) {}
    Ok(())
}

/// A streamed list may be some milliseconds old. Gives the names of the malformed objects met on the way.
async fn until<K>(events: &mut Events<K>, complete: impl Fn() -> bool) -> Result<BTreeSet<String>> {
    let mut malformed = BTreeSet::new();
    let mut listed = false;
    while !listed || !complete() {
        match events.next().await.context("the stream ended")? {
            Ok(event) => listed |= matches!(event, Event::InitDone),
            Err(Error::Malformed { name, .. }) => drop(malformed.insert(name)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(malformed)
}

#[tokio::test]
async fn keeps_what_the_skip_rule_needs_and_nothing_more() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let desired: ConfigMap =
        object(json!({"metadata": {"name": "kept", "labels": {"watched": "yes"}}, "data": {"a": "1"}}), &namespace)?;
    applier.apply(&desired, None).await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let edit = json!({"metadata": {"annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "theirs": "x",
    }}});
    api.patch("kept", &PatchParams::default(), &Patch::Merge(edit)).await?;
    applier.apply(&object::<ConfigMap>(json!({"metadata": {"name": "ignored"}}), &namespace)?, None).await?;

    let guarded = Api::namespaced(client.clone(), &namespace);
    let (store, mut events) = store::watch::<ConfigMap>(guarded, Some("watched=yes"), MANAGER);
    let get = || store.get(&ObjectRef::new("kept").within(&namespace));
    until(&mut events, || get().is_some_and(|kept| kept.annotations().contains_key("theirs"))).await?;
    assert_eq!(store.len(), 1);
    let kept = get().context("not in the store")?;
    assert_eq!(kept.managed_fields().len(), 1);
    assert_eq!(kept.annotations().keys().collect::<Vec<_>>(), ["theirs"]);
    applier.apply(&desired, Some(&kept)).await?;
    assert_eq!(applier.writes().apply, 2);

    let changed: ConfigMap =
        object(json!({"metadata": {"name": "kept", "labels": {"watched": "yes"}}, "data": {"a": "2"}}), &namespace)?;
    applier.apply(&changed, Some(&kept)).await?;
    assert!(matches!(next(&mut events).await?, Event::Apply(object) if object.data == changed.data));
    let kept = get().context("not in the store")?;
    assert_eq!(kept.data, changed.data);
    applier.delete(kept.as_ref()).await?;
    assert!(matches!(next(&mut events).await?, Event::Delete(_)));
    assert!(store.is_empty());
    Ok(())
}

#[tokio::test]
async fn lists_in_pages_where_the_server_cannot_stream_the_list() -> Result<()> {
    let options = Options { extra_args: vec!["--feature-gates=WatchList=false".to_owned()], ..Options::default() };
    let server = ApiServer::start_with(options).await?;
    let (client, namespace) = (server.client()?, server.namespace().await?);
    applier(&client).apply(&object::<ConfigMap>(json!({"metadata": {"name": "a"}}), &namespace)?, None).await?;
    let (store, mut events) = store::watch::<ConfigMap>(Api::namespaced(client, &namespace), None, MANAGER);
    until_listed(&mut events).await?;
    assert_eq!(store.len(), 1);
    Ok(())
}

#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(group = "apply.test", version = "v1", kind = "Sample", plural = "samples", namespaced)]
struct SampleSpec {
    number: i64,
}

// Laxer than the type, as when somebody changes the definition.
fn definition() -> Result<CustomResourceDefinition> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "samples.apply.test"},
        "spec": {
            "group": "apply.test", "scope": "Namespaced",
            "names": {"kind": "Sample", "plural": "samples", "singular": "sample"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    }))?)
}

#[tokio::test]
async fn serves_all_others_while_one_object_is_malformed() -> Result<()> {
    let (client, namespace) = place().await?;
    ApiServer::shared().await?.install_crds(&[definition()?]).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apply.test", "v1", "Sample"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    let sample = |name: &str, number: serde_json::Value| {
        DynamicObject::new(name, &kind).data(json!({"spec": {"number": number}}))
    };
    api.create(&PostParams::default(), &sample("bad", json!("text"))).await?;
    api.create(&PostParams::default(), &sample("good", json!(1))).await?;

    let (store, mut events) = store::watch::<Sample>(Api::namespaced(client, &namespace), None, MANAGER);
    // Served in the order of creation.
    let malformed = until(&mut events, || !store.is_empty()).await?;
    assert_eq!(malformed, BTreeSet::from(["bad".to_owned()]));
    assert_eq!(store.state().iter().map(|sample| sample.name_any()).collect::<Vec<_>>(), ["good"]);

    // A good object goes bad, and is deleted in that state.
    let merge = Patch::Merge(json!({"spec": {"number": "text"}}));
    api.patch("good", &PatchParams::default(), &merge).await?;
    let error = events.next().await.context("the stream ended")?.unwrap_err();
    assert_eq!(error.category(), "malformed");
    assert_eq!(store.len(), 1);
    api.delete("good", &kube::api::DeleteParams::default()).await?;
    assert!(matches!(next(&mut events).await?, Event::Delete(sample) if sample.name_any() == "good"));
    assert!(store.is_empty());

    let merge = Patch::Merge(json!({"spec": {"number": 2}}));
    api.patch("bad", &PatchParams::default(), &merge).await?;
    assert!(matches!(next(&mut events).await?, Event::Apply(sample) if sample.spec.number == 2));
    Ok(())
}
