//! What is in each image, under upstream's names and paths.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::libraries;
use crate::layout;

/// Certificates of public authorities, where kube-apiserver's image has them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// One image: a single layer.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full references; all name the same image.
    pub names: Vec<String>,
    /// What the layer holds.
    pub entries: Vec<Entry>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Numeric user and group; empty means root.
    pub user: &'static str,
}

/// One thing in a layer.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A file of this machine.
    File { from: PathBuf, to: String, mode: u32, binds_low_ports: bool },
    /// A file with this content.
    Text { to: String, text: &'static str },
    /// A symbolic link.
    Link { at: String, target: String },
}

impl Image {
    fn new(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Self::default() }
    }

    fn program(mut self, from: PathBuf, to: &str) -> Self {
        self.entries.push(Entry::File { from, to: to.into(), mode: 0o755, binds_low_ports: false });
        self
    }

    fn authorities(mut self) -> Self {
        self.entries.push(Entry::File {
            from: AUTHORITIES.into(),
            to: AUTHORITIES.into(),
            mode: 0o644,
            binds_low_ports: false,
        });
        self
    }

    fn entry(mut self, command: &str) -> Self {
        self.entrypoint = vec![command.to_owned()];
        self
    }

    /// Everything that decides the image's content, in one text: file sizes and times stand for their bytes.
    pub fn inputs(&self) -> Result<String> {
        let mut text = format!("2 {:?} {:?} {}", self.entries, self.entrypoint, self.user);
        for entry in &self.entries {
            if let Entry::File { from, .. } = entry {
                let meta = fs::metadata(from).with_context(|| format!("{} is not built", from.display()))?;
                write!(text, " {}:{}.{}", meta.len(), meta.mtime(), meta.mtime_nsec())?;
            }
        }
        Ok(text)
    }
}

/// The control plane components of one Kubernetes version.
pub fn kubernetes(version: &str) -> Vec<Image> {
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        .map(|name| {
            let path = format!("/usr/local/bin/{name}");
            let mut image = Image::new(&[&format!("registry.k8s.io/{name}:v{version}")]).entry(name);
            image.entries.push(Entry::File {
                from: layout::kubernetes(version, name),
                to: path,
                mode: 0o755,
                // As released: the file carries the capability, and a pod that drops it cannot start the binary.
                binds_low_ports: name == "kube-apiserver",
            });
            image.authorities()
        })
        .into()
}

/// Images of the local cluster itself and of what tenants need besides Kubernetes.
pub fn standard() -> Result<Vec<Image>> {
    let coredns = layout::bin_dir("coredns", layout::COREDNS_VERSION).join("coredns");
    let mut coredns_image = Image::new(&[]).program(coredns, "/coredns").authorities().entry("/coredns");
    // The tags that kubeadm 1.33 to 1.37 ask for besides our own.
    coredns_image.names = [layout::COREDNS_VERSION, "1.12.0", "1.12.1", "1.13.1", "1.14.2"]
        .map(|tag| format!("registry.k8s.io/coredns/coredns:v{tag}"))
        .into();
    Ok(vec![
        Image::new(&["registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10"])
            .program(layout::cache_dir().join("pause/pause"), "/pause")
            .entry("/pause"),
        coredns_image,
        Image::new(&[
            &format!("registry.k8s.io/etcd:{}-0", layout::ETCD_VERSION),
            &format!("registry.k8s.io/etcd:v{}", layout::ETCD_VERSION),
            &format!("gcr.io/etcd-development/etcd:v{}", layout::ETCD_VERSION),
            &format!("quay.io/coreos/etcd:v{}", layout::ETCD_VERSION),
        ])
        .program(layout::etcd(), "/usr/local/bin/etcd")
        .program(layout::etcdctl(), "/usr/local/bin/etcdctl")
        .entry("etcd"),
        busybox()?,
    ])
}

fn busybox() -> Result<Image> {
    let mut image = Image::new(&["docker.io/library/busybox:latest", "docker.io/library/busybox:1.35"])
        .program("/bin/busybox".into(), "/bin/busybox")
        .entry("sh");
    for name in
        ["sh", "cat", "chmod", "cp", "echo", "env", "ls", "mkdir", "nc", "nslookup", "rm", "sleep", "test", "wget"]
    {
        image.entries.push(Entry::Link { at: format!("/bin/{name}"), target: "busybox".into() });
    }
    // A static binary still loads the C library when it looks up a name.
    for library in libraries::of(Path::new("/bin/sh"))? {
        let to = library.display().to_string();
        image.entries.push(Entry::File { from: library, to, mode: 0o755, binds_low_ports: false });
    }
    Ok(image)
}

/// kine, whose init container also needs a shell.
pub fn kine() -> Result<Image> {
    let mut image = busybox()?.program(layout::kine(), "/bin/kine").authorities().entry("kine");
    let version = layout::KINE_VERSION;
    image.names = ["latest", &format!("v{version}"), &format!("v{version}-amd64")]
        .map(|tag| format!("docker.io/rancher/kine:{tag}"))
        .into();
    Ok(image)
}

/// The konnectivity server and agent.
pub fn konnectivity() -> Vec<Image> {
    ["proxy-server", "proxy-agent"]
        .map(|name| {
            let from = layout::bin_dir("konnectivity", layout::KONNECTIVITY_VERSION).join(name);
            let mut image = Image::new(&[]).program(from, &format!("/{name}")).entry(&format!("/{name}"));
            // The contract's tag is v0.<minor of the tenant>.0.
            image.names =
                (33..=37).map(|minor| format!("registry.k8s.io/kas-network-proxy/{name}:v0.{minor}.0")).collect();
            image
        })
        .into()
}

/// The metrics API that autoscalers read.
pub fn metrics_server() -> Image {
    let version = layout::METRICS_SERVER_VERSION;
    let from = layout::bin_dir("metrics-server", version).join("metrics-server");
    Image::new(&[&format!("registry.k8s.io/metrics-server/metrics-server:v{version}")])
        .program(from, "/metrics-server")
        .authorities()
        .entry("/metrics-server")
}

/// The operator, with the loader and the shared libraries that its binary names.
pub fn operator(binary: &Path) -> Result<Image> {
    let mut image = Image::new(&["docker.io/kamaji/kamaji:local"]).program(binary.to_owned(), "/kamaji").authorities();
    for library in libraries::of(binary)? {
        let to = library.display().to_string();
        image.entries.push(Entry::File { from: library, to, mode: 0o755, binds_low_ports: false });
    }
    image.entries.push(Entry::Text {
        to: "/etc/passwd".into(),
        text: "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
    });
    image.user = "65532:65532";
    Ok(image.entry("/kamaji"))
}
