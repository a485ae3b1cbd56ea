//! Real members of an EtcdCluster: pods of a real StatefulSet controller, each run as a real etcd.
#![allow(clippy::disallowed_methods, reason = "tests write as people do; no operator writes here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may end")]

mod etcd_cluster;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use etcd_client::{Certificate, ConnectOptions, GetOptions, Identity, TlsOptions};
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    events::v1::Event,
};
use kamaji_api::{DataStore, EtcdCluster, conditions};
use kamaji_testkit::{
    cluster::Cluster,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use etcd_cluster::{Controller, SOON, clusters, condition, create, kubelet::Kubelet};

struct World {
    client: Client,
    namespace: String,
    controller: Controller,
    _kubelet: Kubelet,
    _cluster: Cluster,
}

impl World {
    async fn start() -> Self {
        let cluster = Box::pin(Cluster::start(&kamaji_api::crd::all().unwrap())).await.unwrap();
        let client = cluster.api_server().client().unwrap();
        let namespace = cluster.api_server().namespace().await.unwrap();
        let kubelet = Kubelet::start(&client, &namespace);
        let controller = Controller::start(&client, &namespace, Some(kubelet.addresses()));
        Self { client, namespace, controller, _kubelet: kubelet, _cluster: cluster }
    }

    async fn ready(&self, name: &str) -> EtcdCluster {
        condition(&self.client, name, conditions::READY, "True", "Serving").await
    }

    async fn data(&self, secret: &str, key: &str) -> Vec<u8> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.get(secret).await.unwrap().data.unwrap()[key].0.clone()
    }

    /// The DataStore's endpoints.
    async fn urls(&self, name: &str) -> Vec<String> {
        let store = Api::<DataStore>::all(self.client.clone()).get(name).await.unwrap();
        store.spec.endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect()
    }

    /// A client of the DataStore's endpoints; as root, or without a certificate.
    async fn etcd(&self, name: &str, root: bool) -> Result<etcd_client::Client, etcd_client::Error> {
        self.connect(name, self.urls(name).await, root).await
    }

    /// A client of each of the DataStore's endpoints, as root.
    async fn each(&self, name: &str) -> Vec<etcd_client::Client> {
        let mut clients = Vec::new();
        for url in self.urls(name).await {
            clients.push(self.connect(name, vec![url], true).await.unwrap());
        }
        clients
    }

    async fn connect(
        &self,
        name: &str,
        urls: Vec<String>,
        root: bool,
    ) -> Result<etcd_client::Client, etcd_client::Error> {
        let ca = self.data(&format!("etcd-{name}-ca"), "ca.crt").await;
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
        if root {
            let secret = format!("etcd-{name}-root");
            tls = tls
                .identity(Identity::from_pem(self.data(&secret, "tls.crt").await, self.data(&secret, "tls.key").await));
        }
        let timeout = Duration::from_secs(5);
        let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(timeout).with_timeout(timeout);
        etcd_client::Client::connect(urls, Some(options)).await
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reasons of the Events about EtcdClusters.
    async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = events.list(&ListParams::default()).await.unwrap().items;
        list.into_iter().filter_map(|event| event.reason).collect()
    }
}

/// Writes from one probe to the next until it is told to stop: how often it did, and what nobody took.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(mut members: Vec<etcd_client::Client>) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let key = format!("probe-{}", count.load(Ordering::Relaxed));
                match put(&mut members, &key).await {
                    Ok(()) => _ = count.fetch_add(1, Ordering::Relaxed),
                    Err(errors) => failed.push(errors),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            failed
        });
        Self { stop, written, task }
    }

    fn written(&self) -> u32 {
        self.written.load(Ordering::Relaxed)
    }

    async fn stop(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.task.await.unwrap();
        (self.written.load(Ordering::Relaxed), failed)
    }
}

/// As API servers do: what one member does not take goes to the next. A new leader is there sooner than a client gives
/// up on one member.
async fn put(members: &mut [etcd_client::Client], key: &str) -> Result<(), String> {
    let mut errors = Vec::new();
    for member in members {
        match member.put(key, "x", None).await {
            Ok(_) => return Ok(()),
            Err(error) => errors.push(error.to_string()),
        }
    }
    Err(errors.join("; "))
}

