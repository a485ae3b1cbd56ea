//! The real parts: which Go module, which version, how each is built.

use crate::layout;

/// One part: one or more commands of one version, built into one folder of the cache.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name in the cache and on the command line.
    pub name: &'static str,
    /// Version without a leading `v`.
    pub version: String,
    /// Where its commands come from.
    pub source: Source,
    /// Built with cgo, against the system's C libraries.
    pub cgo: bool,
    /// Go build tags, comma separated.
    pub tags: &'static str,
    /// Files of the module's folder that are kept beside the commands.
    pub files: &'static [&'static str],
    /// Built by a plain `cargo xtask parts`; the others only when named.
    pub default: bool,
}

/// Where the commands of a part come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// `k8s.io/kubernetes` with its staging modules replaced by their published versions.
    Kubernetes(&'static [&'static str]),
    /// Other packages of `k8s.io/kubernetes`, by their folder, built in the same way.
    KubernetesPackages(&'static [&'static str]),
    /// Test binaries of `k8s.io/kubernetes`, by their folder.
    KubernetesTests(&'static [&'static str]),
    /// Commands of ordinary modules.
    Modules(&'static [Command]),
}

/// One command of a Go module.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Path of the module.
    pub module: &'static str,
    /// Folder of the command in the module; empty for the module's root.
    pub folder: &'static str,
    /// Name of the built file, which Go would call after the last element of its path.
    pub binary: &'static str,
}

const KUBERNETES: &[&str] =
    &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm", "kubectl"];

/// File name of the compiled end-to-end tests.
const E2E_TEST: &str = "e2e.test";

const fn command(module: &'static str, folder: &'static str, binary: &'static str) -> Command {
    Command { module, folder, binary }
}

const CONTAINERD_MODULE: &str = "github.com/containerd/containerd/v2";
const CNI_MODULE: &str = "github.com/containernetworking/plugins";
const KONNECTIVITY_MODULE: &str = "sigs.k8s.io/apiserver-network-proxy";

const ETCD: &[Command] =
    &[command("go.etcd.io/etcd/server/v3", "", "etcd"), command("go.etcd.io/etcd/etcdctl/v3", "", "etcdctl")];
