//! Which fields there are, what to set them to, and where that shows.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod elsewhere;
mod place;
pub mod tenant_cluster;

use std::collections::BTreeSet;

use kamaji_api::crd;
use serde_json::{Value, json};

pub use self::place::{look, patch};

/// Which object shows a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deployment,
    Service,
}
use Kind::{Deployment as Pods, Service as Front};

/// One field: its path below `spec`, a value, and where the value shows. In the place `{name}` stands for the list item
/// of that name or mount path, and a text as the last part for any item that is this text.
pub struct Field {
    pub path: String,
    pub value: Value,
    pub kind: Kind,
    pub place: String,
    pub shows: Value,
}

fn field(path: &str, value: Value, kind: Kind, place: &str, shows: Value) -> Field {
    Field { path: path.to_owned(), value, kind, place: place.to_owned(), shows }
}

/// A field whose value shows as it is.
fn copied(path: &str, value: Value, kind: Kind, place: &str) -> Field {
    field(path, value.clone(), kind, place, value)
}

pub const POD: &str = "/spec/template/spec";
const COMPONENTS: [(&str, &str, &str); 3] = [
    ("apiServer", "kube-apiserver", "apiServerImage"),
    ("controllerManager", "kube-controller-manager", "controllerManagerImage"),
    ("scheduler", "kube-scheduler", "schedulerImage"),
];

/// Fields of every tenant.
pub fn fields() -> Vec<Field> {
    let mut all = deployment_fields();
    for (component, container, image) in COMPONENTS {
        all.extend(component_fields(component, container, image));
    }
    all.extend(probe_fields());
    all.extend(service_fields());
    all.extend(network_fields());
    all
}

fn deployment_fields() -> Vec<Field> {
    let at = |name: &str| format!("controlPlane.deployment.{name}");
    let pod = |name: &str| format!("{POD}/{name}");
    let api_server = |name: &str| format!("{POD}/containers/{{kube-apiserver}}/{name}");
    vec![
        field(
            &at("registrySettings.registry"),
            json!("example.com/r"),
            Pods,
            &api_server("image"),
            json!("example.com/r/kube-apiserver:v1.36.3"),
        ),
        field(
            &at("registrySettings.tagSuffix"),
            json!("-x"),
            Pods,
            &api_server("image"),
            json!("registry.k8s.io/kube-apiserver:v1.36.3-x"),
        ),
        copied(&at("replicas"), json!(3), Pods, "/spec/replicas"),
        copied(&at("nodeSelector"), json!({"disk": "fast"}), Pods, &pod("nodeSelector")),
        copied(&at("runtimeClassName"), json!("gvisor"), Pods, &pod("runtimeClassName")),
        copied(&at("strategy"), json!({"type": "Recreate", "rollingUpdate": null}), Pods, "/spec/strategy")
            .showing(json!({"type": "Recreate"})),
        copied(
            &at("strategy"),
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": "10%"}}),
            Pods,
            "/spec/strategy",
        ),
        copied(&at("tolerations"), json!([{"key": "dedicated", "operator": "Exists"}]), Pods, &pod("tolerations")),
        copied(
            &at("affinity"),
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
            ]}}),
            Pods,
            &pod("affinity"),
        ),
        field(
            &at("topologySpreadConstraints"),
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]),
            Pods,
            &pod("topologySpreadConstraints/0/labelSelector"),
            json!({"matchLabels": {"kamaji.clastix.io/name": "one"}}),
        ),
        copied(&at("additionalMetadata.labels"), json!({"team": "a"}), Pods, "/metadata/labels/team")
            .showing(json!("a")),
        copied(&at("additionalMetadata.annotations"), json!({"note": "n"}), Pods, "/metadata/annotations/note")
            .showing(json!("n")),
        copied(&at("podAdditionalMetadata.labels"), json!({"team": "p"}), Pods, "/spec/template/metadata/labels/team")
            .showing(json!("p")),
        copied(
            &at("podAdditionalMetadata.annotations"),
            json!({"note": "p"}),
            Pods,
            "/spec/template/metadata/annotations/note",
        )
        .showing(json!("p")),
        field(
            &at("additionalInitContainers"),
            json!([{"name": "init", "image": "i:1"}]),
            Pods,
            &pod("initContainers/{init}/image"),
            json!("i:1"),
        ),
        field(
            &at("additionalContainers"),
            json!([{"name": "side", "image": "s:1"}]),
            Pods,
            &pod("containers/{side}/image"),
            json!("s:1"),
        ),
        field(
            &at("additionalVolumes"),
            json!([{"name": "extra", "emptyDir": {}}, {"name": "more", "emptyDir": {"medium": "Memory"}}]),
            Pods,
            &pod("volumes/{more}/emptyDir"),
            json!({"medium": "Memory"}),
        ),
        copied(&at("serviceAccountName"), json!("tenants"), Pods, &pod("serviceAccountName")),
        copied(&at("automountServiceAccountToken"), json!(true), Pods, &pod("automountServiceAccountToken")),
        copied(&at("podSecurityContext"), json!({"fsGroup": 2000}), Pods, &pod("securityContext")),
        field(
            "kubernetes.version",
            json!("v1.36.1"),
            Pods,
            &api_server("image"),
            json!("registry.k8s.io/kube-apiserver:v1.36.1"),
        ),
        field(
            "kubernetes.kubelet.preferredAddressTypes",
            json!(["Hostname"]),
            Pods,
            &api_server("args/--kubelet-preferred-address-types=Hostname"),
            json!(true),
        ),
        field(
            "kubernetes.admissionControllers",
            json!(["NodeRestriction"]),
            Pods,
            &api_server("args/--enable-admission-plugins=NodeRestriction"),
            json!(true),
        ),
    ]
}

