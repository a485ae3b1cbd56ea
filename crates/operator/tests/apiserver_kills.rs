//! The operator is killed at 200 random moments while tenants are created, changed and deleted, and asked to end at
//! others, every fourth time: real etcd, kube-apiserver and kube-controller-manager, simulated pods.
//!
//! `KAMAJI_TEST_SEED` repeats a run's choices; each run prints its own.

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
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::{Duration, Instant},
};

use etcd_client::GetOptions;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
    },
};
use kamaji_api::{TenantControlPlane, conditions, contract};
use kamaji_testkit::{cluster::Cluster, wait::wait_for};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::de::DeserializeOwned;
use serde_json::json;
use support::{Operator, SOON, data_store, settle::counts as counts_of, tenant, witness::Witness};

const TENANTS: usize = 24;
const KILLS: usize = 200;
/// After so many kills it is asked to end.
const KILLS_IN_A_ROW: usize = 3;
/// The grace that the chart gives the Pod.
const GRACE: Duration = Duration::from_secs(10);

/// What is done to one tenant, by the number of the kill before it.
#[derive(Debug)]
struct Life {
    name: String,
    create: usize,
    changes: Vec<usize>,
    delete: Option<usize>,
    /// Created once more under the same name, as soon as the old one is gone.
    again: bool,
}

fn lives(random: &mut StdRng) -> Vec<Life> {
    let one = |index: usize| {
        let create = random.random_range(0..KILLS / 3);
        let changes = (0..index % 3).map(|_| random.random_range(create + 5..KILLS - 10)).collect();
        let delete = index.is_multiple_of(3).then(|| random.random_range(create + 3..KILLS - 10));
        Life { name: format!("tenant-{index}"), create, changes, delete, again: index.is_multiple_of(6) }
    };
    (0..TENANTS).map(one).collect()
}

struct Driver {
    tenants: Api<TenantControlPlane>,
    secrets: Api<Secret>,
    etcd: etcd_client::Client,
    namespace: String,
    /// Tenants that wait for their name to be free.
    waiting: BTreeSet<String>,
    changed: BTreeSet<String>,
    /// Tenants that have written nothing yet, by name: their UID.
    silent: BTreeMap<String, String>,
}

impl Driver {
    async fn step(&mut self, kill: usize, lives: &[Life], random: &mut StdRng) {
        self.write().await;
        for life in lives {
            if life.create == kill || self.waiting.contains(&life.name) {
                self.create(&life.name).await;
            }
            if life.changes.contains(&kill) {
                self.change(&life.name, random.random_range(0..4)).await;
            }
            if life.delete == Some(kill) {
                self.silent.remove(&life.name);
                self.tenants.delete(&life.name, &DeleteParams::default()).await.unwrap();
                if life.again {
                    self.waiting.insert(life.name.clone());
                }
            }
        }
    }

    /// What API servers would, once they may.
    async fn write(&mut self) {
        let users = self.etcd.user_list().await.unwrap();
        let able = self.silent.extract_if(.., |_, uid| users.users().contains(uid)).collect::<Vec<_>>();
        for (_, uid) in able {
            for key in ["a", "b/c"] {
                self.put(&format!("/{uid}/{key}")).await;
            }
        }
    }

