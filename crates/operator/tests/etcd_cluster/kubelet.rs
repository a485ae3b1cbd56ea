//! Runs the members that kwok only simulates: a real etcd for each pod, by the pod's own arguments, environment and
//! Secret. A pod's data goes with it, as an emptyDir does, and a process that ends is started again.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use kamaji_operator::controller::etcd_cluster::Addresses;
use kamaji_plan::etcd_cluster::names::{self, Address, EtcdSecret};
use kamaji_testkit::{
    parts, ports,
    process::{Launch, Process},
    scratch,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tempfile::TempDir;

/// Client and peer port by pod.
type Ports = Arc<Mutex<BTreeMap<String, (u16, u16)>>>;

/// See the module. Everything ends when it is dropped.
pub struct Kubelet {
    ports: Ports,
    task: tokio::task::JoinHandle<()>,
}

struct Member {
    // In this order: the process ends before its files go.
    process: Process,
    uid: String,
    data: TempDir,
    starts: u32,
}

impl Kubelet {
    pub fn start(client: &Client, namespace: &str) -> Self {
        let ports = Ports::default();
        let task = tokio::spawn(run(client.clone(), namespace.to_owned(), Arc::clone(&ports)));
        Self { ports, task }
    }

    /// What the operator is to reach the members by.
    pub fn addresses(&self) -> Addresses {
        let ports = Arc::clone(&self.ports);
        Box::new(move |cluster, _namespace| {
            let address = |ordinal| {
                let (client, peer) = ports_of(&ports, &names::pod(cluster, ordinal));
                Address { client: format!("127.0.0.1:{client}"), peer_url: format!("https://127.0.0.1:{peer}") }
            };
            (0..names::MAX_MEMBERS).map(address).collect()
        })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn ports_of(ports: &Ports, pod: &str) -> (u16, u16) {
    let mut ports = ports.lock().unwrap();
    *ports.entry(pod.to_owned()).or_insert_with(|| (ports::free().unwrap(), ports::free().unwrap()))
}

async fn run(client: Client, namespace: String, ports: Ports) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    loop {
        let pods = api.list(&ListParams::default().labels(names::LABEL)).await.unwrap().items;
        let present: BTreeMap<String, &Pod> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && pod.spec.as_ref().unwrap().node_name.is_some())
            .map(|pod| (pod.name_any(), pod))
            .collect();
        members.retain(|name, member| present.get(name).is_some_and(|pod| pod.uid().unwrap() == member.uid));
        for (name, pod) in present {
            let ended = members.get_mut(&name).is_some_and(|member| member.process.exited().unwrap().is_some());
            if members.contains_key(&name) && !ended {
                continue;
            }
            let old = members.remove(&name);
            let starts = old.as_ref().map_or(0, |member| member.starts) + 1;
            let data = match old {
                Some(old) => old.data,
                None => scratch::folder("etcd-member").unwrap(),
            };
            let Some(launch) = launch(&client, pod, data.path(), &ports, starts).await else { continue };
            let process = Process::start(&launch).unwrap();
            members.insert(name, Member { process, uid: pod.uid().unwrap(), data, starts });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The pod's command line, with paths and addresses of this machine; none while its Secret or ConfigMap is missing.
async fn launch(client: &Client, pod: &Pod, folder: &Path, ports: &Ports, starts: u32) -> Option<Launch> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap());
    let cluster = pod.labels()[names::LABEL].clone();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = secrets.get_opt(&EtcdSecret::Member.name(&cluster)).await.unwrap()?;
    let pki = folder.join("pki");
    std::fs::create_dir_all(&pki).unwrap();
    for (file, bytes) in secret.data.unwrap() {
        std::fs::write(pki.join(file), bytes.0).unwrap();
    }
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let (client_port, peer_port) = ports_of(ports, &name);
    let local = |port: u16| format!("https://127.0.0.1:{port}");
    let args = container.args.iter().flatten().map(|arg| {
        let (flag, value) = arg.split_once('=').unwrap();
        let value = match flag {
            "--listen-client-urls" | "--advertise-client-urls" => local(client_port),
            "--listen-peer-urls" | "--initial-advertise-peer-urls" => local(peer_port),
            "--listen-metrics-urls" => "http://127.0.0.1:0".to_owned(),
            _ => value
                .replace("$(POD_NAME)", &name)
                .replace("/var/lib/etcd", &folder.display().to_string())
                .replace("/etc/kubernetes/pki/etcd", &pki.display().to_string()),
        };
        format!("{flag}={value}")
    });
    Some(Launch {
        args: args.collect(),
        env: environment(client, container, &namespace).await?,
        program: parts::etcd(),
        log: folder.join(format!("etcd-{starts}.log")),
        name,
    })
}

async fn environment(client: &Client, container: &Container, namespace: &str) -> Option<Vec<(String, String)>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut environment = Vec::new();
    for variable in container.env.iter().flatten() {
        let source = variable.value_from.as_ref().unwrap();
        if let Some(key) = &source.config_map_key_ref {
            let config_map = api.get_opt(&key.name).await.unwrap()?;
            environment.push((variable.name.clone(), config_map.data?.get(&key.key)?.clone()));
        }
    }
    Some(environment)
}
