//! For every optional field of a tenant's pods, Service and network: set it and see it in the object that it shapes,
//! remove it and see it gone.

mod support;

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{TenantControlPlane, crd};
use kamaji_testkit::{
    api_server::ApiServer,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use support::{Operator, SOON, create, data_store, tenant};

/// A field shows within milliseconds; this is for a machine that is busy with something else.
const QUICK: Duration = Duration::from_secs(10);

/// Which object shows a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deployment,
    Service,
}
use Kind::{Deployment as Pods, Service as Front};

/// One field: its path below `spec`, a value, and where the value shows. In the place `{name}` stands for the list item
/// of that name or mount path, and a text as the last part for any item that is this text.
struct Field {
    path: String,
    value: Value,
    kind: Kind,
    place: String,
    shows: Value,
}

fn field(path: &str, value: Value, kind: Kind, place: &str, shows: Value) -> Field {
    Field { path: path.to_owned(), value, kind, place: place.to_owned(), shows }
}

/// A field whose value shows as it is.
fn copied(path: &str, value: Value, kind: Kind, place: &str) -> Field {
    field(path, value.clone(), kind, place, value)
}

const POD: &str = "/spec/template/spec";
const COMPONENTS: [(&str, &str, &str); 3] = [
    ("apiServer", "kube-apiserver", "apiServerImage"),
    ("controllerManager", "kube-controller-manager", "controllerManagerImage"),
    ("scheduler", "kube-scheduler", "schedulerImage"),
];

/// Fields of every tenant.
fn fields() -> Vec<Field> {
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
fn balanced_fields() -> Vec<Field> {
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

/// Fields that no row of the tables sets, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("controlPlane.deployment.resources.kine", "a tenant on etcd has no kine"),
    ("controlPlane.deployment.extraArgs.kine", "a tenant on etcd has no kine"),
    ("controlPlane.deployment.probes.liveness.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.startup.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.apiServer.liveness.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.apiServer.startup.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.controllerManager.liveness.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.controllerManager.startup.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.scheduler.liveness.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.deployment.probes.scheduler.startup.successThreshold", "Kubernetes allows only 1"),
    ("controlPlane.service.serviceType", "required; changed by its own steps"),
    ("networkProfile.allowAddressAsExternalIP", "needs an address; its own step"),
    ("networkProfile.certSANs", "shows in the certificate; its own step"),
    ("networkProfile.loadBalancerClass", "cannot change; set at creation"),
    ("networkProfile.clusterDomain", "cannot change; set at creation"),
    ("networkProfile.dnsServiceIPs", "shows in the tenant cluster only"),
];

/// Types of Kubernetes that are copied as a whole.
const WHOLE: &[&str] = &["affinity", "strategy", "podSecurityContext"];

/// Every field below the sections that shape Deployment and Service, from the CRD.
fn known_fields() -> BTreeSet<String> {
    fn walk(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        let last = path.rsplit('.').next().unwrap();
        let component = COMPONENTS.iter().any(|(component, ..)| *component == last) || last == "kine";
        match schema["properties"].as_object() {
            Some(fields) if !WHOLE.contains(&last) && !(component && !path.contains("probes")) => {
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
    let control_plane = &spec["controlPlane"]["properties"];
    walk(&control_plane["deployment"], "controlPlane.deployment", &mut found);
    walk(&control_plane["service"], "controlPlane.service", &mut found);
    walk(&spec["networkProfile"], "networkProfile", &mut found);
    found
}

impl Field {
    fn showing(mut self, shows: Value) -> Self {
        self.shows = shows;
        self
    }

    fn is_shown(&self, object: &Value) -> bool {
        look(object, &self.place).is_some_and(|found| found == self.shows)
    }
}

fn look(object: &Value, place: &str) -> Option<Value> {
    let mut node = object;
    let mut rest = place.strip_prefix('/')?;
    loop {
        if let (Some(items), false) = (node.as_array(), rest.starts_with('{')) {
            // The last part may be a text with slashes.
            return match rest.split_once('/').map_or(rest, |(index, _)| index).parse::<usize>() {
                Ok(index) => match rest.split_once('/') {
                    Some((_, below)) => look(items.get(index)?, &format!("/{below}")),
                    None => items.get(index).cloned(),
                },
                Err(_) => items.iter().any(|item| item == rest).then_some(Value::Bool(true)),
            };
        }
        let (part, below) = match rest.strip_prefix('{') {
            Some(named) => {
                let (name, below) = named.split_once('}')?;
                (name, below.strip_prefix('/').unwrap_or_default())
            }
            None => rest.split_once('/').unwrap_or((rest, "")),
        };
        node = match node {
            Value::Array(items) => items.iter().find(|item| item["name"] == part || item["mountPath"] == part)?,
            other => other.get(part)?,
        };
        if below.is_empty() {
            return Some(node.clone());
        }
        rest = below;
    }
}

/// The merge patch that sets `path` below `spec`.
fn patch(path: &str, value: Value) -> Value {
    let parts: Vec<&str> = path.split('.').collect();
    let inner = parts.iter().rev().fold(value, |value, part| json!({*part: value}));
    json!({"spec": inner})
}

/// The merge patch that removes `path` below `spec`, or gives it the value that the base specification has there.
fn reset(base: &Value, path: &str) -> Value {
    let pointer = format!("/spec/{}", path.replace('.', "/"));
    patch(path, base.pointer(&pointer).cloned().unwrap_or(Value::Null))
}

/// The same for the whole section that came with `path`.
fn reset_section(base: &Value, path: &str) -> Value {
    let missing = |path: &&str| base.pointer(&format!("/spec/{}", path.replace('.', "/"))).is_none();
    let sections = path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]);
    sections.clone().find(missing).map_or_else(|| reset(base, path), |section| patch(section, Value::Null))
}

/// What of an object the operator decides.
fn wanted<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].clone();
    value.as_object_mut().unwrap().remove("status");
    value["metadata"] = json!({"labels": metadata["labels"], "annotations": metadata["annotations"]});
    // A certificate with other names has another hash, and is another one when the names are as before.
    if let Some(labels) = value.pointer_mut("/spec/template/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|name, _| !name.starts_with("component.kamaji.clastix.io/"));
    }
    value
}

