//! Whatever a user writes: resolve and plan do not panic, give the same bytes twice, or refuse with a sentence.

use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_pki::{Authority, Certificate, KeyAlgorithm, PrivateKey};
use kamaji_plan::{
    control_plane::{self, names::TenantSecret, service},
    exposed::Exposed,
    issuance::{self, Moment, authorities, kubeconfigs, leaves, mint},
    resolve::{self, Observed, StoreIdentity},
    status::{self, Findings, conditions::Outcome},
    tenant_cluster,
};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::sample::{self, full, minimal};

/// Texts that parsers of names, addresses, ranges, ports, versions and flags trip over.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "\n",
    "-",
    "--",
    "=",
    "--=",
    "--v",
    "-v=1",
    "--secure-port=1",
    ":",
    "::",
    "[::]",
    "[::1]:6443",
    "a:b:c",
    "0",
    "-1",
    "65535",
    "65536",
    "99999999999999999999",
    "1e9",
    "0x10",
    "true",
    "null",
    "{}",
    "\u{0}a",
    "\u{feff}",
    "ÄÖ",
    "☃",
    "𝕏",
    "a\u{301}",
    "\u{202e}abc",
    "v1.36.3",
    "1.36.3",
    "v1.36",
    "v1.36.3+build",
    "v1.36.3-rc.1",
    "v01.036.03",
    "v1.4294967296.0",
    "10.96.0.0/16",
    "10.96.0.1/32",
    "0.0.0.0/0",
    "255.255.255.255/31",
    "10.96.0.0/",
    "/16",
    "10.96.0.0/16/16",
    "::/0",
    "fd00::/8",
    "fd00::/128",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
    "::ffff:10.0.0.1",
    "::ffff:10.0.0.0/104",
    "fe80::1%eth0",
    "127.0.0.1",
    "10.0.0.1",
    "2001:db8::1",
    "010.0.0.1",
    "1.2.3",
    "localhost",
    "example.com",
    "*.example.com",
    "*.*.com",
    "example.com.",
    "EXAMPLE.com",
    "-a.com",
    "a_b",
    "example.com:443",
    "example.com:0",
    "example.com:65536",
    "example.com:",
    "root",
    "a/b",
    "../..",
    "..",
    "ClusterIP",
    "NodePort",
    "LoadBalancer",
    "ExternalName",
    "RollingUpdate",
    "Recreate",
    "kube-apiserver",
    "kube-scheduler",
    "etc-kubernetes-pki",
    "/etc/kubernetes/pki",
    "/etc/kubernetes",
    "ECDSA-P384",
    "RSA-2048",
    "InternalIP",
    "NodeRestriction",
    "kamaji.clastix.io/name",
    "kamaji.clastix.io/project",
    "100%",
    "-5%",
    "1Gi",
    "-1Ki",
    "99999999999999999999Ei",
    "1n",
    "Upstream2026",
    "R1",
    "R9",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(TEXTS).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => (any::<char>(), 1_usize..300).prop_map(|(letter, count)| letter.to_string().repeat(count)),
        1 => (0_usize..20_000).prop_map(|count| "a".repeat(count)),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-2_i64..9).prop_map(Value::from),
        proptest::sample::select(vec![
            i64::MIN,
            i64::from(i32::MIN),
            0,
            6443,
            65_535,
            65_536,
            i64::from(i32::MAX),
            1 << 31,
            i64::MAX
        ])
        .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        2 => number(),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// One change at a random place of a JSON tree.
#[derive(Clone, Debug)]
enum Change {
    /// Another value of whatever kind.
    Replace(Value),
    /// Another text, where there is a text.
    Text(String),
    /// Another number, where there is a number.
    Number(Value),
    /// Away with it.
    Remove,
    /// A list item twice, or a lot more often.
    Repeat(usize),
    /// A new member of an object or item of a list.
    Add(String, Value),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        2 => any_json().prop_map(Change::Replace),
        5 => text().prop_map(Change::Text),
        2 => number().prop_map(Change::Number),
        2 => Just(Change::Remove),
        1 => (1_usize..4).prop_map(Change::Repeat),
        1 => (text(), any_json()).prop_map(|(key, value)| Change::Add(key, value)),
    ];
    (any::<Index>(), change)
}

/// Paths of all nodes that `change` can change.
fn places(value: &Value, change: &Change) -> Vec<String> {
    fn walk(value: &Value, path: &str, fits: &dyn Fn(&Value) -> bool, found: &mut Vec<String>) {
        if fits(value) && !path.is_empty() {
            found.push(path.to_owned());
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}/{index}"), fits, found);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(member, &format!("{path}/{key}"), fits, found);
                }
            }
            _ => {}
        }
    }
    let fits: fn(&Value) -> bool = match change {
        Change::Replace(_) | Change::Remove => |_| true,
        Change::Text(_) => Value::is_string,
        Change::Number(_) => Value::is_number,
        Change::Repeat(_) => Value::is_array,
        Change::Add(..) => |value| value.is_array() || value.is_object(),
    };
    let mut found = Vec::new();
    walk(value, "", &fits, &mut found);
    found
}

