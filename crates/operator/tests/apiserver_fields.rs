//! For every optional field that shapes a tenant's Deployment or Service: set it and see it there, remove it and see it
//! gone. What shows in the tenant's own cluster is in `apiserver_session_fields`.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well, and writes as users do"
)]

mod fields;
mod support;

use std::{collections::BTreeSet, time::Duration};

use self::fields::{
    Field, Kind, POD, balanced_fields,
    elsewhere::{Elsewhere, elsewhere},
    fields, known_fields, konnectivity_fields, look, patch,
    tenant_cluster::{agent_deployment_fields, tenant_fields},
};
use self::support::{Operator, SOON, create, data_store, tenant};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{TenantControlPlane, crd};
use kamaji_pki::{KeyAlgorithm, PrivateKey};
use kamaji_testkit::{api_server::ApiServer, wait::wait_for};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A field shows within milliseconds; this is for a machine that is busy with something else.
const QUICK: Duration = Duration::from_secs(10);

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
fn every_field_that_the_crd_has_is_in_a_table_or_names_the_test_that_shows_it() {
    let mut named: BTreeSet<String> =
        [fields(), balanced_fields(), konnectivity_fields()].into_iter().flatten().map(|field| field.path).collect();
    named.extend([tenant_fields(), agent_deployment_fields()].into_iter().flatten().map(|field| field.path.to_owned()));
    for (path, elsewhere) in elsewhere() {
        assert!(named.insert(path.to_owned()), "{path} is in two tables");
        match elsewhere {
            Elsewhere::Shown { file, test } => {
                let source = std::fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR")));
                let source = source.unwrap_or_else(|error| panic!("{path}: {file}: {error}"));
                assert!(source.contains(&format!("fn {test}(")), "{path}: {file} has no {test}");
            }
            Elsewhere::Nothing { why } => assert!(!why.is_empty(), "{path}"),
        }
    }
    let known = known_fields();
    assert!(known.len() > 100, "{known:#?}");
    let missing: Vec<_> = known.difference(&named).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_optional_field_shows_when_set_and_goes_when_removed() {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let _etcd = data_store(&client, "default").await;
    let operator = Operator::start(&server, &[]);
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
    create(
        &client,
        &tenant(&namespace, "tunnelled", "default", |spec| {
            spec["addons"] = json!({"konnectivity": {"server": {"port": 8132}}});
        }),
    )
    .await;
    tokio::join!(
        one(&client, &namespace, &operator),
        balanced(&client, &namespace, &operator),
        tunnelled(&client, &namespace, &operator),
    );
}

async fn one(client: &Client, namespace: &str, operator: &Operator) {
    let bench = Bench::new(client, namespace, "one", operator).await;
    bench.set_and_remove_each(&fields()).await;
    address_as_external_ip(&bench).await;
    names_in_the_certificate(&bench).await;
    service_type(&bench).await;
    konnectivity(&bench).await;
    write_permissions(&bench).await;
}

async fn balanced(client: &Client, namespace: &str, operator: &Operator) {
    let bench = Bench::new(client, namespace, "balanced", operator).await;
    let [deployment, service] = &bench.shapes;
    assert_eq!(service["spec"]["loadBalancerClass"], "example.com/lb");
    let issuer = "--service-account-issuer=https://kubernetes.default.svc.tenant.local";
    assert!(look(deployment, &format!("{POD}/containers/{{kube-apiserver}}/args/{issuer}")).is_some());
    bench.set_and_remove_each(&balanced_fields()).await;
}

async fn tunnelled(client: &Client, namespace: &str, operator: &Operator) {
    let bench = Bench::new(client, namespace, "tunnelled", operator).await;
    bench.set_and_remove_each(&konnectivity_fields()).await;
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

/// More of it is looked at in `apiserver_konnectivity`.
async fn konnectivity(bench: &Bench<'_>) {
    bench.edit(&patch("addons", json!({"konnectivity": {}}))).await;
    let server = format!("{POD}/containers/{{konnectivity-server}}/name");
    bench.wait::<Deployment>("konnectivity", |object| look(object, &server).is_some()).await;
    bench.wait::<Service>("konnectivity", |object| look(object, "/spec/ports/{konnectivity-server}").is_some()).await;
    bench.edit(&patch("addons", Value::Null)).await;
    bench.as_before().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_anew_have_the_algorithm_of_the_field_while_it_is_set() {
    const SECRET: &str = "one-api-server-certificate";
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let _etcd = data_store(&client, "default").await;
    let mut operator = Operator::start(&server, &[]);
    create(&client, &tenant(&namespace, "one", "default", |_| {})).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    wait_for(&deployments, "one", SOON, |_| true).await.unwrap();
    let tenants: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let algorithm = |secret: &Secret| {
        let pem = &secret.data.as_ref().unwrap()["apiserver.key"].0;
        PrivateKey::from_pem(pem).unwrap().algorithm()
    };
    assert_eq!(algorithm(&secrets.get(SECRET).await.unwrap()), KeyAlgorithm::EcdsaP256);
    for (value, wanted) in [(json!("ECDSA-P384"), KeyAlgorithm::EcdsaP384), (Value::Null, KeyAlgorithm::EcdsaP256)] {
        // Lost while nobody looks: else the same key comes back.
        operator.kill();
        let patch = Patch::Merge(patch("kubernetes.encryptionAlgorithm", value));
        tenants.patch("one", &PatchParams::default(), &patch).await.unwrap();
        secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
        operator.resume();
        let found = wait_for(&secrets, SECRET, SOON, |_| true).await;
        let found = found.unwrap_or_else(|error| panic!("{error}\n{}", operator.log()));
        assert_eq!(algorithm(&found), wanted);
    }
}

async fn write_permissions(bench: &Bench<'_>) {
    let tenants: Api<TenantControlPlane> = Api::namespaced(bench.client.clone(), &bench.namespace);
    let deployments: Api<Deployment> = Api::namespaced(bench.client.clone(), &bench.namespace);
    // While nothing answers, that is what the phase says.
    let ready = json!({"status": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}});
    deployments.patch_status("one", &PatchParams::default(), &Patch::Merge(&ready)).await.unwrap();
    let limited = |tenant: &TenantControlPlane| {
        let phase = tenant.status.clone().unwrap_or_default().kubernetes_resources.version.status;
        phase.is_some_and(|phase| phase.as_str() == "WriteLimited")
    };
    for field in ["blockCreation", "blockUpdate", "blockDeletion"] {
        bench.edit(&patch(&format!("writePermissions.{field}"), json!(true))).await;
        wait_for(&tenants, "one", SOON, limited).await.unwrap_or_else(|error| panic!("{field}: {error}"));
        bench.edit(&patch("writePermissions", Value::Null)).await;
        let free = wait_for(&tenants, "one", SOON, |tenant| !limited(tenant)).await;
        free.unwrap_or_else(|error| panic!("no {field}: {error}"));
    }
}
