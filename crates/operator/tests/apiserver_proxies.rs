//! konnectivity's real server and agent, with the flags, the kubeconfig's user and the rights that the plan gives them,
//! against a real API server.

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
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    coordination::v1::Lease,
    core::v1::ServiceAccount,
};
use kamaji_api::DataStore;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    component::konnectivity,
    exposed::Exposed,
    resolve::{self, Observed, Resolved},
    tenant_cluster,
};
use kamaji_testkit::{
    api_server::ApiServer,
    parts, ports,
    process::{Launch, Process},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use support::SOON;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const AGENT: &str = "konnectivity-agent";

fn resolved(server: &ApiServer) -> Resolved {
    let tenant = support::tenant("tenants", "one", "default", |spec| {
        spec["networkProfile"] = json!({"address": "127.0.0.1", "port": server.port()});
        spec["addons"] = json!({"konnectivity": {}});
        spec["controlPlane"]["deployment"]["replicas"] = json!(5);
    });
    let data_store: DataStore = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "default"},
        "spec": {"driver": "etcd", "endpoints": ["etcd-0.etcd:2379"]},
    }))
    .unwrap();
    let mut tenant = tenant;
    tenant.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    let observed = Observed { data_store: Some(&data_store), ..Observed::default() };
    resolve::resolve(&Arc::new(tenant), &observed).unwrap()
}

/// `args` with other values for some flags.
fn with(args: Option<Vec<String>>, others: &[(&str, String)]) -> Vec<String> {
    let mut args = args.unwrap();
    for (flag, value) in others {
        let start = format!("--{flag}=");
        let argument = args.iter_mut().find(|argument| argument.starts_with(&start));
        *argument.unwrap_or_else(|| panic!("--{flag} is not set")) = format!("{start}{value}");
    }
    args
}

struct Bench {
    server: ApiServer,
    resolved: Resolved,
    client: Client,
    programs: PathBuf,
    folder: tempfile::TempDir,
    /// Ports of servers, to which the one port that agents know leads in turn.
    servers: Arc<Mutex<Vec<u16>>>,
}

impl Bench {
    async fn start(programs: PathBuf) -> Self {
        let server = ApiServer::start().await.unwrap();
        let (resolved, client) = (resolved(&server), server.client().unwrap());
        let folder = tempfile::tempdir().unwrap();
        Self { server, resolved, client, programs, folder, servers: Arc::default() }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn kubeconfig(&self, user: &str) -> String {
        let path = self.folder.path().join(user.replace(':', "-"));
        self.server.write_kubeconfig(user, &[], self.server.port(), &path).unwrap();
        path.display().to_string()
    }

    fn run(&self, name: &str, program: &str, args: Vec<String>, env: &[(&str, &str)]) -> Process {
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (program, log) = (self.programs.join(program), self.log(name));
        Process::start(&Launch { name: name.to_owned(), program, args, env, log }).unwrap()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Starts the server of the pod of this name.
    fn pod(&self, name: &str) -> Process {
        let container = konnectivity::container(&self.resolved).unwrap();
        assert_eq!(container.env.unwrap()[0].name, "PROXY_SERVER_ID");
        let identity = self.server.authority().server("kube-apiserver", &["127.0.0.1"]).unwrap();
        let port = ports::free().unwrap();
        let others = [
            ("agent-port", port.to_string()),
            ("admin-port", ports::free().unwrap().to_string()),
            ("health-port", ports::free().unwrap().to_string()),
            ("cluster-cert", self.file("apiserver.crt", &identity.certificate)),
            ("cluster-key", self.file("apiserver.key", &identity.key)),
            ("kubeconfig", self.kubeconfig(konnectivity::USER)),
            ("uds-name", self.folder.path().join(format!("{name}.socket")).display().to_string()),
        ];
        let server = self.run(name, "proxy-server", with(container.args, &others), &[("PROXY_SERVER_ID", name)]);
        self.servers.lock().unwrap().push(port);
        server
    }

    /// Starts an agent; gives the port of its metrics.
    async fn agent(&self, container_args: Option<Vec<String>>) -> (Process, u16) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "kube-system");
        let audiences = Some(vec![konnectivity::USER.to_owned()]);
        let spec = Some(TokenRequestSpec { audiences, ..TokenRequestSpec::default() });
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(AGENT, &PostParams::default(), &request).await.unwrap();
        let token = answer.status.unwrap().token.unwrap();
        let metrics = ports::free().unwrap();
        let others = [
            ("admin-server-port", ports::free().unwrap().to_string()),
            ("health-server-port", metrics.to_string()),
            ("ca-cert", self.file("ca.crt", &self.server.authority().certificate())),
            ("proxy-server-port", self.balance().await.to_string()),
            ("service-account-token-path", self.file("token", &token)),
        ];
        let mut args = with(container_args, &others);
        // In a pod it would be the ServiceAccount's token.
        args.push(format!("--kubeconfig={}", self.kubeconfig(&format!("system:serviceaccount:kube-system:{AGENT}"))));
        (self.run("agent", "proxy-agent", args, &[]), metrics)
    }

