//! Fields that show in the tenant's own cluster.

use serde_json::{Value, json};

use super::look;

/// Kind of the object in `kube-system` that shows a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantKind {
    ConfigMap,
    DaemonSet,
    Deployment,
}
use TenantKind::{ConfigMap, DaemonSet, Deployment};

/// As [`super::Field`]. Texts of a ConfigMap are places of their own: they are read as YAML.
pub struct TenantField {
    pub path: &'static str,
    pub value: Value,
    pub kind: TenantKind,
    pub name: &'static str,
    pub place: &'static str,
    pub shows: Value,
}

impl TenantField {
    pub fn is_shown(&self, object: &Value) -> bool {
        look(object, self.place).is_some_and(|found| found == self.shows)
    }
}

type Row = (&'static str, Value, TenantKind, &'static str, &'static str, Value);

fn rows<const N: usize>(rows: [Row; N]) -> Vec<TenantField> {
    let row = |(path, value, kind, name, place, shows): Row| TenantField { path, value, kind, name, place, shows };
    rows.into_iter().map(row).collect()
}

const DNS_IMAGE: &str = "/spec/template/spec/containers/{coredns}/image";
const PROXY_IMAGE: &str = "/spec/template/spec/containers/{kube-proxy}/image";
const AGENT: &str = "konnectivity-agent";
const AGENT_IMAGE: &str = "/spec/template/spec/containers/{konnectivity-agent}/image";
const PROXY_ENDPOINT: &str = "/data/kubeconfig.conf/clusters/0/cluster/server";

/// Fields of a tenant with every addon.
pub fn tenant_fields() -> Vec<TenantField> {
    let patch = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
    let mirror = || json!("mirror.example");
    rows([
        (
            "addons.coreDNS.imageRepository",
            mirror(),
            Deployment,
            "coredns",
            DNS_IMAGE,
            json!("mirror.example/coredns:v1.14.2"),
        ),
        (
            "addons.coreDNS.imageTag",
            json!("v9"),
            Deployment,
            "coredns",
            DNS_IMAGE,
            json!("registry.k8s.io/coredns/coredns:v9"),
        ),
        (
            "addons.kubeProxy.imageRepository",
            mirror(),
            DaemonSet,
            "kube-proxy",
            PROXY_IMAGE,
            json!("mirror.example/kube-proxy:v1.36.3"),
        ),
        (
            "addons.kubeProxy.imageTag",
            json!("v9"),
            DaemonSet,
            "kube-proxy",
            PROXY_IMAGE,
            json!("registry.k8s.io/kube-proxy:v9"),
        ),
        (
            "addons.kubeProxy.configurationJSONPatches",
            patch("/mode", json!("nftables")),
            ConfigMap,
            "kube-proxy",
            "/data/config.conf/mode",
            json!("nftables"),
        ),
        (
            "addons.konnectivity.agent.image",
            json!("mirror.example/a"),
            DaemonSet,
            AGENT,
            AGENT_IMAGE,
            json!("mirror.example/a:v0.36.0"),
        ),
        (
            "addons.konnectivity.agent.version",
            json!("v0.99.1"),
            DaemonSet,
            AGENT,
            AGENT_IMAGE,
            json!("registry.k8s.io/kas-network-proxy/proxy-agent:v0.99.1"),
        ),
        (
            "addons.konnectivity.agent.tolerations",
            json!([{"operator": "Exists"}]),
            DaemonSet,
            AGENT,
            "/spec/template/spec/tolerations",
            json!([{"operator": "Exists"}]),
        ),
        (
            "addons.konnectivity.agent.extraArgs",
            json!(["--v=7"]),
            DaemonSet,
            AGENT,
            "/spec/template/spec/containers/{konnectivity-agent}/args/--v=7",
            json!(true),
        ),
        (
            "addons.konnectivity.agent.hostNetwork",
            json!(true),
            DaemonSet,
            AGENT,
            "/spec/template/spec/hostNetwork",
            json!(true),
        ),
        ("addons.konnectivity.agent.mode", json!("Deployment"), Deployment, AGENT, "/metadata/name", json!(AGENT)),
        (
            "kubernetes.kubelet.configurationJSONPatches",
            patch("/maxPods", json!(42)),
            ConfigMap,
            "kubelet-config",
            "/data/kubelet/maxPods",
            json!(42),
        ),
        (
            "kubernetes.kubelet.cgroupfs",
            json!("cgroupfs"),
            ConfigMap,
            "kubelet-config",
            "/data/kubelet/cgroupDriver",
            json!("cgroupfs"),
        ),
        (
            "networkProfile.dnsServiceIPs",
            json!(["10.96.0.53"]),
            ConfigMap,
            "kubelet-config",
            "/data/kubelet/clusterDNS",
            json!(["10.96.0.53"]),
        ),
        (
            "controlPlane.ingress.hostname",
            json!("one.example.com:8443"),
            ConfigMap,
            "kube-proxy",
            PROXY_ENDPOINT,
            json!("https://one.example.com:8443"),
        ),
        (
            "controlPlane.gateway.hostname",
            json!("one.example.com"),
            ConfigMap,
            "kube-proxy",
            PROXY_ENDPOINT,
            json!("https://one.example.com:6443"),
        ),
    ])
}

/// Fields of a tenant whose agents are a Deployment.
pub fn agent_deployment_fields() -> Vec<TenantField> {
    rows([("addons.konnectivity.agent.replicas", json!(3), Deployment, AGENT, "/spec/replicas", json!(3))])
}