fn apply(value: &mut Value, at: Index, change: &Change) {
    let places = places(value, change);
    if places.is_empty() {
        return;
    }
    let place = at.get(&places);
    if let Change::Remove = change {
        let (parent, last) = place.rsplit_once('/').unwrap();
        match value.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(&last.replace("~1", "/").replace("~0", "~"))),
            Value::Array(items) => drop(items.remove(last.parse::<usize>().unwrap())),
            _ => {}
        }
        return;
    }
    let node = value.pointer_mut(place).unwrap();
    match (change, node) {
        (Change::Replace(new) | Change::Number(new), node) => *node = new.clone(),
        (Change::Text(new), node) => *node = Value::from(new.clone()),
        (Change::Repeat(times), Value::Array(items)) => {
            let once = items.clone();
            (0..*times).for_each(|_| items.extend(once.clone()));
        }
        (Change::Add(_, new), Value::Array(items)) => items.push(new.clone()),
        (Change::Add(key, new), Value::Object(members)) => drop(members.insert(key.clone(), new.clone())),
        (Change::Remove | Change::Repeat(_) | Change::Add(..), _) => {}
    }
}

/// What a user, an API server and a predecessor can have left.
#[derive(Clone, Debug)]
struct Situation {
    full: bool,
    name: Option<String>,
    namespace: Option<String>,
    annotations: Vec<(String, String)>,
    spec: Vec<(Index, Change)>,
    status: Vec<(Index, Change)>,
    live: Option<Vec<(Index, Change)>>,
    store: Vec<(Index, Change)>,
    recorded: Option<(String, String)>,
    /// Keys and texts of the owner's ConfigMap.
    internal_ca: Option<Vec<(String, String)>>,
}

/// Certificates, or what may stand in their place.
fn certificates() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::from_utf8(CA.1.clone()).unwrap()),
        1 => any::<Index>().prop_map(|at| {
            let text = String::from_utf8(CA.1.clone()).unwrap();
            text[..at.index(text.len())].to_owned()
        }),
        1 => text(),
    ]
}

fn situation() -> impl Strategy<Value = Situation> {
    let annotation = (
        proptest::sample::select(vec![
            "kamaji.clastix.io/template-revision",
            "kamaji.clastix.io/encryptionAlgorithm",
            "kamaji.clastix.io/internalCACertificatesConfigMap",
        ])
        .prop_map(str::to_owned),
        text(),
    );
    (
        any::<bool>(),
        option::weighted(0.1, text()),
        option::weighted(0.1, text()),
        vec(annotation, 0..2),
        vec(change(), 0..6),
        vec(change(), 0..2),
        option::of(vec(change(), 0..4)),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(change(), 0..3)],
        option::weighted(0.2, (text(), text())),
        option::weighted(0.3, vec((text(), certificates()), 0..4)),
    )
        .prop_map(|(full, name, namespace, annotations, spec, status, live, store, recorded, internal_ca)| {
            Situation { full, name, namespace, annotations, spec, status, live, store, recorded, internal_ca }
        })
}

fn changed(mut value: Value, changes: &[(Index, Change)]) -> Value {
    for (at, change) in changes {
        apply(&mut value, *at, change);
    }
    value
}

static MINIMAL: LazyLock<Value> = LazyLock::new(minimal);
static FULL: LazyLock<Value> = LazyLock::new(full);
static LIVE: LazyLock<Value> = LazyLock::new(|| {
    let resolved = sample::resolve(&sample::tenant(&FULL), None).unwrap();
    serde_json::to_value(sample::plan(&resolved, None).1.deployment).unwrap()
});
static DATA_STORE: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(sample::data_store()).unwrap());
static STATUS: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "storage": {"setup": {"schema": "one", "user": "one"}},
        "kubernetesResources": {"version": {"version": "v1.36.1", "status": "Ready"}},
    })
});
/// The authority that a certificate without a fault is checked against.
static CA: LazyLock<(Certificate, Vec<u8>)> = LazyLock::new(|| {
    let profile = authorities::profile(TenantSecret::Ca, now());
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let data = mint::root(TenantSecret::Ca, &profile, &key).unwrap();
    Authority::from_pem(&data["ca.crt"].0, &data["ca.key"].0).unwrap();
    (Certificate::from_pem(&data["ca.crt"].0).unwrap(), data["ca.crt"].0.clone())
});

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

struct Objects {
    tenant: Arc<TenantControlPlane>,
    live: Option<Deployment>,
    data_store: DataStore,
    recorded: Option<StoreIdentity>,
    internal_ca: Option<ConfigMap>,
}

