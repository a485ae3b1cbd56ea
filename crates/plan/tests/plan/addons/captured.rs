//! Addons that the Go operator installed, where these are present: whoever takes a tenant over changes nothing of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{added, id};
use crate::golden;

/// What the API server adds by itself, by the path without list indices.
const DEFAULTED: &[&str] = &[
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.resourceVersion",
    "metadata.uid",
    "spec.internalTrafficPolicy",
    "spec.progressDeadlineSeconds",
    "spec.revisionHistoryLimit",
    "spec.sessionAffinity",
    "spec.strategy",
    "spec.strategy.rollingUpdate.maxSurge",
    "spec.template.spec.containers.env.valueFrom.fieldRef.apiVersion",
    "spec.template.spec.containers.imagePullPolicy",
    "spec.template.spec.containers.livenessProbe.failureThreshold",
    "spec.template.spec.containers.livenessProbe.periodSeconds",
    "spec.template.spec.containers.livenessProbe.successThreshold",
    "spec.template.spec.containers.readinessProbe.failureThreshold",
    "spec.template.spec.containers.readinessProbe.periodSeconds",
    "spec.template.spec.containers.readinessProbe.successThreshold",
    "spec.template.spec.containers.readinessProbe.timeoutSeconds",
    "spec.template.spec.containers.resources",
    "spec.template.spec.containers.terminationMessagePath",
    "spec.template.spec.containers.terminationMessagePolicy",
    "spec.template.spec.dnsPolicy",
    "spec.template.spec.restartPolicy",
    "spec.template.spec.schedulerName",
    "spec.template.spec.securityContext",
    "spec.template.spec.serviceAccount",
    "spec.template.spec.terminationGracePeriodSeconds",
    "spec.template.spec.volumes.configMap.defaultMode",
    "spec.template.spec.volumes.hostPath.type",
    "spec.template.spec.volumes.projected.defaultMode",
    "spec.type",
    "spec.updateStrategy.rollingUpdate",
    "status",
];

/// What the Go operator writes and we do not.
const LEFT_OUT: &[&str] = &[
    // What is not planned any more is found by its label.
    "metadata.ownerReferences",
];

/// Appends the paths in `theirs` that `ours` does not have, and fails where both have another value.
fn beyond(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys() {
                assert!(theirs.contains_key(key), "{path}.{key} is only ours: {}", ours[key]);
            }
            for (key, value) in theirs {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match ours.get(key) {
                    Some(own) => beyond(&path, own, value, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}: ours {ours:?}, theirs {theirs:?}");
            ours.iter().zip(theirs).for_each(|(ours, theirs)| beyond(path, ours, theirs, found));
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

/// Without what nobody wants: the bookkeeping of writes, and what controllers noted.
fn cleaned(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/") && !key.starts_with("deprecated."));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

#[test]
fn plans_the_addons_that_captured_tenants_have_where_those_are_present() {
    if golden::golden().is_none() {
        return;
    }
    let mut all_found = BTreeSet::new();
    for (name, count) in [("etcd-basic", 12), ("etcd-full", 15)] {
        let captured = golden::captured(name);
        let resolved = captured.resolved();
        let exposed = captured.exposed(&resolved);
        let cluster = kamaji_plan::tenant_cluster::plan(&resolved, &exposed, kamaji_pki::KeyAlgorithm::Rsa2048, b"");
        assert_eq!(cluster.troubles, []);
        let theirs = golden::objects(&format!("{name}/tenant.yaml"));
        let planned = added(&cluster);
        assert_eq!(planned.len(), count, "{name}");
        let labelled = |object: &&Value| object["metadata"]["labels"]["kamaji.clastix.io/project"] == "kamaji";
        assert_eq!(theirs.iter().filter(labelled).count(), count, "{name}");
        for mut ours in planned {
            let theirs = theirs.iter().find(|object| id(object) == id(&ours));
            let mut theirs = cleaned(theirs.unwrap_or_else(|| panic!("{} is only ours", id(&ours))).clone());
            if ours["kind"] == "Service" {
                assert_eq!(ours["spec"]["ipFamilyPolicy"], json!("SingleStack"));
            }
            drop_empty(&mut ours);
            read_documents(&mut ours);
            read_documents(&mut theirs);
            let mut found = Vec::new();
            beyond("", &ours, &theirs, &mut found);
            let unexpected: Vec<_> = found
                .iter()
                .filter(|path| !DEFAULTED.contains(&path.as_str()) && !LEFT_OUT.contains(&path.as_str()))
                .collect();
            assert!(unexpected.is_empty(), "{name}: {}: {unexpected:?}", id(&ours));
            all_found.extend(found);
        }
    }
    for path in DEFAULTED.iter().chain(LEFT_OUT) {
        assert!(all_found.contains(*path), "{path} is in the list for nothing");
    }
}

/// YAML is compared by value: the Go operator's writer quotes less.
fn read_documents(object: &mut Value) {
    for (_, text) in object
        .get_mut("data")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
        .filter(|(key, _)| ["config.conf", "kubeconfig.conf"].contains(&key.as_str()))
    {
        *text = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
    }
}

/// Our types write some empty lists that mean nothing.
fn drop_empty(object: &mut Value) {
    let empty = Map::new();
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, member| member != &json!([]) && member.as_object() != Some(&empty));
        members.values_mut().for_each(drop_empty);
    }
}
