//! What runs on the workers of a story: two pods behind a Service, and what they can reach.

#![allow(clippy::indexing_slicing, reason = "a story edits JSON")]

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use kamaji_testkit::parts;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;

/// How long the network of a cluster may take to learn of something.
pub const A_WHILE: Duration = Duration::from_mins(2);

/// kube-proxy may not set limits of connection tracking in a network namespace, which are the machine's.
fn without_limits() -> Value {
    json!([{"op": "add", "path": "/conntrack", "value": {
        "maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s",
    }}])
}

/// Asks for a load balancer, CoreDNS and a kube-proxy that runs on a worker of `cargo xtask worker`.
pub fn with_addons(spec: &mut Value) {
    spec["controlPlane"]["service"]["serviceType"] = json!("LoadBalancer");
    spec["addons"] = json!({"coreDNS": {}, "kubeProxy": {"configurationJSONPatches": without_limits()}});
}

/// Two pods that answer with their names, and a Service.
pub fn manifests() -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      # They stay when the story drives the addons away.
      tolerations: [{{operator: Exists}}]
      containers:
      - name: web
        image: {image}
        args: [netexec, --http-port=8080]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
",
        image = parts::agnhost_image()
    )
}

/// What `dig` says besides are complaints.
fn is_address(said: &str) -> bool {
    said.trim().parse::<std::net::IpAddr>().is_ok()
}

/// In a pod of [`manifests`]: the names of the API and of the Service resolve, both pods answer behind the Service, and
/// the API knows who asks.
///
/// # Errors
/// When one of these does not come true in a while.
pub async fn pods_find_each_other_and_the_api(kubectl: &Kubectl, domain: &str) -> Result<()> {
    let pod = ["exec", "deployment/web", "--"];
    let api = format!("kubernetes.default.svc.{domain}");
    let arguments = [&pod[..], &["dig", "+short", &api]].concat();
    let address = kubectl.until(A_WHILE, &arguments, is_address).await?;
    ensure!(address.trim() == "10.96.0.1", "{api} is the Service of the API, not {address}");

    let service = format!("web.default.svc.{domain}");
    let arguments = [&pod[..], &["dig", "+short", &service]].concat();
    let address = kubectl.until(A_WHILE, &arguments, is_address).await?;
    let wanted = kubectl.run(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"]).await?;
    ensure!(address.trim() == wanted.trim(), "{service} is {wanted}, not {address}");

    let url = format!("http://{service}/hostname");
    let arguments = [&pod[..], &["curl", "--silent", "--show-error", "--max-time", "5", &url]].concat();
    let mut answered = BTreeSet::new();
    for _ in 0..30 {
        answered.insert(kubectl.until(A_WHILE, &arguments, |said| said.starts_with("web-")).await?);
        if answered.len() == 2 {
            break;
        }
    }
    ensure!(answered.len() == 2, "both pods answer behind the Service: {answered:?}");

    let ask = format!(
        "curl --silent --show-error --fail --max-time 5 --cacert $D/ca.crt -H \"Authorization: Bearer $(cat $D/token)\" \
         https://{api}/apis/authentication.k8s.io/v1/selfsubjectreviews -X POST -H 'Content-Type: application/json' \
         -d '{{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}}'"
    );
    let script = format!("D=/var/run/secrets/kubernetes.io/serviceaccount; {ask}");
    let arguments = [&pod[..], &["sh", "-c", &script]].concat();
    let answer = kubectl.until(A_WHILE, &arguments, |said| said.contains("username")).await?;
    ensure!(answer.contains("system:serviceaccount:default:default"), "the API knows the pod: {answer}");
    Ok(())
}
