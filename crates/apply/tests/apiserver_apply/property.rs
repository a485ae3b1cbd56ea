//! Generated Deployments.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_apply::{Applied, Error, Outcome};
use kube::Client;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::{MANAGER, applier, apply_twice, object, place, rich};

const CASES: u32 = 48;

/// Fields that are dropped from the rich Deployment, by position among the fields that may go.
fn fragment() -> impl Strategy<Value = Value> {
    let replicas = proptest::option::of(0..5_i32);
    let quantities = select(vec!["1Gi", "1073741824", "0.5", "500m", "1e3", "1.5", "2000Mi", "0.1"]);
    (prop::collection::vec(any::<Index>(), 0..40), replicas, quantities, 0..3_usize, any::<bool>()).prop_map(
        |(drops, replicas, quantity, extra, shuffle)| {
            let mut deployment = rich::deployment();
            for drop in drops {
                let paths = removable(&deployment);
                remove(&mut deployment, &paths[drop.index(paths.len())]);
            }
            let spec = &mut deployment["spec"];
            if let Some(replicas) = replicas {
                spec["replicas"] = json!(replicas);
            }
            if let Some(containers) = spec["template"]["spec"]["containers"].as_array_mut() {
                for number in 0..extra {
                    containers.push(json!({
                        "name": format!("extra-{number}"), "image": "x",
                        "resources": {"limits": {"cpu": quantity}, "requests": {"cpu": "0.01"}},
                    }));
                }
                if shuffle {
                    containers.reverse();
                }
            }
            deployment
        },
    )
}

// What may go without making the object invalid: fields that nothing else refers to.
const OPTIONAL: [&str; 43] = [
    "affinity",
    "annotations",
    "args",
    "automountServiceAccountToken",
    "command",
    "enableServiceLinks",
    "env",
    "envFrom",
    "fsGroup",
    "hostAliases",
    "hostUsers",
    "hostname",
    "imagePullPolicy",
    "imagePullSecrets",
    "initContainers",
    "lifecycle",
    "limits",
    "livenessProbe",
    "minReadySeconds",
    "nodeSelector",
    "optional",
    "os",
    "paused",
    "postStart",
    "preStop",
    "readinessGates",
    "resizePolicy",
    "resources",
    "revisionHistoryLimit",
    "rollingUpdate",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "setHostnameAsFQDN",
    "startupProbe",
    "strategy",
    "subdomain",
    "sysctls",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tolerations",
    "topologySpreadConstraints",
    "workingDir",
];

fn removable(value: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            _ => vec![],
        };
        for (key, child) in children {
            path.push(key);
            if path.last().is_some_and(|key| OPTIONAL.contains(&key.as_str())) {
                found.push(path.clone());
            }
            walk(child, path, found);
            path.pop();
        }
    }
    let mut found = vec![];
    walk(value, &mut vec![], &mut found);
    // Never empty, so that an index always has something to point at.
    found.push(vec!["nothing".to_owned()]);
    found
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    });
    if let Some(Value::Object(map)) = parent {
        map.remove(last);
    }
}

/// Where two values differ, for people.
fn differing(left: &Value, right: &Value, path: &str, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let null = &Value::Null;
                let (left, right) = (one.get(key).unwrap_or(null), other.get(key).unwrap_or(null));
                differing(left, right, &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (left, right)) in one.iter().zip(other).enumerate() {
                differing(left, right, &format!("{path}/{index}"), found);
            }
        }
        // Of an object whose last field goes, the API server keeps nothing; one that is empty from the start stays.
        (Value::Null, Value::Object(other)) if other.is_empty() => {}
        (left, right) if left != right => found.push(format!("{path}: {left} {right}")),
        _ => {}
    }
}

fn owned(applied: &Applied<Deployment>) -> Vec<Value> {
    let entries = applied.object.metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref() == Some(MANAGER))
        .filter_map(|entry| entry.fields_v1.as_ref().map(|fields| fields.0.clone()))
        .collect()
}

/// Applies one after the other; each settles, and the second leaves no trace of the first. False when the API server
/// finds one of them invalid in itself.
async fn check(client: &Client, namespace: &str, first: Value, second: Value) -> Result<bool> {
    // A case that fails leaves its objects behind.
    static CASE: AtomicU32 = AtomicU32::new(0);
    let case = CASE.fetch_add(1, Ordering::Relaxed);
    let named = |json: &Value, name: &str| -> Result<Deployment> {
        let mut deployment: Deployment = object(json.clone(), namespace)?;
        deployment.metadata.name = Some(format!("{name}-{case}"));
        Ok(deployment)
    };
    let Some(fresh) = valid(apply_twice(client, &named(&second, "fresh")?, None).await)? else { return Ok(false) };
    let Some(created) = valid(apply_twice(client, &named(&first, "changed")?, None).await)? else { return Ok(false) };
    let changed = apply_twice(client, &named(&second, "changed")?, Some(&created.object)).await?;
    for applied in [&changed, &fresh] {
        applier(client).delete(&applied.object).await?;
    }
    ensure!(created.outcome == Outcome::Created, "{:?}", created.outcome);
    ensure!(owned(&changed) == owned(&fresh), "{:?} {:?}", owned(&changed), owned(&fresh));
    let mut different = vec![];
    differing(
        &serde_json::to_value(&changed.object.spec)?,
        &serde_json::to_value(&fresh.object.spec)?,
        "",
        &mut different,
    );
    ensure!(different.is_empty(), "changed, fresh: {different:#?}");
    Ok(true)
}

fn valid(applied: Result<Applied<Deployment>>) -> Result<Option<Applied<Deployment>>> {
    match applied {
        Err(error) if error.downcast_ref().is_some_and(|error: &Error| error.category() == "invalid") => Ok(None),
        other => other.map(Some),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_deployments_settle_and_leave_no_trace_of_what_was_before() -> Result<()> {
    let (client, namespace) = place().await?;
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
        TestRunner::new(config).run(&(fragment(), fragment()), |(first, second)| {
            match runtime.block_on(check(&client, &namespace, first, second)) {
                Ok(true) => Ok(()),
                Ok(false) => Err(TestCaseError::reject("invalid in itself")),
                Err(error) => Err(TestCaseError::fail(error.to_string())),
            }
        })
    };
    tokio::task::spawn_blocking(run).await?.map_err(|error| anyhow::anyhow!("{error}"))
}