fn component_fields(component: &str, container: &str, image: &str) -> Vec<Field> {
    let at = |name: &str| format!("controlPlane.deployment.{name}.{component}");
    let shown = |name: &str| format!("{POD}/containers/{{{container}}}/{name}");
    vec![
        field(
            &format!("controlPlane.deployment.registrySettings.{image}"),
            json!("mine"),
            Pods,
            &shown("image"),
            json!("registry.k8s.io/mine:v1.36.3"),
        ),
        copied(
            &at("resources"),
            json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "10m"}}),
            Pods,
            &shown("resources"),
        )
        .showing(json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "10m"}})),
        field(&at("extraArgs"), json!(["--v=7"]), Pods, &shown("args/--v=7"), json!(true)),
        field(
            &at("additionalVolumeMounts"),
            json!([{"name": "extra", "mountPath": "/extra"}]),
            Pods,
            &shown("volumeMounts/{/extra}/name"),
            json!("extra"),
        ),
        copied(&at("containerSecurityContexts"), json!({"runAsUser": 1001}), Pods, &shown("securityContext")),
    ]
}

fn probe_fields() -> Vec<Field> {
    const NUMBERS: [(&str, i32); 5] = [
        ("initialDelaySeconds", 7),
        ("timeoutSeconds", 8),
        ("periodSeconds", 9),
        ("successThreshold", 2),
        ("failureThreshold", 11),
    ];
    let mut all = Vec::new();
    for probe in ["liveness", "readiness", "startup"] {
        for (number, value) in NUMBERS {
            // Kubernetes lets the other two probes succeed at the first success only.
            if number == "successThreshold" && probe != "readiness" {
                continue;
            }
            let place = |container: &str| format!("{POD}/containers/{{{container}}}/{probe}Probe/{number}");
            let of_all = format!("controlPlane.deployment.probes.{probe}.{number}");
            all.push(copied(&of_all, json!(value), Pods, &place("kube-scheduler")));
            for (component, container, _) in COMPONENTS {
                let own = format!("controlPlane.deployment.probes.{component}.{probe}.{number}");
                all.push(copied(&own, json!(value), Pods, &place(container)));
            }
        }
    }
    all
}

fn service_fields() -> Vec<Field> {
    let at = |name: &str| format!("controlPlane.service.{name}");
    vec![
        copied(&at("additionalMetadata.labels"), json!({"team": "a"}), Front, "/metadata/labels/team")
            .showing(json!("a")),
        copied(&at("additionalMetadata.annotations"), json!({"note": "n"}), Front, "/metadata/annotations/note")
            .showing(json!("n")),
        field(
            &at("additionalPorts"),
            json!([{"name": "audit", "port": 9000, "targetPort": "audit", "protocol": "UDP", "appProtocol": "example.com/a"}]),
            Front,
            "/spec/ports/{audit}",
            json!({"name": "audit", "port": 9000, "targetPort": "audit", "protocol": "UDP", "appProtocol": "example.com/a"}),
        ),
    ]
}