    /// A port that leads to the servers in turn.
    async fn balance(&self) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let servers = Arc::clone(&self.servers);
        tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((mut from, _)) = listener.accept().await {
                turn += 1;
                let target = {
                    let servers = servers.lock().unwrap();
                    servers[turn % servers.len()]
                };
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await {
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        port
    }

    /// Waits until the agent is connected to this many servers.
    async fn connected(&self, metrics: u16, wanted: usize) {
        let began = Instant::now();
        let line = format!("open_server_connections {wanted}");
        while !text(metrics).await.unwrap_or_default().contains(&line) {
            assert!(began.elapsed() < SOON, "not {wanted} servers\n{}", tail(&self.log("agent")));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{wanted} servers after {:?}", began.elapsed());
    }

    /// Waits until these pods have a Lease, and no others.
    async fn leases(&self, pods: &[&str]) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-system");
        let wanted: Vec<String> = pods.iter().map(|pod| format!("konnectivity-proxy-server-{pod}")).collect();
        let began = Instant::now();
        loop {
            let found = leases.list(&ListParams::default().labels("k8s-app=konnectivity-server")).await.unwrap();
            let mut found: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
            found.sort();
            if found == wanted {
                return;
            }
            assert!(began.elapsed() < SOON, "{found:?} instead of {wanted:?}\n{}", tail(&self.log(pods[0])));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn text(port: u16) -> std::io::Result<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

async fn make<K>(api: Api<K>, objects: &[K])
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    for object in objects.iter().filter(|object| object.name_any().contains("konnectivity")) {
        api.create(&PostParams::default(), object).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_find_every_server_also_later_ones() {
    let bench = Bench::start(parts::bin_dir("konnectivity", parts::KONNECTIVITY_VERSION)).await;
    let exposed = Exposed::new(&bench.resolved, Ipv4Addr::LOCALHOST.into());
    let plan = tenant_cluster::plan(&bench.resolved, &exposed, KeyAlgorithm::EcdsaP256, b"");
    let (client, system) = (bench.client.clone(), "kube-system");
    make(Api::namespaced(client.clone(), system), &plan.service_accounts).await;
    make(Api::namespaced(client.clone(), system), &plan.roles).await;
    make(Api::namespaced(client.clone(), system), &plan.role_bindings).await;
    make(Api::all(client.clone()), &plan.cluster_role_bindings).await;
    let agent = plan.daemon_sets.iter().find(|set| set.name_any() == AGENT).unwrap();
    let agent = agent.spec.clone().unwrap().template.spec.unwrap().containers.remove(0);

    let _first = bench.pod("one-a");
    let second = bench.pod("one-b");
    bench.leases(&["one-a", "one-b"]).await;
    let (_agent, metrics) = bench.agent(agent.args).await;
    bench.connected(metrics, 2).await;
    let _third = bench.pod("one-c");
    bench.connected(metrics, 3).await;
    bench.leases(&["one-a", "one-b", "one-c"]).await;
    bench.servers.lock().unwrap().remove(1);
    second.stop(Duration::from_secs(10)).await.unwrap();
    bench.leases(&["one-a", "one-c"]).await;
    bench.connected(metrics, 2).await;
}
