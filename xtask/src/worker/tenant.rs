//! What a worker has to know of the tenant that it joins.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::cluster::kubectl::Kubectl;

/// The default of `spec.networkProfile.podCidr`: docs/reference/compatibility.md, "Defaults".
const POD_CIDR: &str = "10.244.0.0/16";
/// The default of `spec.networkProfile.serviceCidr`.
const SERVICE_CIDR: &str = "10.96.0.0/16";

/// A TenantControlPlane that workers can join.
#[derive(Debug)]
pub struct Tenant {
    namespace: String,
    name: String,
    /// Version that runs, without a leading `v`.
    pub version: String,
    /// Networks of its pods.
    pub pod_cidrs: Vec<String>,
    /// Networks of its Services.
    pub service_cidrs: Vec<String>,
    /// Whether it has the konnectivity addon.
    pub konnectivity: bool,
    kube_proxy: Option<Value>,
}

impl Tenant {
    /// Asks the management cluster.
    ///
    /// # Errors
    /// When the reference is none, or the tenant does not exist or has no endpoint yet.
    pub fn read(kubectl: &Kubectl, reference: &str) -> Result<Self> {
        let Some((namespace, name)) = reference.split_once('/') else {
            bail!("`{reference}` names no tenant; write NAMESPACE/NAME");
        };
        let arguments = ["--namespace", namespace, "get", "tenantcontrolplane", name, "--output=json"];
        let text = kubectl.run(&format!("reading tenant {reference}"), &arguments)?;
        Self::parse(namespace, name, &serde_json::from_str(&text)?)
    }

    fn parse(namespace: &str, name: &str, object: &Value) -> Result<Self> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        if text("/status/controlPlaneEndpoint").is_none() {
            bail!(
                "tenant {namespace}/{name} has no endpoint yet: `kubectl describe tcp {name}` says what it waits for"
            );
        }
        let version = text("/status/kubernetesResources/version/version").or_else(|| text("/spec/kubernetes/version"));
        let addon = |name: &str| object.pointer("/spec/addons").and_then(|addons| addons.get(name)).cloned();
        let networks = |of: &str, default: &str| {
            let listed = object.pointer(&format!("/spec/networkProfile/{of}Cidrs")).and_then(Value::as_array);
            let listed = listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            let listed: Vec<String> = listed.collect();
            let single = || text(&format!("/spec/networkProfile/{of}Cidr")).unwrap_or(default).to_owned();
            if listed.is_empty() { vec![single()] } else { listed }
        };
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
            version: version.unwrap_or_default().trim_start_matches('v').to_owned(),
            pod_cidrs: networks("pod", POD_CIDR),
            service_cidrs: networks("service", SERVICE_CIDR),
            konnectivity: addon("konnectivity").is_some(),
            kube_proxy: addon("kubeProxy"),
        })
    }

    /// Waits until what joining nodes read is there, and administrators have their rights.
    ///
    /// # Errors
    /// When that takes longer than two minutes.
    pub fn wait_configured(&self, kubectl: &Kubectl) -> Result<()> {
        let namespace = format!("--namespace={}", self.namespace);
        let object = [namespace.as_str(), "tenantcontrolplane", self.name.as_str()];
        let what = format!("waiting until tenant {} is configured", self.reference());
        kubectl.wait(&what, &object, "condition=TenantConfigured", 120)
    }

    /// `namespace/name`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What to say when the tenant's kube-proxy would end: it may not write connection tracking limits in a network
    /// namespace, which are the machine's.
    pub fn kube_proxy_advice(&self) -> Option<String> {
        let spec = self.kube_proxy.as_ref()?;
        if spec.to_string().contains("/conntrack") {
            return None;
        }
        let patch = r#"{"spec":{"addons":{"kubeProxy":{"configurationJSONPatches":[{"op":"add","path":"/conntrack","value":{"maxPerCore":0,"min":0,"tcpCloseWaitTimeout":"0s","tcpEstablishedTimeout":"0s"}}]}}}}"#;
        Some(format!(
            "kube-proxy will not run on this worker: it may not set connection tracking limits. Tell the tenant's:\n\
             \n  kubectl -n {} patch tcp {} --type=merge -p '{patch}'",
            self.namespace, self.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Tenant;

    fn object(addons: &serde_json::Value) -> serde_json::Value {
        json!({
            "spec": {"kubernetes": {"version": "v1.36.3"}, "networkProfile": {"podCidrs": ["10.1.0.0/16", "fd01::/64"]}, "addons": addons},
            "status": {"controlPlaneEndpoint": "10.79.0.1:6443", "kubernetesResources": {"version": {"version": "v1.35.4"}}},
        })
    }

    #[test]
    fn the_version_that_runs_counts_not_the_one_that_is_wanted() {
        let tenant = Tenant::parse("a", "b", &object(&json!({}))).unwrap();
        assert_eq!(tenant.version, "1.35.4");
        assert_eq!(tenant.pod_cidrs, ["10.1.0.0/16", "fd01::/64"]);
        assert_eq!(tenant.service_cidrs, ["10.96.0.0/16"]);
        assert!(!tenant.konnectivity);
    }

    #[test]
    fn a_tenant_without_an_endpoint_is_refused() {
        let error = Tenant::parse("a", "b", &json!({"spec": {}})).unwrap_err();
        assert!(error.to_string().starts_with("tenant a/b has no endpoint yet"), "{error}");
    }

    #[test]
    fn only_a_kube_proxy_that_would_end_needs_advice() {
        let advice = |addons: serde_json::Value| Tenant::parse("a", "b", &object(&addons)).unwrap().kube_proxy_advice();
        assert_eq!(advice(json!({})), None);
        assert!(advice(json!({"kubeProxy": {}})).unwrap().contains("-n a patch tcp b"));
        let patched = json!({"kubeProxy": {"configurationJSONPatches": [{"op": "replace", "path": "/conntrack"}]}});
        assert_eq!(advice(patched), None);
    }
}