struct Bench<'a> {
    client: Client,
    namespace: String,
    name: &'a str,
    operator: &'a Operator,
    /// The tenant as it was created.
    base: Value,
    /// Deployment and Service as they were then.
    shapes: [Value; 2],
}

impl<'a> Bench<'a> {
    async fn new(client: &Client, namespace: &str, name: &'a str, operator: &'a Operator) -> Self {
        let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), namespace);
        let base = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        let (client, namespace) = (client.clone(), namespace.to_owned());
        let mut bench = Self { client, namespace, name, operator, base, shapes: [Value::Null, Value::Null] };
        bench.shapes = [
            bench.wait::<Deployment>("a new tenant's Deployment", |_| true).await,
            bench.wait::<Service>("a new tenant's Service", |_| true).await,
        ];
        bench
    }

    async fn edit(&self, patch: &Value) {
        let api: Api<TenantControlPlane> = Api::namespaced(self.client.clone(), &self.namespace);
        let edited = api.patch(self.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        assert!(edited.is_ok(), "{patch}: {edited:?}");
    }

    /// Waits until an object is as wanted; gives what of it the operator decides.
    async fn wait<K>(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + Send + DeserializeOwned + Serialize + 'static,
    {
        match self.waited::<K>(condition).await {
            Ok(object) => object,
            Err(last) => panic!("{what}: {last}\n{}", self.operator.log()),
        }
    }

    async fn waited<K>(&self, condition: impl Fn(&Value) -> bool) -> Result<Value, String>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + Send + DeserializeOwned + Serialize + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = wait_for(&api, self.name, QUICK, |object: &K| condition(&wanted(object))).await;
        found.map(|object| wanted(&object)).map_err(|error| error.to_string())
    }

    async fn waited_kind(&self, kind: Kind, condition: impl Fn(&Value) -> bool) -> Result<Value, String> {
        match kind {
            Kind::Deployment => self.waited::<Deployment>(condition).await,
            Kind::Service => self.waited::<Service>(condition).await,
        }
    }

    /// What does not come about is told, so that one run shows all of it.
    async fn set_and_remove(&self, field: &Field) -> Result<(), String> {
        let Field { path, value, kind, shows, .. } = field;
        if self.shapes.iter().any(|before| field.is_shown(before)) {
            return Err(format!("{path}: {shows} is shown before it is set"));
        }
        self.edit(&patch(path, value.clone())).await;
        let set = self.waited_kind(*kind, |object| field.is_shown(object)).await;
        self.edit(&reset(&self.base, path)).await;
        let gone = self.waited_kind(*kind, |object| !field.is_shown(object)).await;
        self.edit(&reset_section(&self.base, path)).await;
        let as_before = self.as_before().await;
        set.map_err(|last| format!("set {path} = {value}: {last}"))?;
        gone.map_err(|last| format!("remove {path}: {last}"))?;
        as_before.map_err(|last| format!("remove all that came with {path}: {last}"))
    }

    async fn as_before(&self) -> Result<(), String> {
        let [pods, front] = &self.shapes;
        self.waited::<Deployment>(|object| object == pods).await.map_err(|last| format!("{last}; wanted {pods}"))?;
        self.waited::<Service>(|object| object == front).await.map_err(|last| format!("{last}; wanted {front}"))?;
        Ok(())
    }

    async fn set_and_remove_each(&self, fields: &[Field]) {
        let mut failures = Vec::new();
        for field in fields {
            failures.extend(self.set_and_remove(field).await.err());
        }
        assert!(failures.is_empty(), "{} fields:\n{}\n{}", failures.len(), failures.join("\n"), self.operator.log());
    }
}

