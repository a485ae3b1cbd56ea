//! With konnectivity the API server reaches what it has no route to.

#![allow(clippy::indexing_slicing, reason = "a story edits JSON")]

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kamaji_e2e::{
    Story,
    kubectl::Kubectl,
    tenant::Tenant,
    web::{self, A_WHILE},
    worker::Workers,
};
use kamaji_testkit::{certificate::Authority, http_get::Target, parts, ports};
use serde_json::json;

/// A server of admission webhooks in a pod, and a webhook that refuses every ConfigMap of one namespace.
fn webhook(authority: &Authority) -> Result<String> {
    let server = authority.server("refuse.default.svc", &["refuse.default.svc"])?;
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "guarded", "labels": {"guarded": "yes"}}}),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "refuse", "namespace": "default"},
            "stringData": {"tls.crt": server.certificate, "tls.key": server.key},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "refuse", "namespace": "default", "labels": {"app": "refuse"}},
            "spec": {
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "webhook", "image": parts::agnhost_image(),
                    "args": ["webhook", "--port=8443", "--tls-cert-file=/tls/tls.crt", "--tls-private-key-file=/tls/tls.key"],
                    "readinessProbe": {"httpGet": {"scheme": "HTTPS", "port": 8443, "path": "/readyz"}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
                }],
                "volumes": [{"name": "tls", "secret": {"secretName": "refuse"}}],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "refuse", "namespace": "default"},
            "spec": {"selector": {"app": "refuse"}, "ports": [{"port": 443, "targetPort": 8443}]},
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "refuse"},
            "webhooks": [{
                "name": "refuse.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
                "clientConfig": {
                    "caBundle": STANDARD.encode(authority.certificate()),
                    "service": {"namespace": "default", "name": "refuse", "path": "/always-deny"},
                },
                "namespaceSelector": {"matchLabels": {"guarded": "yes"}},
                "objectSelector": {"matchLabels": {"asked": "yes"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
            }],
        }),
    ];
    Ok(objects.map(|object| object.to_string()).join("\n---\n"))
}

const ASKED: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: asked, namespace: guarded, labels: {asked: \"yes\"}}\n";

/// What the API server says to a ConfigMap that the webhook is asked about.
async fn refusal(kubectl: &Kubectl) -> Result<String> {
    match kubectl.with_input(&["create", "--dry-run=server", "-f", "-"], ASKED).await {
        Ok(said) => bail!("the ConfigMap was admitted: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// `kubectl port-forward` to the Deployment; whether a pod answers through it.
async fn answers_through_a_forwarded_port(kubectl: &Kubectl) -> Result<bool> {
    let port = ports::free()?;
    let _forward = kubectl.forward("deployment/web", &format!("{port}:8080"))?;
    let target = Target::http("127.0.0.1", port, "/hostname");
    for _ in 0..40 {
        if target.get().await.is_ok_and(|status| status == 200) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn konnectivity_carries_everything_to_an_isolated_worker_as_long_as_an_agent_runs() -> Result<()> {
    Story::tell("konnectivity", async |story| {
        let tenant = Tenant::declare(&story, "isolated", |spec| {
            web::with_addons(spec);
            spec["addons"]["konnectivity"] = json!({"server": {"port": 8132}, "agent": {}});
        })
        .await?;
        tenant.configured().await?;
        let workers = Workers::of(&tenant);
        workers.join(&["--isolated", "--with", "agnhost"]).await?;
        let kubectl = Kubectl::of(&tenant).await?;
        kubectl.apply(&web::manifests()).await?;
        kubectl.apply(&webhook(&Authority::new("webhooks of a story")?)?).await?;
        kubectl.rolled_out("default", "deployment/web").await?;
        kubectl.rolled_out("kube-system", "daemonset/konnectivity-agent").await?;
        kubectl.run(&["wait", "--for=condition=Ready", "pod/refuse", "--timeout=25s"]).await?;
        web::pods_find_each_other_and_the_api(&kubectl, "cluster.local").await?;

        let logs = ["logs", "deployment/web", "--tail=5"];
        let exec = ["exec", "deployment/web", "--", "echo", "inside"];
        let said = kubectl.until(A_WHILE, &logs, |said| !said.is_empty()).await?;
        ensure!(said.contains("GET /healthz"), "the kubelet gives the log: {said}");
        ensure!(kubectl.run(&exec).await?.contains("inside"));
        ensure!(answers_through_a_forwarded_port(&kubectl).await?, "port-forward reaches a pod");
        let said = refusal(&kubectl).await?;
        ensure!(said.contains("denied the request"), "the webhook in the tenant answers: {said}");

        // The agent leaves the node; nothing else on it can be reached from the control plane.
        let nodes = kubectl.run(&["get", "nodes", "--output=name"]).await?;
        let node = nodes.trim().trim_start_matches("node/");
        let taint = |sign: &str| format!("story=without-agents:NoExecute{sign}");
        kubectl.run(&["taint", "node", node, &taint("")]).await?;
        for call in [&logs[..], &exec] {
            let said = kubectl.until_refused(A_WHILE, call).await?;
            ensure!(said.contains("No agent available"), "it is the agent that is missing: {said}");
        }
        ensure!(!answers_through_a_forwarded_port(&kubectl).await?, "without an agent no port is forwarded");
        let said = refusal(&kubectl).await?;
        ensure!(said.contains("failed calling webhook"), "without an agent nobody asks the webhook: {said}");

        kubectl.run(&["taint", "node", node, &taint("-")]).await?;
        kubectl.until(A_WHILE, &logs, |said| !said.is_empty()).await?;
        kubectl.until(A_WHILE, &exec, |said| said.contains("inside")).await?;
        workers.remove().await?;
        tenant.delete().await
    })
    .await
}
