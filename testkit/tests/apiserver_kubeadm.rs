//! The oracle: what the real kubeadm of the tested minor puts into a cluster, which the operator does without it.
//!
//! The objects are test data of `crates/plan` (`tests/oracle/v1.<minor>`), whose own test compares the operator's with
//! them. Here they are made anew and compared with the stored ones; with `KAMAJI_ORACLE=write`, as `cargo xtask oracle`
//! sets it, they are stored instead.
//!
//! And what the documents tell people to write for kubeadm is read by it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Node;
use kamaji_testkit::{api_server::ApiServer, parts};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
};

/// Phases of `kubeadm init` that write into the cluster and that a hosted control plane needs.
const PHASES: [&[&str]; 5] = [
    &["upload-config", "kubeadm"],
    &["upload-config", "kubelet"],
    &["bootstrap-token"],
    &["addon", "coredns"],
    &["addon", "kube-proxy"],
];

/// Kinds that these phases write: group, kind, plural.
const KINDS: [(&str, &str, &str); 10] = [
    ("", "ConfigMap", "configmaps"),
    ("", "Secret", "secrets"),
    ("", "Service", "services"),
    ("", "ServiceAccount", "serviceaccounts"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "Deployment", "deployments"),
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "Role", "roles"),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
];

/// The endpoint that kubeadm.yaml names, in the place of the test server's.
const ENDPOINT: &str = "https://192.0.2.10:6443";
/// Stands for the authority, which is another in each run.
const AUTHORITY: &str = "AUTHORITY";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/plan/tests/oracle")
}

/// The folder that plays the root of a machine where `kubeadm init` runs: kubeadm binds its administrators' group only
/// with the kubeconfigs at their default places.
fn machine(server: &ApiServer, version: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let kubernetes = root.path().join("etc/kubernetes");
    fs::create_dir_all(&kubernetes).unwrap();
    fs::copy(parts::kubernetes(version, "kubeadm"), root.path().join("kubeadm")).unwrap();
    let configuration = fs::read_to_string(data().join("kubeadm.yaml")).unwrap();
    fs::write(root.path().join("kubeadm.yaml"), configuration.replace("$VERSION", &format!("v{version}"))).unwrap();
    for (file, user, group) in [
        ("admin.conf", "kubernetes-admin", "kubeadm:cluster-admins"),
        ("super-admin.conf", "kubernetes-super-admin", "system:masters"),
    ] {
        server.write_kubeconfig(user, &[group], server.port(), &kubernetes.join(file)).unwrap();
    }
    root
}

/// A proxy that leads to the server whatever address is asked for: kubeadm makes its administrators' binding at the
/// address of kubeadm.yaml, which nothing has here. Gives its URL.
async fn proxy(server_port: u16) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(client.read_u8().await?);
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut server = TcpStream::connect(("127.0.0.1", server_port)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    url
}

async fn kubeadm(root: &Path, phase: &[&str], kubeconfig: &[&str], proxy: Option<&str>) {
    // Only root may change its root; everybody else may in a user namespace.
    let mut command = if fs::metadata("/proc/self").unwrap().uid() == 0 {
        Command::new("chroot")
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--root"]);
        unshare
    };
    command.arg(root).args(["/kubeadm", "init", "phase"]).args(phase).args(["--config", "/kubeadm.yaml"]);
    // kubeadm would hand the variables of a proxy on to kube-proxy.
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(variable).env_remove(variable.to_lowercase());
    }
    let output = command.args(kubeconfig).envs(proxy.map(|url| ("HTTPS_PROXY", url))).output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "kubeadm init phase {}: {said}", phase.join(" "));
}

/// Creates the node of kubeadm.yaml: up to 1.33 kubeadm writes the socket of its container runtime there.
#[expect(clippy::disallowed_methods, reason = "the kubelet that would create it does not run here")]
async fn register_node(server: &ApiServer) {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "node", "labels": {"kubernetes.io/hostname": "node"}},
    }))
    .unwrap();
    Api::<Node>::all(server.client().unwrap()).create(&PostParams::default(), &node).await.unwrap();
}

/// Everything that kubeadm wrote, by file name.
///
/// An object without a single field, as a ServiceAccount may be, tells nobody's name: the API server itself makes none.
async fn written(server: &ApiServer) -> BTreeMap<String, Value> {
    let client: Client = server.client().unwrap();
    let mut found = BTreeMap::new();
    for (group, kind, plural) in KINDS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        for mut object in api.list(&ListParams::default()).await.unwrap() {
            let managers = object.metadata.managed_fields.take().unwrap_or_default();
            if managers.iter().all(|entry| entry.manager.as_deref() == Some("kubeadm")) {
                object.types =
                    Some(kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: kind.to_owned() });
                let (name, object) = normalised(serde_json::to_value(object).unwrap(), server);
                found.insert(name, object);
            }
        }
    }
    found
}

