//! Create, change, leave alone, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kamaji_apply::{Created, Deleted, Fence, FenceLost, Outcome};
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::{MANAGER, applier, apply_twice, assert_settled, object, place};

fn config_map(namespace: &str, data: &[(&str, &str)]) -> Result<ConfigMap> {
    let data: BTreeMap<_, _> = data.iter().copied().collect();
    object(json!({"metadata": {"name": "settings"}, "data": data}), namespace)
}

#[tokio::test]
async fn creates_then_leaves_alone_then_patches() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let first = config_map(&namespace, &[("a", "1")])?;
    let created = applier.apply(&first, None).await?;
    assert_eq!(created.outcome, Outcome::Created);

    let again = applier.apply(&first, Some(&created.object)).await?;
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(applier.writes().apply, 1);

    let second = config_map(&namespace, &[("a", "2")])?;
    let patched = applier.apply(&second, Some(&again.object)).await?;
    assert_eq!(patched.outcome, Outcome::Patched);
    assert_eq!(patched.object.data, second.data);
    assert_settled(&client, &second, &patched.object).await
}

#[tokio::test]
async fn finds_an_existing_object_that_the_caller_did_not_know() -> Result<()> {
    let (client, namespace) = place().await?;
    let desired = config_map(&namespace, &[("a", "1")])?;
    let first = applier(&client).apply(&desired, None).await?;
    let second = applier(&client).apply(&desired, None).await?;
    assert_eq!(second.outcome, Outcome::Patched);
    assert_eq!(second.object.resource_version(), first.object.resource_version());
    Ok(())
}

#[tokio::test]
async fn writes_cluster_scoped_objects() -> Result<()> {
    let (client, namespace) = place().await?;
    let desired: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace, "labels": {"a": "b"}}}))?;
    let applied = apply_twice(&client, &desired, None).await?;
    assert_eq!(applied.object.labels()["a"], "b");
    Ok(())
}

#[tokio::test]
async fn keeps_foreign_labels_and_takes_back_its_own() -> Result<()> {
    let (client, namespace) = place().await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let desired: ConfigMap =
        object(json!({"metadata": {"name": "settings", "labels": {"ours": "1"}}, "data": {"a": "1"}}), &namespace)?;
    apply_twice(&client, &desired, None).await?;
    let edit = json!({"metadata": {"labels": {"ours": "2", "theirs": "x"}}, "data": {"a": null}});
    let edited = api.patch("settings", &PatchParams::default(), &Patch::Merge(edit)).await?;

    let healed = apply_twice(&client, &desired, Some(&edited)).await?;
    assert_eq!(healed.outcome, Outcome::Patched);
    assert_eq!(healed.object.labels(), &BTreeMap::from([("ours".into(), "1".into()), ("theirs".into(), "x".into())]));
    assert_eq!(healed.object.data, desired.data);

    let without: ConfigMap = object(json!({"metadata": {"name": "settings"}, "data": {"a": "1"}}), &namespace)?;
    let removed = apply_twice(&client, &without, Some(&healed.object)).await?;
    assert_eq!(removed.object.labels(), &BTreeMap::from([("theirs".into(), "x".into())]));
    Ok(())
}

#[tokio::test]
async fn compares_quantities_by_value_and_sees_a_real_change() -> Result<()> {
    let (client, namespace) = place().await?;
    let deployment = |memory: &str, cpu: &str| -> Result<Deployment> {
        object(
            json!({
                "metadata": {"name": "quantities"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {
                        "containers": [{
                            "name": "c", "image": "i",
                            "resources": {"limits": {"memory": memory, "cpu": cpu}, "requests": {"memory": memory}},
                        }],
                        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": memory}}],
                    },
                }},
            }),
            &namespace,
        )
    };
    let applied = apply_twice(&client, &deployment("1073741824", "0.5")?, None).await?;
    assert_settled(&client, &deployment("1Gi", "500m")?, &applied.object).await?;
    let changed = apply_twice(&client, &deployment("2Gi", "500m")?, Some(&applied.object)).await?;
    assert_eq!(changed.outcome, Outcome::Patched);
    Ok(())
}

#[tokio::test]
async fn follows_the_wanted_order_of_init_containers() -> Result<()> {
    let (client, namespace) = place().await?;
    let deployment = |names: [&str; 2]| -> Result<Deployment> {
        let init: Vec<_> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        object(
            json!({
                "metadata": {"name": "order"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"initContainers": init, "containers": [{"name": "c", "image": "i"}]},
                }},
            }),
            &namespace,
        )
    };
    let first = apply_twice(&client, &deployment(["a", "b"])?, None).await?;
    let second = apply_twice(&client, &deployment(["b", "a"])?, Some(&first.object)).await?;
    assert_eq!(second.outcome, Outcome::Patched);
    let template = second.object.spec.and_then(|spec| spec.template.spec);
    let names: Vec<_> =
        template.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    Ok(())
}