    /// etcd refuses a write that it let in before somebody else changed a user: it is sent again, as API servers do.
    async fn put(&mut self, key: &str) {
        loop {
            match self.etcd.put(key, "value", None).await {
                Ok(_) => return,
                Err(error) if error.to_string().contains("revision of auth store is old") => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn create(&mut self, name: &str) {
        // RSA keys, which take long to make, for every other tenant.
        let is_odd = name.ends_with(['1', '3', '5', '7', '9']);
        let wanted = tenant(&self.namespace, name, "default", |spec| {
            if is_odd {
                spec["kubernetes"]["encryptionAlgorithm"] = json!("RSA-2048");
            }
        });
        match self.tenants.create(&PostParams::default(), &wanted).await {
            Ok(created) => {
                self.waiting.remove(name);
                self.changed.remove(name);
                self.silent.insert(name.to_owned(), created.uid().unwrap());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.waiting.insert(name.to_owned());
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn change(&mut self, name: &str, which: u32) {
        self.changed.insert(name.to_owned());
        if which == 3 {
            return self.rotate(name).await;
        }
        let change = match which {
            0 => json!({"controlPlane": {"deployment": {"replicas": 2}}}),
            1 => json!({"controlPlane": {"deployment": {"extraArgs": {"apiServer": ["--v=3"]}}}}),
            _ => json!({"networkProfile": {"certSANs": ["changed.example.com"]}}),
        };
        match self.tenants.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": change}))).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn rotate(&self, name: &str) {
        let patch = json!({"metadata": {"annotations": {contract::annotations::ROTATE: ""}}});
        match self.secrets.patch(&format!("{name}-ca"), &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks the operator to end at some moment after it has begun: tells whether passes were still to be made then, and how
/// long it took.
async fn stop(operator: &mut Operator, tenants: usize, random: &mut StdRng) -> (bool, Duration) {
    // It answers when it can be asked to end, and not before.
    counts_of(operator).await;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
    let ended = counts_of(operator).await.passes;
    operator.terminate();
    let began = Instant::now();
    let status = operator.ended(GRACE).await;
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?} after {:?}\n{}",
        began.elapsed(),
        operator.log()
    );
    (ended < tenants as u64, began.elapsed())
}

/// Users, roles and whose all keys are, superuser apart: the first element of a tenant's path, the last of a record's.
async fn census(etcd: &mut etcd_client::Client) -> [BTreeSet<String>; 3] {
    let others = |names: &[String]| names.iter().filter(|name| *name != "root").cloned().collect();
    let users = others(etcd.user_list().await.unwrap().users());
    let roles = others(etcd.role_list().await.unwrap().roles());
    let all = etcd.get("", Some(GetOptions::new().with_all_keys().with_keys_only())).await.unwrap();
    let whose = |key: &str| {
        let name = if key.starts_with('/') { key.split('/').nth(1) } else { key.rsplit('/').next() };
        name.unwrap().to_owned()
    };
    [users, roles, all.kvs().iter().map(|pair| whose(pair.key_str().unwrap())).collect()]
}

/// How many objects of a kind each owner has, by its UID.
async fn owned<K>(client: &Client, namespace: &str) -> BTreeMap<String, usize>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let mut counts = BTreeMap::new();
    for object in Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await.unwrap() {
        if object.name_any() != "kube-root-ca.crt" {
            let owner = object.owner_references().first().map_or_else(|| object.name_any(), |owner| owner.uid.clone());
            *counts.entry(owner).or_default() += 1;
        }
    }
    counts
}

async fn counts(client: &Client, namespace: &str) -> [BTreeMap<String, usize>; 4] {
    [
        owned::<Secret>(client, namespace).await,
        owned::<ConfigMap>(client, namespace).await,
        owned::<Service>(client, namespace).await,
        owned::<Deployment>(client, namespace).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_kills_change_no_key_and_leave_nothing_behind() {
    let seed = std::env::var("KAMAJI_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("KAMAJI_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let cluster = Cluster::start(&kamaji_api::crd::all().unwrap()).await.unwrap();
    let server = cluster.api_server();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let etcd = data_store(&client, "default").await;
    let witness = Witness::start(&client, &namespace);
    let mut operator = Operator::start(server, &["--zap-log-level=error"]);
    let mut driver = Driver {
        tenants: Api::namespaced(client.clone(), &namespace),
        secrets: Api::namespaced(client.clone(), &namespace),
        etcd: etcd.client().await.unwrap(),
        namespace: namespace.clone(),
        waiting: BTreeSet::new(),
        changed: BTreeSet::new(),
        silent: BTreeMap::new(),
    };
    let lives = lives(&mut random);

    let began = Instant::now();
    let (mut stops, mut at_work, mut longest) = (0, 0, Duration::ZERO);
    for kill in 0..KILLS {
        driver.step(kill, &lives, &mut random).await;
        if kill % KILLS_IN_A_ROW == KILLS_IN_A_ROW - 1 {
            let tenants = driver.tenants.list_metadata(&ListParams::default()).await.unwrap().items.len();
            let (busy, took) = stop(&mut operator, tenants, &mut random).await;
            operator.resume();
            stops += 1;
            at_work += usize::from(busy);
            longest = longest.max(took);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(30..400))).await;
        operator.kill();
        operator.resume();
    }
    let killed = began.elapsed();
    assert!(at_work > 0, "none of {stops} stops came while there was work, seed {seed}");
    println!("{stops} times asked to end, {at_work} times at work; longest {longest:?}");
    while !driver.waiting.is_empty() {
        driver.step(KILLS, &lives, &mut random).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let mut alive = BTreeSet::new();
    for life in lives.iter().filter(|life| life.delete.is_none() || life.again) {
        let done = |tenant: &TenantControlPlane| {
            let Some(status) = &tenant.status else { return false };
            let all = status.conditions.as_deref().unwrap_or_default();
            conditions::is_true(all, conditions::READY)
                && !conditions::is_true(all, conditions::PROGRESSING)
                && !conditions::is_true(all, conditions::DEGRADED)
                && status.observed_generation == tenant.metadata.generation
        };
        let tenant = wait_for(&driver.tenants, &life.name, SOON, done).await;
        let tenant = tenant.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", operator.log()));
        alive.insert(tenant.uid().unwrap());
    }
    driver.write().await;
    let all_of = |each: usize| alive.iter().map(|uid| (uid.clone(), each)).collect::<BTreeMap<_, _>>();
    let wanted = [all_of(11), all_of(1), all_of(1), all_of(1)];
    let deadline = Instant::now() + SOON;
    while counts(&client, &namespace).await != wanted
        || census(&mut driver.etcd).await != [(); 3].map(|()| alive.clone())
    {
        if Instant::now() > deadline {
            let [objects, stored] = [&counts(&client, &namespace).await, &wanted].map(|all| format!("{all:?}"));
            assert_eq!(objects, stored, "objects by owner, seed {seed}");
            for (what, left) in ["users", "roles", "keys"].into_iter().zip(census(&mut driver.etcd).await) {
                let (lost, leaked): (Vec<_>, Vec<_>) =
                    alive.symmetric_difference(&left).partition(|uid| alive.contains(*uid));
                assert!(
                    lost.is_empty() && leaked.is_empty(),
                    "{what} in etcd: {lost:?} are missing, {leaked:?} leaked, seed {seed}"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "{KILLS} kills in {killed:?}, at rest after {:?}; {} Secrets seen, changed with an Event: {:?}",
        began.elapsed(),
        witness.secrets(),
        witness.changed()
    );
    assert_eq!(witness.unexplained().await, BTreeMap::new(), "seed {seed}\n{}", operator.log());
    for deployment in Api::<Deployment>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap() {
        if !driver.changed.contains(&deployment.name_any()) {
            assert_eq!(
                deployment.metadata.generation,
                Some(1),
                "a kill rolls no pods: {}, seed {seed}",
                deployment.name_any()
            );
        }
    }
}