/// The object without what the API server added or a clock decides, and the name of its file.
fn normalised(mut object: Value, server: &ApiServer) -> (String, Value) {
    let members = object.as_object_mut().unwrap();
    members.remove("status");
    if members["kind"] == "Secret" {
        // The token, and when it ends.
        members.remove("data");
    }
    if let Some(data) = members.get_mut("data") {
        let authority = STANDARD.encode(server.authority().certificate());
        for text in data.as_object_mut().unwrap().values_mut() {
            *text = text.as_str().unwrap().replace(&server.url(), ENDPOINT).replace(&authority, AUTHORITY).into();
        }
    }
    let metadata = members["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
    if let Some(annotations) = metadata.get_mut("annotations") {
        annotations.as_object_mut().unwrap().remove("deprecated.daemonset.template.generation");
    }
    if metadata.get("annotations").is_some_and(|annotations| annotations.as_object().unwrap().is_empty()) {
        metadata.remove("annotations");
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let parts = [text(members.get("kind")).to_lowercase(), text(members["metadata"].get("namespace"))];
    let name = text(members["metadata"].get("name"));
    let parts: Vec<String> = parts.into_iter().chain([name]).filter(|part| !part.is_empty()).collect();
    // A colon is no legal part of a file's name everywhere.
    (format!("{}.yaml", parts.join(".").replace(':', "-")), object)
}

fn store(folder: &Path, objects: &BTreeMap<String, Value>) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
    for (name, object) in objects {
        let text = serde_saphyr::to_string(object).unwrap();
        assert_eq!(&serde_saphyr::from_str::<Value>(&text).unwrap(), object, "{name} does not read back");
        fs::write(folder.join(name), text).unwrap();
    }
}

fn stored(folder: &Path) -> BTreeMap<String, Value> {
    let files =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask oracle`", folder.display()));
    files
        .map(|file| {
            let file = file.unwrap();
            let text = fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), serde_saphyr::from_str(&text).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn kubeadm_of_the_tested_minor_writes_what_is_stored() {
    let version = parts::tested_kubernetes();
    let minor = version.rsplit_once('.').unwrap().0;
    let server = ApiServer::start().await.unwrap();
    register_node(&server).await;
    let machine = machine(&server, &version);
    let proxy = proxy(server.port()).await;
    let [first, others @ ..] = &PHASES;
    // With its default kubeconfig kubeadm binds its administrators' group, whatever the phase.
    kubeadm(machine.path(), first, &[], Some(&proxy)).await;
    for phase in others {
        kubeadm(machine.path(), phase, &["--kubeconfig", "/etc/kubernetes/super-admin.conf"], None).await;
    }
    let fresh = written(&server).await;
    let folder = data().join(format!("v{minor}"));
    if std::env::var("KAMAJI_ORACLE").is_ok_and(|wish| wish == "write") {
        store(&folder, &fresh);
    }
    let stored = stored(&folder);
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fresh), names(&stored), "kubeadm {version} writes other objects; run `cargo xtask oracle`");
    for (name, object) in &fresh {
        assert_eq!(object, &stored[name], "kubeadm {version} writes another {name}; run `cargo xtask oracle`");
    }
    assert!(fresh.len() >= 20, "{:?}", names(&fresh));
}

/// The file for `kubeadm join` in the user data of the page about workers.
fn documented_join_configuration() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/joining-workers.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```yaml\n#cloud-config\n").unwrap();
    let (user_data, _) = rest.split_once("```").unwrap();
    let user_data: Value = serde_saphyr::from_str(user_data).unwrap();
    let files = user_data["write_files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"] == "/etc/kubeadm-join.yaml").unwrap();
    file["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_join_configuration_of_the_documents_is_valid_for_kubeadm_and_a_misspelt_one_is_not() {
    let kubeadm = parts::kubernetes(&parts::tested_kubernetes(), "kubeadm");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("join.yaml");
    let documented = documented_join_configuration();
    let misspelt = documented.replace("kubeletExtraArgs", "kubeletArgs");
    for (text, is_valid) in [(documented, true), (misspelt, false)] {
        fs::write(&file, &text).unwrap();
        let output = Command::new(&kubeadm).args(["config", "validate", "--config"]).arg(&file).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_valid, "{said}\n{text}");
    }
}