#[test]
fn the_tables_name_every_field_that_the_crd_has() {
    let mut named: BTreeSet<String> = fields().into_iter().chain(balanced_fields()).map(|field| field.path).collect();
    named.extend(ELSEWHERE.iter().map(|(path, _)| (*path).to_owned()));
    let known = known_fields();
    let missing: Vec<_> = known.iter().filter(|path| !named.contains(*path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let unknown: Vec<_> =
        named.iter().filter(|path| !path.starts_with("kubernetes.") && !known.contains(*path)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_optional_field_shows_when_set_and_goes_when_removed() {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let _etcd = data_store(&client, "default").await;
    let operator = Operator::start(&server, &[]).await;
    let extra = json!([{"name": "extra", "emptyDir": {}}]);
    create(
        &client,
        &tenant(&namespace, "one", "default", |spec| spec["controlPlane"]["deployment"]["additionalVolumes"] = extra),
    )
    .await;
    create(
        &client,
        &tenant(&namespace, "balanced", "default", |spec| {
            spec["controlPlane"]["service"]["serviceType"] = json!("LoadBalancer");
            spec["networkProfile"]["address"] = json!("192.0.2.10");
            spec["networkProfile"]["loadBalancerClass"] = json!("example.com/lb");
            spec["networkProfile"]["clusterDomain"] = json!("tenant.local");
        }),
    )
    .await;
    tokio::join!(one(&client, &namespace, &operator), balanced(&client, &namespace, &operator));
}

async fn one(client: &Client, namespace: &str, operator: &Operator) {
    let bench = Bench::new(client, namespace, "one", operator).await;
    bench.set_and_remove_each(&fields()).await;
    address_as_external_ip(&bench).await;
    names_in_the_certificate(&bench).await;
    service_type(&bench).await;
    konnectivity(&bench).await;
}

async fn balanced(client: &Client, namespace: &str, operator: &Operator) {
    let bench = Bench::new(client, namespace, "balanced", operator).await;
    let [deployment, service] = &bench.shapes;
    assert_eq!(service["spec"]["loadBalancerClass"], "example.com/lb");
    let issuer = "--service-account-issuer=https://kubernetes.default.svc.tenant.local";
    assert!(look(deployment, &format!("{POD}/containers/{{kube-apiserver}}/args/{issuer}")).is_some());
    bench.set_and_remove_each(&balanced_fields()).await;
}

async fn address_as_external_ip(bench: &Bench<'_>) {
    let address = json!({"spec": {"networkProfile": {"address": "192.0.2.3", "allowAddressAsExternalIP": true}}});
    bench.edit(&address).await;
    let shown = |object: &Value| object["spec"]["externalIPs"] == json!(["192.0.2.3"]);
    bench.wait::<Service>("allowAddressAsExternalIP", shown).await;
    bench.edit(&patch("networkProfile.allowAddressAsExternalIP", Value::Null)).await;
    bench.wait::<Service>("no allowAddressAsExternalIP", |object| object["spec"]["externalIPs"].is_null()).await;
    bench.edit(&patch("networkProfile.address", Value::Null)).await;
    bench.as_before().await.unwrap();
}

/// A name that is removed stays in the certificate until that is issued anew, because its going harms nobody.
async fn names_in_the_certificate(bench: &Bench<'_>) {
    const NAME: &str = "extra.example.com";
    let secrets: Api<Secret> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let certificate = |secret: &Secret| {
        let pem = &secret.data.as_ref().unwrap()["apiserver.crt"].0;
        kamaji_pki::Certificate::from_pem(pem).unwrap().dns_names().contains(&NAME.to_owned())
    };
    let config = |map: &ConfigMap| map.data.as_ref().unwrap()["ClusterConfiguration"].contains(NAME);
    let (secret, config_map) = ("one-api-server-certificate", "one-kubeadmconfig");
    bench.edit(&patch("networkProfile.certSANs", json!([NAME]))).await;
    wait_for(&secrets, secret, SOON, |secret: &Secret| certificate(secret)).await.unwrap();
    wait_for(&config_maps, config_map, SOON, |map: &ConfigMap| config(map)).await.unwrap();
    bench.edit(&patch("networkProfile.certSANs", Value::Null)).await;
    wait_for(&config_maps, config_map, SOON, |map: &ConfigMap| !config(map)).await.unwrap();
    assert!(certificate(&secrets.get(secret).await.unwrap()));
    let rotate = json!({"metadata": {"annotations": {"certs.kamaji.clastix.io/rotate": ""}}});
    secrets.patch(secret, &PatchParams::default(), &Patch::Merge(&rotate)).await.unwrap();
    wait_for(&secrets, secret, SOON, |secret: &Secret| !certificate(secret)).await.unwrap();
}

async fn service_type(bench: &Bench<'_>) {
    for (kind, network) in [
        ("NodePort", json!({"address": "192.0.2.4", "port": 30_443})),
        ("LoadBalancer", json!({"address": "192.0.2.4", "port": 6443, "loadBalancerClass": "example.com/lb"})),
    ] {
        bench
            .edit(&json!({"spec": {"controlPlane": {"service": {"serviceType": kind}}, "networkProfile": network}}))
            .await;
        let port = network["port"].clone();
        let shown = |object: &Value| object["spec"]["type"] == kind && object["spec"]["ports"][0]["port"] == port;
        let service = bench.wait::<Service>(kind, shown).await;
        if kind == "NodePort" {
            assert_eq!(service["spec"]["ports"][0]["nodePort"], 30_443);
        } else {
            assert_eq!(service["spec"]["loadBalancerClass"], "example.com/lb");
        }
    }
    let back = json!({"address": null, "port": 6443, "loadBalancerClass": null});
    bench
        .edit(&json!({"spec": {"controlPlane": {"service": {"serviceType": "ClusterIP"}}, "networkProfile": back}}))
        .await;
    bench.as_before().await.unwrap();
}

/// Its certificate and kubeconfig are not made by this release, so they are put there as a predecessor leaves them.
async fn konnectivity(bench: &Bench<'_>) {
    let secrets: Api<Secret> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), &bench.namespace);
    // Without the addon they would be taken away at once.
    bench.edit(&patch("addons", json!({"konnectivity": {}}))).await;
    let names = ["konnectivity-certificate", "konnectivity-kubeconfig"].map(|component| format!("one-{component}"));
    for name in &names {
        let object = json!({
            "metadata": {
                "name": name,
                "labels": {
                    "kamaji.clastix.io/project": "kamaji",
                    "kamaji.clastix.io/name": "one",
                    "kamaji.clastix.io/component": name.strip_prefix("one-"),
                },
                "ownerReferences": [{
                    "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane", "name": "one",
                    "uid": bench.base["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
                }],
            },
        });
        secrets.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    let server = format!("{POD}/containers/{{konnectivity-server}}/name");
    bench.wait::<Deployment>("konnectivity", |object| look(object, &server).is_some()).await;
    bench.wait::<Service>("konnectivity", |object| look(object, "/spec/ports/{konnectivity-server}").is_some()).await;
    let selector = "one-konnectivity-egress-selector-configuration";
    wait_for(&config_maps, selector, SOON, |_: &ConfigMap| true).await.unwrap();
    bench.edit(&patch("addons", Value::Null)).await;
    bench.as_before().await.unwrap();
    wait_for_deletion(&config_maps, selector, None, SOON).await.unwrap();
    for name in &names {
        wait_for_deletion(&secrets, name, None, SOON).await.unwrap();
    }
}
