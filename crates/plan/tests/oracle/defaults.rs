//! What an API server fills in: kubeadm's objects were read back from one, ours were not yet there.

use serde_json::{Value, json};

/// Removes every member that says what the API server would say without it (Kubernetes API reference, defaults of
/// Deployment, DaemonSet, Service and PodSpec).
pub fn drop(object: &mut Value) {
    match object["kind"].as_str().unwrap() {
        "Deployment" => workload(object, &json!({"maxSurge": "25%"})),
        "DaemonSet" => workload(object, &json!({"maxSurge": 0, "maxUnavailable": 1})),
        "Service" => {
            if let Some(address) = object["spec"].get("clusterIP").cloned() {
                at(object, "/spec", &[("clusterIPs", json!([address]))]);
            }
            at(
                object,
                "/spec",
                &[
                    ("internalTrafficPolicy", json!("Cluster")),
                    ("ipFamilies", json!(["IPv4"])),
                    ("ipFamilyPolicy", json!("SingleStack")),
                    ("sessionAffinity", json!("None")),
                    ("type", json!("ClusterIP")),
                ],
            );
            each(object, "/spec/ports", |port| at(port, "", &[("protocol", json!("TCP"))]));
        }
        _ => {}
    }
}

fn workload(object: &mut Value, rolling: &Value) {
    at(object, "/spec", &[("progressDeadlineSeconds", json!(600)), ("revisionHistoryLimit", json!(10))]);
    let rolling: Vec<_> =
        rolling.as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    for strategy in ["/spec/strategy", "/spec/updateStrategy"] {
        at(object, &format!("{strategy}/rollingUpdate"), &rolling);
        at(object, strategy, &[("rollingUpdate", json!({}))]);
    }
    if let Some(pod) = object.pointer_mut("/spec/template/spec") {
        at(
            pod,
            "",
            &[
                ("dnsPolicy", json!("ClusterFirst")),
                ("restartPolicy", json!("Always")),
                ("schedulerName", json!("default-scheduler")),
                ("securityContext", json!({})),
                ("terminationGracePeriodSeconds", json!(30)),
            ],
        );
        if let Some(account) = pod.get("serviceAccountName").cloned() {
            at(pod, "", &[("serviceAccount", account)]);
        }
        each(pod, "/containers", container);
        each(pod, "/volumes", |volume| {
            at(volume, "/configMap", &[("defaultMode", json!(0o644))]);
            at(volume, "/hostPath", &[("type", json!(""))]);
        });
    }
}

fn container(container: &mut Value) {
    at(
        container,
        "",
        &[
            ("imagePullPolicy", json!("IfNotPresent")),
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
        ],
    );
    each(container, "/ports", |port| at(port, "", &[("protocol", json!("TCP"))]));
    each(container, "/env", |variable| at(variable, "/valueFrom/fieldRef", &[("apiVersion", json!("v1"))]));
    for probe in ["/livenessProbe", "/readinessProbe", "/startupProbe"] {
        at(
            container,
            probe,
            &[
                ("failureThreshold", json!(3)),
                ("periodSeconds", json!(10)),
                ("successThreshold", json!(1)),
                ("timeoutSeconds", json!(1)),
            ],
        );
        at(container, &format!("{probe}/httpGet"), &[("scheme", json!("HTTP"))]);
    }
}

fn at(object: &mut Value, path: &str, defaults: &[(&str, Value)]) {
    let Some(members) = object.pointer_mut(path).and_then(Value::as_object_mut) else { return };
    for (key, default) in defaults {
        if members.get(*key) == Some(default) {
            members.remove(*key);
        }
    }
}

fn each(object: &mut Value, path: &str, change: impl FnMut(&mut Value)) {
    if let Some(items) = object.pointer_mut(path).and_then(Value::as_array_mut) {
        items.iter_mut().for_each(change);
    }
}
