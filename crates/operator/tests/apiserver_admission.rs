//! Names on a datastore that the API server refuses by the chart's policy, before any operator sees them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kamaji_api::{DataStore, TenantControlPlane, contract};
use kamaji_plan::store_users::MOST_NAMES;
use kamaji_testkit::{api_server::ApiServer, controller_manager::ControllerManager, parts, wait::wait_for};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{SOON, tenant};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// An API server with the definitions and the chart. No operator runs: the statuses are what one would write.
async fn server() -> &'static ApiServer {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let server = ApiServer::shared().await.unwrap();
    INSTALLED.get_or_init(|| install(server)).await;
    server
}

async fn install(server: &ApiServer) {
    server.install_crds(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let home = TempDir::new().unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/kamaji");
    let output = Command::new(parts::helm())
        .args(["install", "kamaji", chart, "--namespace", "kamaji-system", "--create-namespace", "--skip-crds"])
        .env("KUBECONFIG", server.kubeconfig_path())
        .env("HOME", home.path())
        .env("HELM_CACHE_HOME", home.path().join("cache"))
        .env("HELM_CONFIG_HOME", home.path().join("config"))
        .env("HELM_DATA_HOME", home.path().join("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `--reuse-values` brings the values of a release that did not know the policy.
#[test]
fn the_policy_is_rendered_with_values_that_do_not_know_it() {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/kamaji");
    let kinds = |value: &str| {
        let output = Command::new(parts::helm())
            .args(["template", "kamaji", chart, "--kube-version", "1.36.0", "--set", value])
            .args(["--api-versions", "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rendered = String::from_utf8(output.stdout).unwrap();
        assert!(!rendered.contains(": ]"), "a DataStore name is missing");
        rendered.lines().filter(|line| line.starts_with("kind: ValidatingAdmissionPolicy")).count()
    };
    assert_eq!(kinds("admissionPolicies=null"), 2);
    assert_eq!(kinds("defaultDatastoreName=null"), 2);
    assert_eq!(kinds("admissionPolicies.enabled=false"), 0);
}

/// A DataStore of no server.
async fn store(client: &Client, name: &str, driver: &str, status: Value) {
    let any = json!({"content": "eA=="});
    let spec = if driver == "etcd" {
        let pair = json!({"certificate": any, "privateKey": any});
        json!({
            "driver": driver,
            "endpoints": ["store:2379"],
            "tlsConfig": {"certificateAuthority": pair, "clientCertificate": pair},
        })
    } else {
        json!({"driver": driver, "endpoints": ["store:1"], "basicAuth": {"username": any, "password": any}})
    };
    let object = json!({
        "apiVersion": contract::API_VERSION,
        "kind": "DataStore",
        "metadata": {"name": name},
        "spec": spec,
    });
    let object: DataStore = serde_json::from_value(object).unwrap();
    Api::<DataStore>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
    if !status.is_null() {
        tell(client, name, status).await;
    }
}

async fn tell(client: &Client, name: &str, mut status: Value) {
    status["ready"] = json!(true);
    let patch = Patch::Merge(json!({ "status": status }));
    Api::<DataStore>::all(client.clone()).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

/// What the API server says to a request that it refuses. Its policies learn of a new DataStore a moment later.
async fn refusal<T>(request: impl AsyncFn() -> kube::Result<T>) -> String {
    let began = Instant::now();
    loop {
        match request().await {
            Err(kube::Error::Api(answer)) if answer.code == 422 => return answer.message,
            Err(other) => panic!("{other}"),
            Ok(_) => assert!(began.elapsed() < SOON, "it is let through"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tenants of one namespace.
struct Tenants {
    namespace: String,
    api: Api<TenantControlPlane>,
}

impl Tenants {
    async fn new(server: &ApiServer) -> Self {
        let namespace = server.namespace().await.unwrap();
        Self { api: Api::namespaced(server.client().unwrap(), &namespace), namespace }
    }

    /// Whether a tenant would be created; nothing is.
    async fn tries(&self, name: &str, data_store: &str, change: impl Fn(&mut Value)) -> kube::Result<()> {
        let trial = PostParams { dry_run: true, ..PostParams::default() };
        self.api.create(&trial, &tenant(&self.namespace, name, data_store, change)).await.map(|_| ())
    }

    async fn create(&self, name: &str, data_store: &str, change: impl Fn(&mut Value)) {
        let tenant = tenant(&self.namespace, name, data_store, change);
        self.api.create(&PostParams::default(), &tenant).await.unwrap();
    }

    async fn patch(&self, name: &str, patch: Value) -> kube::Result<()> {
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
    }
}

fn named(schema: &str, user: &str) -> impl Fn(&mut Value) {
    move |spec| {
        spec["dataStoreSchema"] = json!(schema);
        spec["dataStoreUsername"] = json!(user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_the_tenants_to_have_are_refused_with_the_way_out() {
    let server = server().await;
    let tenants = Tenants::new(server).await;
    let status = json!({
        "login": "admin",
        "takenNames": [
            {"tenant": "other/one", "schema": "theirs", "user": "their_user"},
            {"tenant": format!("{}/own", tenants.namespace), "schema": "own_schema", "user": "own_user"},
        ],
    });
    let client = server.client().unwrap();
    store(&client, "refusing", "PostgreSQL", status.clone()).await;
    store(&client, "refusing-mysql", "MySQL", status).await;
    let another = "belongs to another TenantControlPlane on the DataStore \"refusing\", which has it or left data under \
                   it; choose a name that nobody else has";
    let own_login = "is the login of the DataStore \"refusing\" itself; choose another name";
    let database = "is a system database of PostgreSQL on the DataStore \"refusing\"; choose another name";
    let role = "is a system user of PostgreSQL on the DataStore \"refusing\"; choose another name";
    for (schema, user, sentence) in [
        ("theirs", "mine", format!("spec.dataStoreSchema: \"theirs\" {another}")),
        ("mine", "their_user", format!("spec.dataStoreUsername: \"their_user\" {another}")),
        ("own_schema", "mine", format!("spec.dataStoreSchema: \"own_schema\" {another}")),
        ("mine", "admin", format!("spec.dataStoreUsername: \"admin\" {own_login}")),
        ("Postgres", "mine", format!("spec.dataStoreSchema: \"Postgres\" {database}")),
        ("mine", "postgres", format!("spec.dataStoreUsername: \"postgres\" {role}")),
        ("mine", "pg_monitor", format!("spec.dataStoreUsername: \"pg_monitor\" {role}")),
        ("mine", "root", "the name must not be root".to_owned()),
    ] {
        let told = refusal(async || tenants.tries("new", "refusing", named(schema, user)).await).await;
        assert!(told.contains(&sentence), "{schema} {user}: {told}");
    }
    for (schema, user, field) in [
        ("SYS", "mine", "spec.dataStoreSchema"),
        ("mine", "mysql.sys", "spec.dataStoreUsername"),
        ("mine", "mariadb.sys", "spec.dataStoreUsername"),
    ] {
        let told = refusal(async || tenants.tries("new", "refusing-mysql", named(schema, user)).await).await;
        assert!(told.contains(field) && told.contains("of MySQL on the DataStore"), "{schema} {user}: {told}");
    }
    tenants.tries("new", "refusing", named("mine", "mine")).await.unwrap();
    tenants.tries("new", "refusing", |_| {}).await.unwrap();
    tenants.tries("new", "refusing", named("mysql", "mysql.sys")).await.unwrap();
    tenants.tries("new", "refusing-mysql", named("postgres", "postgres")).await.unwrap();
    // A schema is no user.
    tenants.tries("new", "refusing", named("their_user", "theirs")).await.unwrap();
    tenants.tries("own", "refusing", named("own_schema", "own_user")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_on_each_datastore_that_the_tenant_uses_and_on_no_other() {
    let server = server().await;
    let tenants = Tenants::new(server).await;
    let client = server.client().unwrap();
    let taken = json!({"takenNames": [{"tenant": "other/one", "schema": "theirs", "user": "their_user"}]});
    store(&client, "apart", "etcd", json!({})).await;
    store(&client, "unknown", "etcd", Value::Null).await;
    store(&client, "second", "etcd", taken.clone()).await;
    // The chart's default for tenants that name none.
    store(&client, "default", "etcd", taken).await;
    let on_nats = json!({"login": "account", "takenNames": [{"tenant": "other/one", "schema": "theirs"}]});
    store(&client, "nats", "NATS", on_nats).await;

    let over = |spec: &mut Value| {
        named("theirs", "mine")(spec);
        spec["dataStoreOverrides"] = json!([{"resource": "/events", "dataStore": "second"}]);
    };
    let told = refusal(async || tenants.tries("new", "apart", over).await).await;
    assert!(told.contains("spec.dataStoreSchema: \"theirs\"") && told.contains("\"second\""), "{told}");
    let nowhere = |spec: &mut Value| {
        named("mine", "their_user")(spec);
        spec.as_object_mut().unwrap().remove("dataStore");
    };
    let told = refusal(async || tenants.tries("new", "", nowhere).await).await;
    assert!(told.contains("spec.dataStoreUsername: \"their_user\"") && told.contains("\"default\""), "{told}");
    let told = refusal(async || tenants.tries("new", "nats", named("theirs", "mine")).await).await;
    assert!(told.contains("spec.dataStoreSchema: \"theirs\"") && told.contains("\"nats\""), "{told}");

    for free in ["apart", "unknown", "missing"] {
        tenants.tries("new", free, named("theirs", "their_user")).await.unwrap();
    }
    // Which one it will be on is not known yet: the operator looks when it is.
    let selects = |spec: &mut Value| {
        nowhere(spec);
        spec["dataStoreSelector"] = json!({"matchLabels": {"pool": "a"}});
    };
    tenants.tries("new", "", selects).await.unwrap();
    tenants.tries("new", "nats", named("mine", "account")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_tenant_asked_for_before_hinders_no_other_change() {
    let server = server().await;
    let tenants = Tenants::new(server).await;
    let client = server.client().unwrap();
    let taken = json!({"takenNames": [{"tenant": "other/one", "schema": "theirs", "user": "their_user"}]});
    store(&client, "late", "etcd", json!({})).await;
    store(&client, "later", "etcd", taken.clone()).await;
    tenants.create("early", "late", named("theirs", "their_user")).await;
    tenants.create("nameless", "late", |_| {}).await;
    tenants.create("ending", "late", |_| {}).await;
    tell(&client, "late", taken).await;
    refusal(async || tenants.tries("new", "late", named("theirs", "mine")).await).await;
    refusal(async || tenants.tries("new", "later", named("theirs", "mine")).await).await;

    let replicas = |count: u8| json!({"spec": {"controlPlane": {"deployment": {"replicas": count}}}});
    tenants.patch("early", replicas(3)).await.unwrap();
    tenants.patch("early", json!({"metadata": {"annotations": {contract::annotations::PAUSED: ""}}})).await.unwrap();
    tenants.patch("early", replicas(2)).await.unwrap();
    let elsewhere = json!({"spec": {"dataStoreOverrides": [{"resource": "/events", "dataStore": "later"}]}});
    let told = refusal(async || tenants.patch("early", elsewhere.clone()).await).await;
    assert!(told.contains("spec.dataStoreSchema: \"theirs\"") && told.contains("\"later\""), "{told}");

    let asks = |field: &str, name: &str| json!({"spec": {field: name}});
    for (field, name) in [("dataStoreSchema", "theirs"), ("dataStoreUsername", "their_user")] {
        let told = refusal(async || tenants.patch("nameless", asks(field, name)).await).await;
        assert!(told.contains(&format!("spec.{field}: \"{name}\"")) && told.contains("\"late\""), "{told}");
        tenants.patch("nameless", asks(field, "mine")).await.unwrap();
    }

    // Whoever is about to go is let go, whatever is written beside.
    tenants.patch("ending", json!({"metadata": {"finalizers": ["example.com/held"]}})).await.unwrap();
    tenants.api.delete("ending", &DeleteParams::default()).await.unwrap();
    tenants.patch("ending", asks("dataStoreSchema", "theirs")).await.unwrap();
    tenants.patch("ending", json!({"metadata": {"finalizers": null}})).await.unwrap();
}

/// The API server limits what looking through a list may cost, and this policy fails open.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_among_as_many_and_as_long_names_as_a_datastore_shows() {
    let server = server().await;
    let tenants = Tenants::new(server).await;
    let client = server.client().unwrap();
    let name = |which: &str, index: usize| format!("{which}{index:0>width$}", width = 200 - which.len());
    let tenant = |index: usize| format!("{}/t{index:0>62}", "n".repeat(63));
    let taken: Vec<Value> = (0..MOST_NAMES)
        .map(|index| json!({"tenant": tenant(index), "schema": name("s", index), "user": name("u", index)}))
        .collect();
    store(&client, "full", "etcd", json!({"takenNames": taken})).await;
    let last = MOST_NAMES - 1;
    for (schema, user, field) in [
        (name("s", last), name("u", MOST_NAMES), "spec.dataStoreSchema"),
        (name("s", MOST_NAMES), name("u", last), "spec.dataStoreUsername"),
    ] {
        let told = refusal(async || tenants.tries("new", "full", named(&schema, &user)).await).await;
        assert!(told.contains(field) && told.contains("\"full\""), "{told}");
    }
    tenants.tries("new", "full", named(&name("s", MOST_NAMES), &name("u", MOST_NAMES))).await.unwrap();
    let stored = Api::<DataStore>::all(client).get("full").await.unwrap();
    let size = serde_json::to_vec(&stored).unwrap().len();
    println!("a DataStore with {MOST_NAMES} of the longest names has {size} bytes");
    assert!(size < 600_000, "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_fits_the_definitions() {
    let server = server().await;
    let _checks = ControllerManager::start(server).await.unwrap();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(server.client().unwrap());
    let warnings = async |name: &str| {
        let checked = |policy: &ValidatingAdmissionPolicy| {
            policy.status.as_ref().is_some_and(|status| status.observed_generation.is_some())
        };
        let policy = wait_for(&policies, name, SOON, checked).await.unwrap();
        policy.status.unwrap().type_checking.and_then(|checked| checked.expression_warnings).unwrap_or_default()
    };
    let found = warnings("kamaji-datastore-names").await;
    assert!(found.is_empty(), "{found:#?}");

    // One that names a field which does not exist is found out. It has no binding, so it refuses nothing.
    let mut wrong = policies.get("kamaji-datastore-names").await.unwrap();
    wrong.metadata = ObjectMeta { name: Some("wrong".to_owned()), ..ObjectMeta::default() };
    wrong.status = None;
    let validation = wrong.spec.as_mut().unwrap().validations.as_mut().unwrap();
    validation[0].expression = "object.spec.dataStoreSchemas == params.status.takenName".to_owned();
    policies.create(&PostParams::default(), &wrong).await.unwrap();
    assert_eq!(warnings("wrong").await.len(), 1);
}