fn network_fields() -> Vec<Field> {
    let at = |name: &str| format!("networkProfile.{name}");
    let flag = |container: &str, flag: &str| format!("{POD}/containers/{{{container}}}/args/{flag}");
    let shown = |path: &str, value: Value, container: &str, text: &str| {
        field(&at(path), value, Pods, &flag(container, text), json!(true))
    };
    vec![
        shown("address", json!("192.0.2.1"), "kube-apiserver", "--advertise-address=192.0.2.1"),
        shown("advertiseAddress", json!("192.0.2.2"), "kube-apiserver", "--advertise-address=192.0.2.2"),
        shown("port", json!(7443), "kube-apiserver", "--secure-port=7443"),
        field(&at("port"), json!(7443), Front, "/spec/ports/{kube-apiserver}/port", json!(7443)),
        shown("serviceCidr", json!("10.97.0.0/16"), "kube-apiserver", "--service-cluster-ip-range=10.97.0.0/16"),
        shown(
            "serviceCidrs",
            json!(["fd00::/112", "10.98.0.0/16"]),
            "kube-controller-manager",
            "--service-cluster-ip-range=fd00::/112,10.98.0.0/16",
        ),
        shown("podCidr", json!("10.99.0.0/16"), "kube-controller-manager", "--cluster-cidr=10.99.0.0/16"),
        shown(
            "podCidrs",
            json!(["10.99.0.0/16", "fd00::/56"]),
            "kube-controller-manager",
            "--cluster-cidr=10.99.0.0/16,fd00::/56",
        ),
    ]
}

/// Fields of a tenant behind a load balancer.
pub fn balanced_fields() -> Vec<Field> {
    vec![
        copied(
            "controlPlane.service.allocateLoadBalancerNodePorts",
            json!(false),
            Front,
            "/spec/allocateLoadBalancerNodePorts",
        ),
        copied(
            "networkProfile.loadBalancerSourceRanges",
            json!(["192.0.2.0/24"]),
            Front,
            "/spec/loadBalancerSourceRanges",
        ),
    ]
}

/// Fields of a tenant with konnectivity.
pub fn konnectivity_fields() -> Vec<Field> {
    let at = |name: &str| format!("addons.konnectivity.server.{name}");
    let shown = |name: &str| format!("{POD}/containers/{{konnectivity-server}}/{name}");
    vec![
        field(&at("port"), json!(8142), Front, "/spec/ports/{konnectivity-server}/port", json!(8142)),
        field(&at("port"), json!(8142), Pods, &shown("args/--agent-port=8142"), json!(true)),
        field(
            &at("version"),
            json!("v0.99.1"),
            Pods,
            &shown("image"),
            json!("registry.k8s.io/kas-network-proxy/proxy-server:v0.99.1"),
        ),
        field(&at("image"), json!("mirror.example/s"), Pods, &shown("image"), json!("mirror.example/s:v0.36.0")),
        copied(&at("resources"), json!({"limits": {"memory": "1Gi"}}), Pods, &shown("resources")),
        field(&at("extraArgs"), json!(["--v=7"]), Pods, &shown("args/--v=7"), json!(true)),
        copied(&at("securityContext"), json!({"runAsUser": 1001}), Pods, &shown("securityContext")),
    ]
}

/// Types of Kubernetes that are copied as a whole.
const WHOLE: [&str; 5] = [
    "addons.konnectivity.server.resources",
    "addons.konnectivity.server.securityContext",
    "controlPlane.deployment.affinity",
    "controlPlane.deployment.podSecurityContext",
    "controlPlane.deployment.strategy",
];

/// Every field below `spec`, from the CRD.
pub fn known_fields() -> BTreeSet<String> {
    fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        let last = path.rsplit('.').next().unwrap();
        // Below a component stand the probes' own fields; elsewhere a type of Kubernetes.
        let of_component = COMPONENTS.iter().any(|(component, ..)| *component == last) || last == "kine";
        let whole = WHOLE.contains(&path) || (of_component && !path.contains("probes"));
        match schema["properties"].as_object() {
            Some(fields) if !whole => {
                for (name, schema) in fields {
                    walk(schema, &format!("{path}.{name}"), found);
                }
            }
            _ => drop(found.insert(path.to_owned())),
        }
    }
    let crds = crd::all().unwrap();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "TenantControlPlane").unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let mut found = BTreeSet::new();
    for (name, schema) in spec.as_object().unwrap() {
        walk(schema, name, &mut found);
    }
    found
}

impl Field {
    fn showing(mut self, shows: Value) -> Self {
        self.shows = shows;
        self
    }

    pub fn is_shown(&self, object: &Value) -> bool {
        look(object, &self.place).is_some_and(|found| found == self.shows)
    }
}
