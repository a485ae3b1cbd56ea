//! Kinds whose defaults sit in places of their own, and custom resources.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kamaji_apply::Outcome;
use kamaji_testkit::api_server::ApiServer;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{applier, apply_twice, object, place, rich};

#[tokio::test]
async fn built_in_kinds_are_left_alone_once_applied() -> Result<()> {
    let (client, namespace) = place().await?;
    apply_twice(&client, &object::<DaemonSet>(rich::daemon_set(), &namespace)?, None).await?;
    apply_twice(&client, &object::<StatefulSet>(rich::stateful_set(), &namespace)?, None).await?;
    apply_twice(&client, &object::<ServiceAccount>(rich::service_account(), &namespace)?, None).await?;
    apply_twice(&client, &object::<RoleBinding>(rich::role_binding(), &namespace)?, None).await?;
    apply_twice(&client, &object::<Role>(rich::role(), &namespace)?, None).await?;
    apply_twice(&client, &object::<NetworkPolicy>(rich::network_policy(), &namespace)?, None).await?;
    apply_twice(&client, &object::<Ingress>(rich::ingress(), &namespace)?, None).await?;
    apply_twice(&client, &object::<PodDisruptionBudget>(rich::pod_disruption_budget(), &namespace)?, None).await?;
    let mut webhook: ValidatingWebhookConfiguration = serde_json::from_value(rich::webhook())?;
    webhook.metadata.name = Some(namespace);
    apply_twice(&client, &webhook, None).await?;
    Ok(())
}

/// Options are written as null when unset, as some generated types do.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(group = "apply.test", version = "v1", kind = "Nested", plural = "nesteds", namespaced)]
#[kube(derive = "PartialEq", status = "NestedStatus")]
#[serde(rename_all = "camelCase")]
struct NestedSpec {
    text: Option<String>,
    number: Option<i64>,
    float: Option<f64>,
    list: Option<Vec<String>>,
    map: Option<BTreeMap<String, String>>,
    maps: Option<BTreeMap<String, Inner>>,
    items: Option<Vec<Inner>>,
    inner: Option<Inner>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
struct Inner {
    flag: Option<bool>,
    name: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
struct NestedStatus {
    seen: Option<i64>,
}

/// Its definition in the API server may be an older one.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(group = "apply.test", version = "v1", kind = "Grown", plural = "growns", namespaced)]
#[kube(derive = "PartialEq", status = "GrownStatus")]
struct GrownSpec {}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
struct GrownStatus {
    seen: Option<i64>,
    added: Option<Vec<String>>,
}

#[tokio::test]
async fn a_status_that_an_older_definition_prunes_is_sent_once() -> Result<()> {
    let (client, namespace) = place().await?;
    let mut crd = Grown::crd();
    let schema = crd.spec.versions[0].schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()).unwrap();
    let status = schema.properties.as_mut().unwrap().get_mut("status").unwrap();
    status.properties.as_mut().unwrap().remove("added").unwrap();
    ApiServer::shared().await?.install_crds(&[crd]).await?;
    let grown = |status: &serde_json::Value| {
        object::<Grown>(
            json!({
                "apiVersion": "apply.test/v1", "kind": "Grown", "metadata": {"name": "g"}, "spec": {}, "status": status,
            }),
            &namespace,
        )
    };
    let applier = applier(&client);
    let live = applier.apply(&grown(&json!(null))?, None).await?.object;
    let desired = grown(&json!({"seen": 1, "added": ["a"]}))?;
    let kept = applier.apply_status(&desired, &live).await?;
    assert_eq!(kept.outcome, Outcome::Patched);
    assert_eq!(kept.object.status, Some(GrownStatus { seen: Some(1), added: None }));
    assert_eq!(applier.apply_status(&desired, &kept.object).await?.outcome, Outcome::Unchanged);
    assert_eq!(applier.writes().status, 1);

    // Another wish is sent, and that once too.
    let more = grown(&json!({"seen": 1, "added": ["a", "b"]}))?;
    for _ in 0..2 {
        applier.apply_status(&more, &kept.object).await?;
        assert_eq!(applier.writes().status, 2);
    }
    // So is the same wish after somebody changed the object.
    let edited = applier.apply_status(&grown(&json!({"seen": 5}))?, &kept.object).await?.object;
    let mended = applier.apply_status(&more, &edited).await?.object;
    assert_eq!(mended.status, kept.object.status);
    applier.apply_status(&more, &mended).await?;
    assert_eq!(applier.writes().status, 4);

    // Of an outdated object it cannot be told what the API server would keep.
    applier.apply_status(&grown(&json!({"seen": 5}))?, &mended).await?;
    let last = grown(&json!({"seen": 1, "added": ["c"]}))?;
    let beside = applier.apply_status(&last, &mended).await?.object;
    assert_eq!(beside.status, Some(GrownStatus { seen: Some(5), added: None }));
    assert_eq!(applier.apply_status(&last, &beside).await?.object.status, kept.object.status);
    Ok(())
}

#[tokio::test]
async fn every_field_of_a_custom_resource_goes() -> Result<()> {
    let (client, namespace) = place().await?;
    ApiServer::shared().await?.install_crds(&[Nested::crd()]).await?;
    let full = json!({
        "text": "t", "number": 3, "float": 1.5, "list": ["a", "b"], "map": {"k": "v", "l": "w"},
        "maps": {"x": {"flag": false, "name": "n"}, "y": {}}, "items": [{"flag": true}, {"name": ""}],
        "inner": {"flag": false, "name": "i"},
    });
    let nested = |spec: &serde_json::Value| {
        object::<Nested>(
            json!({"apiVersion": "apply.test/v1", "kind": "Nested", "metadata": {"name": "n"}, "spec": spec}),
            &namespace,
        )
    };
    let mut live = apply_twice(&client, &nested(&full)?, None).await?.object;
    assert_eq!(serde_json::to_value(&live.spec)?["float"], 1.5);
    for key in ["text", "number", "float", "list", "map", "maps", "items", "inner"] {
        let mut less = full.clone();
        less[key].take();
        let reduced = apply_twice(&client, &nested(&less)?, Some(&live)).await?;
        assert_eq!(reduced.outcome, Outcome::Patched, "{key}");
        assert!(serde_json::to_value(&reduced.object.spec)?[key].is_null(), "{key}");
        live = apply_twice(&client, &nested(&full)?, Some(&reduced.object)).await?.object;
    }
    for (pointer, value) in [("/maps/y", json!(null)), ("/items", json!([{"flag": true}])), ("/float", json!(2.0))] {
        let mut changed = full.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        if let Some(maps) = changed["maps"].as_object_mut() {
            maps.retain(|_, value| !value.is_null());
        }
        let reduced = apply_twice(&client, &nested(&changed)?, Some(&live)).await?;
        assert_eq!(reduced.outcome, Outcome::Patched, "{pointer}");
        assert_eq!(reduced.object.spec, nested(&changed)?.spec, "{pointer}");
        live = reduced.object;
    }
    Ok(())
}
