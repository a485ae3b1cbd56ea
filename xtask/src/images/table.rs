//! What is in each image, under upstream's names and paths.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::libraries;
use crate::{command, layout};

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
    /// Arguments of the entry point when a pod gives none.
    pub arguments: Vec<String>,
    /// Environment besides `PATH`.
    pub environment: Vec<String>,
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

    /// A shared library, where the binaries of this machine look for it.
    fn library(self, from: PathBuf) -> Self {
        let to = from.display().to_string();
        self.program(from, &to)
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
        if !self.arguments.is_empty() || !self.environment.is_empty() {
            write!(text, " {:?} {:?}", self.arguments, self.environment)?;
        }
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

/// kube-proxy of one Kubernetes version, with the commands of this machine that it sets rules with.
pub fn kube_proxy(version: &str) -> Result<Image> {
    let mut image = Image::new(&[&format!("registry.k8s.io/kube-proxy:v{version}")])
        .program(layout::kubernetes(version, "kube-proxy"), "/usr/local/bin/kube-proxy")
        .program("/usr/sbin/nft".into(), "/usr/sbin/nft")
        .program(XTABLES.into(), XTABLES)
        .entry("kube-proxy");
    for family in ["iptables", "ip6tables"] {
        for suffix in ["", "-save", "-restore"] {
            image.entries.push(Entry::Link { at: format!("/usr/sbin/{family}{suffix}"), target: XTABLES.into() });
        }
    }
    // iptables opens one of these for each match and target that a rule names.
    let plugins = xtables_plugins()?;
    let mut programs = vec![PathBuf::from(XTABLES), "/usr/sbin/nft".into()];
    programs.extend(plugins.iter().cloned());
    image = plugins.into_iter().fold(image, Image::library);
    Ok(libraries::of(&programs)?.into_iter().fold(image, Image::library))
}

/// The command behind every name of iptables' nftables variant.
const XTABLES: &str = "/usr/sbin/xtables-nft-multi";

fn xtables_plugins() -> Result<BTreeSet<PathBuf>> {
    let libraries = libraries::of(&[XTABLES.into()])?;
    let library = libraries.into_iter().find(|path| path.ends_with("libxtables.so.12"));
    let library = library.with_context(|| format!("{XTABLES} has no libxtables.so.12"))?;
    // ldd names it below /lib, its plugins are below /usr/lib.
    let folder = library.canonicalize()?.with_file_name("xtables");
    let plugins = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = plugins.flatten().map(|plugin| plugin.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "so")).collect())
}

/// Kubernetes' own test image: servers and clients of every kind, and the tools that its tests call in it.
fn agnhost() -> Result<Image> {
    let program = layout::bin_dir("agnhost", layout::KUBERNETES_VERSION).join("agnhost");
    let mut image = busybox()?.program(program, "/agnhost").authorities().entry("/agnhost");
    // The older tag stands for the release that a test updates from, the last name for the image of the DNS tests, which
    // is glibc with dig.
    image.names = vec![
        layout::agnhost_image(),
        "registry.k8s.io/e2e-test-images/agnhost:2.55".into(),
        "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0".into(),
    ];
    image.arguments = vec!["pause".into()];
    // Debian's static busybox ends with a segmentation fault when it looks up an address, and its shell prefers its own
    // applets wherever PATH points.
    let broken = ["/bin/getent", "/bin/nc", "/bin/sh", "/bin/wget"];
    image.entries.retain(|entry| !matches!(entry, Entry::Link { at, .. } if broken.contains(&at.as_str())));
    image.entries.push(Entry::Link { at: "/agnhost-2".into(), target: "agnhost".into() });
    image.entries.push(Entry::Link { at: "/bin/sh".into(), target: "bash".into() });
    for name in ["localhost.crt", "localhost.key"] {
        let from = layout::bin_dir("agnhost", layout::KUBERNETES_VERSION).join(name);
        image.entries.push(Entry::File { from, to: format!("/{name}"), mode: 0o644, binds_low_ports: false });
    }
    let tools = ["/bin/bash", "/usr/bin/curl", "/usr/bin/dig", "/usr/bin/getent", "/usr/bin/nc"].map(PathBuf::from);
    let has = |image: &Image, path: &Path| {
        image.entries.iter().any(|entry| matches!(entry, Entry::File { to, .. } if Path::new(to) == path))
    };
    for library in libraries::of(&tools)? {
        if !has(&image, &library) {
            image = image.library(library);
        }
    }
    Ok(tools.into_iter().fold(image, Image::library))
}