const CONTAINERD: &[Command] = &[
    command(CONTAINERD_MODULE, "cmd/containerd", "containerd"),
    command(CONTAINERD_MODULE, "cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
    command(CONTAINERD_MODULE, "cmd/ctr", "ctr"),
];
const RUNC: &[Command] = &[command("github.com/opencontainers/runc", "", "runc")];
const CNI: &[Command] = &[
    command(CNI_MODULE, "plugins/main/ptp", "ptp"),
    command(CNI_MODULE, "plugins/main/bridge", "bridge"),
    command(CNI_MODULE, "plugins/main/loopback", "loopback"),
    command(CNI_MODULE, "plugins/ipam/host-local", "host-local"),
    command(CNI_MODULE, "plugins/meta/portmap", "portmap"),
];
const COREDNS: &[Command] = &[command("github.com/coredns/coredns", "", "coredns")];
const HELM: &[Command] = &[command("helm.sh/helm/v3", "cmd/helm", "helm")];
const KWOK: &[Command] = &[command("sigs.k8s.io/kwok", "cmd/kwok", "kwok")];
const KINE: &[Command] = &[command("github.com/k3s-io/kine", "", "kine")];
const KONNECTIVITY: &[Command] = &[
    command(KONNECTIVITY_MODULE, "cmd/server", "proxy-server"),
    command(KONNECTIVITY_MODULE, "cmd/agent", "proxy-agent"),
];
const GINKGO: &[Command] = &[command("github.com/onsi/ginkgo/v2", "ginkgo", "ginkgo")];
const NATS_SERVER: &[Command] = &[command("github.com/nats-io/nats-server/v2", "", "nats-server")];
const METRICS_SERVER: &[Command] = &[command("sigs.k8s.io/metrics-server", "cmd/metrics-server", "metrics-server")];

fn part(name: &'static str, version: &str, commands: &'static [Command], default: bool) -> Part {
    Part { name, version: version.into(), source: Source::Modules(commands), cgo: false, tags: "", files: &[], default }
}

/// Kubernetes of one version.
pub fn kubernetes(version: &str) -> Part {
    Part {
        name: "kubernetes",
        version: version.into(),
        source: Source::Kubernetes(KUBERNETES),
        cgo: false,
        tags: "",
        files: &[],
        default: version == layout::KUBERNETES_VERSION,
    }
}

/// Every part, in the order in which it is built: the largest first, since most others share objects with it.
pub fn all() -> Vec<Part> {
    vec![
        kubernetes(layout::KUBERNETES_VERSION),
        part("etcd", layout::ETCD_VERSION, ETCD, true),
        part("containerd", layout::CONTAINERD_VERSION, CONTAINERD, true),
        Part { cgo: true, tags: "seccomp", ..part("runc", layout::RUNC_VERSION, RUNC, true) },
        part("cni-plugins", layout::CNI_PLUGINS_VERSION, CNI, true),
        part("coredns", layout::COREDNS_VERSION, COREDNS, true),
        part("helm", layout::HELM_VERSION, HELM, true),
        part("kwok", layout::KWOK_VERSION, KWOK, true),
        Part {
            // Without the tag kine refuses NATS endpoints; cgo would only add SQLite.
            tags: "nats",
            ..part("kine", layout::KINE_VERSION, KINE, false)
        },
        Part {
            source: Source::KubernetesPackages(&["test/images/agnhost"]),
            // Its servers present this certificate, and tests look for the file.
            files: &["test/images/agnhost/porter/localhost.crt", "test/images/agnhost/porter/localhost.key"],
            ..part("agnhost", layout::KUBERNETES_VERSION, &[], false)
        },
        Part {
            source: Source::KubernetesTests(&["test/e2e"]),
            ..part("e2e-test", layout::KUBERNETES_VERSION, &[], false)
        },
        part("ginkgo", layout::GINKGO_VERSION, GINKGO, false),
        part("konnectivity", layout::KONNECTIVITY_VERSION, KONNECTIVITY, false),
        part("nats-server", layout::NATS_SERVER_VERSION, NATS_SERVER, false),
        part("metrics-server", layout::METRICS_SERVER_VERSION, METRICS_SERVER, false),
    ]
}

impl Part {
    /// The modules that the commands come from, each once.
    pub fn modules(&self) -> Vec<&'static str> {
        let Source::Modules(commands) = self.source else { return vec!["k8s.io/kubernetes"] };
        let mut modules: Vec<_> = commands.iter().map(|command| command.module).collect();
        modules.dedup();
        modules
    }

    /// Names of the built files.
    pub fn binaries(&self) -> Vec<&'static str> {
        match self.source {
            Source::Kubernetes(commands) => commands.to_vec(),
            Source::KubernetesPackages(folders) => {
                folders.iter().map(|folder| folder.rsplit('/').next().unwrap_or(folder)).collect()
            }
            Source::KubernetesTests(_) => vec![E2E_TEST],
            Source::Modules(commands) => commands.iter().map(|command| command.binary).collect(),
        }
    }

    /// Everything that decides what is built, in one line: a cached part with another recipe is built again.
    pub fn recipe(&self) -> String {
        let files = if self.files.is_empty() { String::new() } else { format!(" {:?}", self.files) };
        let arch = std::env::consts::ARCH;
        format!("{:?} cgo={} tags={} v{} {arch}{files}", self.source, self.cgo, self.tags, self.version)
    }
}

impl Command {
    /// Import path of the command.
    pub fn package(&self) -> String {
        if self.folder.is_empty() { self.module.into() } else { format!("{}/{}", self.module, self.folder) }
    }

    /// The file name that `go build -o folder/` gives: the last element of the path that is not a major version.
    pub fn built_as(&self) -> String {
        let package = self.package();
        let is_major = |part: &str| part.strip_prefix('v').is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
        package.rsplit('/').find(|part| !is_major(part)).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_built_under_its_last_path_element_but_the_major_version() {
        assert_eq!(command("go.etcd.io/etcd/server/v3", "", "etcd").built_as(), "server");
        assert_eq!(command("sigs.k8s.io/kwok", "cmd/kwok", "kwok").built_as(), "kwok");
    }

    #[test]
    fn names_of_parts_are_unique() {
        let mut names: Vec<_> = all().iter().map(|part| part.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn another_version_is_another_recipe() {
        assert_ne!(kubernetes("1.36.3").recipe(), kubernetes("1.36.4").recipe());
    }
}