impl Situation {
    /// The objects as a watch would decode them. What an API server would never hand out is left away.
    fn objects(&self) -> Objects {
        let mut spec = if self.full { FULL.clone() } else { MINIMAL.clone() };
        if self.internal_ca.is_some() {
            spec["internalCACertificatesConfigMap"] = json!("authorities");
        }
        let spec = changed(spec, &self.spec);
        let mut object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {
                "name": self.name.clone().unwrap_or_else(|| "one".to_owned()),
                "namespace": self.namespace.clone().unwrap_or_else(|| "tenants".to_owned()),
                "uid": "11111111-2222-3333-4444-555555555555",
                "annotations": self.annotations.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            },
            "spec": spec,
        });
        if !self.status.is_empty() {
            object["status"] = changed(STATUS.clone(), &self.status);
        }
        let live = self.live.as_ref().map(|changes| changed(LIVE.clone(), changes));
        let data_store = serde_json::from_value(changed(DATA_STORE.clone(), &self.store));
        Objects {
            tenant: Arc::new(serde_json::from_value(object).expect("every specification decodes")),
            live: live.and_then(|live| serde_json::from_value(live).ok()),
            data_store: data_store.unwrap_or_else(|_| sample::data_store()),
            recorded: self.recorded.clone().map(|(schema, user)| StoreIdentity { schema, user }),
            internal_ca: self
                .internal_ca
                .clone()
                .map(|keys| ConfigMap { data: Some(keys.into_iter().collect()), ..ConfigMap::default() }),
        }
    }
}

/// Everything that is computed for a tenant, as bytes; or the sentence that refuses it.
fn outcome(objects: &Objects) -> Result<Vec<u8>, (String, String)> {
    let observed = Observed {
        data_store: Some(&objects.data_store),
        chosen: Some("default"),
        data_stores: &[],
        known_good: &[],
        deployment: objects.live.as_ref(),
        kine_image: None,
        recorded_identity: objects.recorded.as_ref(),
        internal_ca: objects.internal_ca.as_ref(),
        internal_ca_copies: &[],
        now: now(),
    };
    let reported = |outcome: &Outcome, findings: &Findings<'_>| {
        serde_json::to_value(status::status(&objects.tenant, findings, outcome, now())).unwrap()
    };
    let resolved = match resolve::resolve(&objects.tenant, &observed) {
        Ok(resolved) => resolved,
        Err(rejection) => {
            let found = Findings { deployment: objects.live.as_ref(), ..Findings::default() };
            reported(&Outcome::Rejected(rejection.clone()), &found);
            return Err((rejection.field, rejection.message));
        }
    };
    let service = service::service(&resolved, None);
    let exposed: Exposed = sample::exposed(&resolved);
    let (issued, stored) = (sample::issued(), sample::stored(&resolved));
    let plan = control_plane::plan(&resolved, &exposed, &issued, &stored, objects.live.as_ref());
    let moment = Moment { now: now(), renew_before: SignedDuration::from_hours(24) };
    let (ca, pem) = &*CA;
    let tenant_cluster = tenant_cluster::plan(&resolved, &exposed, KeyAlgorithm::EcdsaP256, pem);
    let signers = leaves::Authorities { ca, front_proxy_ca: ca };
    let mut requests = leaves::missing(&resolved, &exposed, &signers, KeyAlgorithm::EcdsaP256, |_| None, &moment);
    requests.extend(kubeconfigs::missing(&resolved, &exposed, ca, pem, KeyAlgorithm::EcdsaP256, |_| None, &moment));
    let secret = issuance::secret(&resolved, TenantSecret::Ca, issuance::Data::new(), None);
    let found = Findings {
        resolved: Some(&resolved),
        service: Some(&service),
        exposed: Some(&exposed),
        issued: Some(&issued),
        stored: Some(&stored),
        kubeadm_checksum: Some("checksum"),
        deployment: Some(&plan.deployment),
        tenant: None,
    };
    let status = reported(&Outcome::Done, &found);
    let all = (service, plan.config_maps, plan.deployment, secret, status);
    let mut bytes = serde_json::to_vec(&all).expect("every plan can be written");
    bytes.extend(format!("{requests:?}{tenant_cluster:?}").into_bytes());
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig {
        // PROPTEST_CASES sets another number.
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_specification_is_planned_the_same_twice_or_refused_with_a_sentence(situation in situation()) {
        let objects = situation.objects();
        let first = outcome(&objects);
        prop_assert_eq!(&first, &outcome(&objects));
        if let Err((field, message)) = first {
            let named = ["spec.", "metadata."].iter().any(|start| field.starts_with(start));
            prop_assert!(named, "no field is named: {field}: {message}");
            prop_assert!(!message.trim().is_empty());
            prop_assert!(!message.starts_with(|first: char| first.is_uppercase()), "{}", message);
        }
    }
}

#[test]
fn the_generator_reaches_both_plans_and_refusals() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut fields = std::collections::BTreeMap::<String, u32>::new();
    let mut planned = 0;
    for _ in 0..400 {
        let situation = situation().new_tree(&mut runner).unwrap().current();
        match outcome(&situation.objects()) {
            Ok(_) => planned += 1,
            Err((field, _)) => *fields.entry(field).or_default() += 1,
        }
    }
    assert!(planned >= 80, "{planned} planned, refused {fields:?}");
    assert!(fields.len() >= 15, "{planned} planned, refused {fields:?}");
}