#[tokio::test]
async fn replaces_a_default_that_forbids_the_change() -> Result<()> {
    let (client, namespace) = place().await?;
    let deployment = |strategy: &str, replicas: i32| -> Result<Deployment> {
        object(
            json!({
                "metadata": {"name": "strategy"},
                "spec": {"strategy": {"type": strategy}, "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
            }),
            &namespace,
        )
    };
    let rolling = apply_twice(&client, &deployment("RollingUpdate", 1)?, None).await?;
    let recreate = apply_twice(&client, &deployment("Recreate", 1)?, Some(&rolling.object)).await?;
    let strategy = recreate.object.spec.clone().and_then(|spec| spec.strategy).unwrap_or_default();
    assert_eq!((strategy.type_.as_deref(), strategy.rolling_update), (Some("Recreate"), None));
    // A wish that is invalid in itself stays refused; what stands in its way is looked for once.
    let applier = applier(&client);
    let mut live = recreate.object;
    for migrations in [1, 1] {
        let error = applier.apply(&deployment("Recreate", -1)?, Some(&live)).await.unwrap_err();
        assert_eq!((error.category(), applier.writes().migrate), ("invalid", migrations));
        live = Api::<Deployment>::namespaced(client.clone(), &namespace).get("strategy").await?;
    }
    Ok(())
}

#[tokio::test]
async fn adds_a_service_port_whose_protocol_is_defaulted() -> Result<()> {
    let (client, namespace) = place().await?;
    let service = |ports: serde_json::Value| -> Result<Service> {
        object(json!({"metadata": {"name": "ports"}, "spec": {"ports": ports}}), &namespace)
    };
    let one = service(json!([{"name": "a", "port": 1}]))?;
    let applied = apply_twice(&client, &one, None).await?;
    let two = service(json!([{"name": "a", "port": 1}, {"name": "u", "port": 1, "protocol": "UDP"}]))?;
    let applied = apply_twice(&client, &two, Some(&applied.object)).await?;
    let applied = apply_twice(&client, &one, Some(&applied.object)).await?;
    assert_eq!(applied.object.spec.and_then(|spec| spec.ports).map(|ports| ports.len()), Some(1));
    Ok(())
}

#[tokio::test]
async fn creates_once_when_many_try_at_the_same_time() -> Result<()> {
    let (client, namespace) = place().await?;
    let attempts = (0..8).map(|number| {
        let applier = applier(&client);
        let namespace = &namespace;
        async move {
            let data = json!({"tls.key": k8s_openapi::ByteString(vec![number])});
            let secret: Secret = object(json!({"metadata": {"name": "ca"}, "data": data}), namespace)?;
            Ok::<_, anyhow::Error>(applier.create_if_absent(&secret).await?)
        }
    });
    let outcomes = futures::future::try_join_all(attempts).await?;
    let new = outcomes.iter().filter(|outcome| matches!(outcome, Created::New(_))).count();
    assert_eq!(new, 1);
    let bytes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.into_object().data).collect();
    assert!(bytes.iter().all(|data| *data == bytes[0]), "{bytes:?}");
    Ok(())
}

#[tokio::test]
async fn applies_labels_to_a_created_object_without_touching_its_data() -> Result<()> {
    let (client, namespace) = place().await?;
    let secret: Secret = object(json!({"metadata": {"name": "ca"}, "data": {"tls.key": "a2V5"}}), &namespace)?;
    let created = applier(&client).create_if_absent(&secret).await?.into_object();
    let labels: Secret = object(json!({"metadata": {"name": "ca", "labels": {"a": "b"}}}), &namespace)?;
    let applied = apply_twice(&client, &labels, Some(&created)).await?;
    assert_eq!(applied.object.data, secret.data);
    Ok(())
}

#[tokio::test]
async fn deletes_exactly_the_object_it_was_given() -> Result<()> {
    let (client, namespace) = place().await?;
    let applier = applier(&client);
    let desired = config_map(&namespace, &[("a", "1")])?;
    let first = applier.apply(&desired, None).await?.object;
    assert_eq!(applier.delete(&first).await?, Deleted::Accepted);
    assert_eq!(applier.delete(&first).await?, Deleted::Gone);

    let successor = applier.apply(&desired, None).await?;
    assert_eq!(successor.outcome, Outcome::Created);
    assert_eq!(applier.delete(&first).await?, Deleted::Gone);
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    assert_eq!(api.get("settings").await?.uid(), successor.object.uid());
    Ok(())
}

/// Lost from the start, or in the middle of a write.
struct Lost {
    check: Result<(), FenceLost>,
}

impl Fence for Lost {
    fn check(&self) -> Result<(), FenceLost> {
        self.check
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

#[tokio::test]
async fn writes_nothing_behind_a_lost_fence() -> Result<()> {
    let (client, namespace) = place().await?;
    let desired = config_map(&namespace, &[("a", "1")])?;
    let before = applier(&client).with_fence(Arc::new(Lost { check: Err(FenceLost) }));
    let error = before.apply(&desired, None).await.unwrap_err();
    assert_eq!((error.category(), before.writes().total()), ("fenced", 0));

    let during = applier(&client).with_fence(Arc::new(Lost { check: Ok(()) }));
    let error = during.apply(&desired, None).await.unwrap_err();
    assert_eq!(error.category(), "fenced");
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    assert!(api.get_opt("settings").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn names_object_and_category_when_the_server_refuses() -> Result<()> {
    let (client, namespace) = place().await?;
    let invalid: ConfigMap = object(json!({"metadata": {"name": "x", "labels": {"a": "not valid!"}}}), &namespace)?;
    let error = applier(&client).apply(&invalid, None).await.unwrap_err();
    assert_eq!(error.category(), "invalid");
    assert!(error.to_string().contains(&format!("could not apply ConfigMap {namespace}/x")), "{error}");

    let homeless = config_map("no-such-namespace", &[])?;
    assert_eq!(applier(&client).apply(&homeless, None).await.unwrap_err().category(), "not-found");
    Ok(())
}

#[tokio::test]
async fn records_its_manager_and_operation() -> Result<()> {
    let (client, namespace) = place().await?;
    let applied = applier(&client).apply(&config_map(&namespace, &[("a", "1")])?, None).await?;
    let entries: Vec<_> = applied
        .object
        .meta()
        .managed_fields
        .iter()
        .flatten()
        .map(|entry| (entry.manager.as_deref(), entry.operation.as_deref()))
        .collect();
    assert_eq!(entries, [(Some(MANAGER), Some("Apply"))]);
    Ok(())
}