/// Images of the local cluster itself and of what tenants need besides Kubernetes.
pub fn standard() -> Result<Vec<Image>> {
    let coredns = layout::bin_dir("coredns", layout::COREDNS_VERSION).join("coredns");
    let mut coredns_image = Image::new(&[]).program(coredns, "/coredns").authorities().entry("/coredns");
    // The tags that kubeadm 1.31 to 1.37 ask for besides our own.
    coredns_image.names = [layout::COREDNS_VERSION, "1.11.3", "1.12.0", "1.12.1", "1.13.1", "1.14.2", "1.14.6"]
        .map(|tag| format!("registry.k8s.io/coredns/coredns:v{tag}"))
        .into();
    Ok(vec![
        Image::new(&["registry.k8s.io/pause:3.10.2", "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10"])
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
    let mut image = Image::new(&[
        "docker.io/library/busybox:latest",
        "docker.io/library/busybox:1.35",
        "registry.k8s.io/e2e-test-images/busybox:1.36.1-1",
        "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
    ])
    .program("/bin/busybox".into(), "/bin/busybox")
    .entry("sh");
    let applets = command::output("listing busybox's applets", Command::new("/bin/busybox").arg("--list"))?;
    for name in applets.lines().filter(|name| *name != "busybox") {
        image.entries.push(Entry::Link { at: format!("/bin/{name}"), target: "busybox".into() });
    }
    // A static binary still loads the C library when it looks up a name.
    Ok(libraries::of(&["/bin/sh".into()])?.into_iter().fold(image, Image::library))
}

/// The images of parts that are built only when they are named, as in `--with`.
///
/// # Errors
/// When a name stands for no image.
pub fn named(names: &[String]) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for name in names {
        match (name.as_str(), name.strip_prefix("kubernetes@")) {
            ("agnhost", _) => images.push(agnhost()?),
            ("kine", _) => images.push(kine()?),
            ("konnectivity", _) => images.extend(konnectivity()),
            ("metrics-server", _) => images.push(metrics_server()),
            (_, Some(version)) => images.extend(kubernetes(version)),
            _ => bail!(
                "there is no image for `{name}`; --with takes agnhost, kine, konnectivity, metrics-server, \
                 kubernetes@<version>"
            ),
        }
    }
    Ok(images)
}

/// kine, whose init container also needs a shell.
fn kine() -> Result<Image> {
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
fn metrics_server() -> Image {
    let version = layout::METRICS_SERVER_VERSION;
    let from = layout::bin_dir("metrics-server", version).join("metrics-server");
    Image::new(&[&format!("registry.k8s.io/metrics-server/metrics-server:v{version}")])
        .program(from, "/metrics-server")
        .authorities()
        .entry("/metrics-server")
}

/// The operator, with the loader and the shared libraries that its binary names.
pub fn operator(binary: &Path) -> Result<Image> {
    let image = Image::new(&["docker.io/kamaji/kamaji:local"]).program(binary.to_owned(), "/kamaji").authorities();
    let mut image = libraries::of(&[binary.to_owned()])?.into_iter().fold(image, Image::library);
    image.entries.push(Entry::Text {
        to: "/etc/passwd".into(),
        text: "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n",
    });
    // Unoptimised code needs more stack than a thread gets; the optimised does not mind.
    image.environment = vec!["RUST_MIN_STACK=16777216".into()];
    image.user = "65532:65532";
    Ok(image.entry("/kamaji"))
}
