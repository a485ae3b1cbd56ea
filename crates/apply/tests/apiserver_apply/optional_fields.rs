//! For every optional field: set it, remove it, see it gone.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kamaji_apply::Outcome;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{applier, apply_twice, assert_settled, object, place, rich, trimmed};

/// What the API server made of the removals.
#[derive(Default)]
struct Removals {
    gone: usize,
    /// The API server leaves out the value from the start.
    dropped: Vec<String>,
    /// Refused: the object is not valid without the field.
    required: Vec<String>,
    /// The field came back, without an owner: the value is also the default, or was allocated.
    kept: Vec<String>,
    /// The API server drops or adds something without which the rest makes no sense: a new process applies once more,
    /// which changes nothing.
    remembered: Vec<String>,
}

/// JSON pointers of every field and every list item below `value`.
fn pointers(value: &Value, prefix: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => vec![],
    };
    for (key, child) in children.into_iter().filter(|(_, child)| !child.is_null()) {
        let pointer = format!("{prefix}/{key}");
        pointers(child, &pointer, found);
        found.push(pointer);
    }
}

fn without(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a parent");
    let key = key.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent).expect("the parent is there") {
        Value::Object(map) => drop(map.remove(&key)),
        Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
        _ => unreachable!("a scalar has no children"),
    }
    value
}

/// The value itself for a field, the number of items for a list item.
fn shape(value: &Value, pointer: &str) -> Option<Value> {
    let (parent, _) = pointer.rsplit_once('/')?;
    match value.pointer(parent) {
        Some(Value::Array(items)) => Some(items.len().into()),
        _ => value.pointer(pointer).cloned(),
    }
}

async fn remove_each<K>(rich: &Value) -> Result<Removals>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq,
{
    let (client, namespace) = place().await?;
    let full: K = object(rich.clone(), &namespace)?;
    let mut all = vec![];
    pointers(rich, "", &mut all);
    all.retain(|pointer| pointer != "/metadata" && pointer != "/metadata/name");
    let mut live = apply_twice(&client, &full, None).await?.object;
    let mut removals = Removals::default();
    for pointer in all {
        let Ok(desired) = object::<K>(without(rich, &pointer), &namespace) else {
            removals.required.push(pointer);
            continue;
        };
        let before = shape(&serde_json::to_value(&live)?, &pointer);
        if before.is_none() {
            removals.dropped.push(pointer);
            continue;
        }
        let applier = applier(&client);
        let reduced = match applier.apply(&desired, Some(&trimmed(&live))).await {
            Ok(reduced) => reduced,
            Err(error) if error.category() == "invalid" => {
                removals.required.push(pointer);
                continue;
            }
            Err(error) => return Err(error).context(pointer),
        };
        ensure!(reduced.outcome == Outcome::Patched, "{pointer}: {:?}", reduced.outcome);
        let again = applier.apply(&desired, Some(&trimmed(&reduced.object))).await?;
        ensure!(again.outcome == Outcome::Unchanged && applier.writes().apply == 1, "{pointer}: applied twice");
        if assert_settled(&client, &desired, &reduced.object).await.is_err() {
            removals.remembered.push(pointer.clone());
        }
        if shape(&serde_json::to_value(&reduced.object)?, &pointer) == before {
            removals.kept.push(pointer);
        } else {
            removals.gone += 1;
        }
        live = apply_twice(&client, &full, Some(&reduced.object)).await?.object;
    }
    Ok(removals)
}

#[tokio::test]
async fn every_field_of_a_config_map_goes() -> Result<()> {
    let removals = remove_each::<ConfigMap>(&rich::config_map()).await?;
    assert!(removals.required.iter().all(|pointer| pointer.contains("ownerReferences/")), "{:?}", removals.required);
    assert_eq!((removals.gone, removals.required.len()), (21, 8));
    assert_eq!((removals.kept.len(), removals.remembered.len(), removals.dropped.len()), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn every_field_of_a_secret_goes_but_the_default_type() -> Result<()> {
    let removals = remove_each::<Secret>(&rich::secret()).await?;
    assert_eq!((removals.gone, removals.required.len()), (7, 0));
    assert_eq!(removals.kept, ["/type"]);
    assert_eq!((removals.remembered.len(), removals.dropped.len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn every_field_of_a_service_goes_but_the_default_protocol() -> Result<()> {
    let removals = remove_each::<Service>(&rich::service()).await?;
    assert!(removals.gone >= 30, "{}", removals.gone);
    assert_eq!(removals.kept, ["/spec/ports/0/protocol"]);
    // The API server drops the configuration without the affinity, and completes an empty one.
    assert!(removals.remembered.iter().all(|pointer| pointer.contains("sessionAffinity")), "{:?}", removals.remembered);
    assert_eq!(removals.dropped.len(), 0);
    Ok(())
}

#[tokio::test]
async fn every_field_of_a_deployment_goes_but_defaults() -> Result<()> {
    let removals = Box::pin(remove_each::<Deployment>(&rich::deployment())).await?;
    assert!(removals.gone >= 300, "{}, refused: {:#?}", removals.gone, removals.required);
    assert_eq!(
        removals.kept,
        [
            "/spec/strategy/type",
            "/spec/template/spec/containers/0/ports/0/protocol",
            "/spec/template/spec/volumes/1/emptyDir"
        ]
    );
    // An empty map in a value that is owned whole.
    assert!(removals.remembered.iter().all(|pointer| pointer.contains("/matchLabels/")), "{:?}", removals.remembered);
    assert_eq!(removals.dropped, ["/spec/template/spec/containers/0/env/1/value"]);
    Ok(())
}