fn voters(cluster: &EtcdCluster) -> Vec<(String, String)> {
    let members = cluster.status.clone().unwrap_or_default().members.unwrap_or_default();
    members.into_iter().filter(|member| !member.learner && member.healthy).map(|m| (m.name, m.id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_serves_grows_to_three_and_heals() {
    let world = Box::pin(World::start()).await;
    let began = std::time::Instant::now();
    create(&world.client, "main", &json!({"quota": "64Mi"})).await;
    let one = world.ready("main").await;
    println!("one member after {:?}", began.elapsed());
    assert_eq!(one.status.as_ref().unwrap().version.as_deref(), Some("3.7.3"));
    let mut root = world.etcd("main", true).await.unwrap();
    root.put("kept", "value", None).await.unwrap();
    let anonymous = match world.etcd("main", false).await {
        Ok(mut client) => client.get("kept", None).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(anonymous.is_err(), "a client without a certificate is refused");
    let at_rest = world.controller.rest().await;

    let three = json!({"spec": {"replicas": 3}});
    clusters(&world.client).patch("main", &PatchParams::default(), &Patch::Merge(three)).await.unwrap();
    wait_for(&clusters(&world.client), "main", SOON, |cluster: &EtcdCluster| voters(cluster).len() == 3).await.unwrap();
    let three = world.ready("main").await;
    println!("three members after {:?}, {} writes", began.elapsed(), world.controller.writes() - at_rest);
    let store = Api::<DataStore>::all(world.client.clone()).get("main").await.unwrap();
    assert_eq!(store.spec.endpoints.len(), 3);

    // Writes go on while a member and its data are lost: the other two are a quorum.
    let writer = Writer::start(world.each("main").await);
    let before = voters(&three);
    let written_before = writer.written();
    world.pods().delete("etcd-main-1", &DeleteParams::default()).await.unwrap();
    wait_for(&clusters(&world.client), "main", SOON, |cluster: &EtcdCluster| {
        let now = voters(cluster);
        now.len() == 3 && now[1].1 != before[1].1
    })
    .await
    .unwrap();
    world.ready("main").await;
    let written_meanwhile = writer.written() - written_before;
    println!("healed after {:?}, {written_meanwhile} writes meanwhile", began.elapsed());
    let (written, failed) = writer.stop().await;
    assert!(failed.is_empty(), "{} of {} writes failed: {failed:?}", failed.len(), failed.len() + written as usize);
    assert!(written_meanwhile > 0, "writes go on while a member is replaced");
    let all = GetOptions::new().with_prefix().with_count_only();
    let kept = root.get("probe-", Some(all)).await.unwrap().count();
    assert_eq!(kept, i64::from(written), "what was written is there");
    let events = world.events().await;
    for reason in ["MemberRemoved", "MemberAdded", "MemberPromoted"] {
        assert!(events.iter().any(|event| event == reason), "{reason} is told: {events:?}");
    }
    assert_eq!(root.get("kept", None).await.unwrap().kvs().len(), 1);

    // The quota is used up by history.
    let megabyte = vec![b'x'; 1 << 20];
    let mut refused = None;
    for _ in 0..200 {
        if let Err(error) = root.put("large", megabyte.clone(), None).await {
            refused = Some(error.to_string());
            break;
        }
    }
    assert!(refused.as_deref().is_some_and(|error| error.contains("space exceeded")), "{refused:?}");
    // Alarms are looked at every minute; the pass that a change asks for does it sooner.
    let space = tokio::time::timeout(SOON, async {
        let mut asked = 0_u32;
        while root.put("small", "x", None).await.is_err() {
            asked += 1;
            let touched = json!({"metadata": {"labels": {"touched": asked.to_string()}}});
            clusters(&world.client).patch("main", &PatchParams::default(), &Patch::Merge(touched)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    if space.await.is_err() {
        let now = clusters(&world.client).get("main").await.unwrap();
        panic!("no space is made: {:#?} {:?}", now.status, world.events().await);
    }
    assert!(world.events().await.iter().any(|event| event == "SpaceReclaimed"));
    assert!(
        root.alarm(etcd_client::AlarmAction::Get, etcd_client::AlarmType::None, None)
            .await
            .unwrap()
            .alarms()
            .is_empty()
    );

    let one = json!({"spec": {"replicas": 1}});
    clusters(&world.client).patch("main", &PatchParams::default(), &Patch::Merge(one)).await.unwrap();
    condition(&world.client, "main", conditions::STALLED, "True", "ShrinkRefused").await;
    let at_rest = world.controller.rest().await;
    clusters(&world.client)
        .patch("main", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"touched": "again"}}})))
        .await
        .unwrap();
    assert_eq!(world.controller.rest().await, at_rest, "a cluster at rest causes no write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_alone_that_loses_its_data_starts_empty_and_says_so() {
    let world = Box::pin(World::start()).await;
    create(&world.client, "solo", &json!({})).await;
    world.ready("solo").await;
    let mut root = world.etcd("solo", true).await.unwrap();
    root.put("kept", "value", None).await.unwrap();
    world.pods().delete("etcd-solo-0", &DeleteParams::default()).await.unwrap();
    tokio::time::timeout(SOON, async {
        while !world.events().await.iter().any(|event| event == "DataLost") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("the loss is told");
    let mut last = String::new();
    let empty = tokio::time::timeout(SOON, async {
        loop {
            match world.etcd("solo", true).await.unwrap().get("kept", None).await {
                Ok(answer) if answer.kvs().is_empty() => break,
                other => last = format!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    if empty.await.is_err() {
        let now = clusters(&world.client).get("solo").await.unwrap();
        panic!("it does not serve: {last}, {:#?}, {:?}", now.status, world.events().await);
    }
    world.ready("solo").await;
    let mut root = world.etcd("solo", true).await.unwrap();
    assert_eq!(root.user_list().await.unwrap().users(), ["root"]);

    clusters(&world.client).delete("solo", &DeleteParams::default()).await.unwrap();
    wait_for_deletion(&clusters(&world.client), "solo", None, SOON).await.unwrap();
    wait_for_deletion(&world.pods(), "etcd-solo-0", None, SOON).await.unwrap();
    let stores: Api<DataStore> = Api::all(world.client.clone());
    assert!(stores.get_opt("solo").await.unwrap().is_none());
    assert!(
        world.pods().list(&ListParams::default()).await.unwrap().iter().all(|pod| !pod.name_any().contains("solo"))
    );
}
