//! Where the real Kubernetes parts live on a developer's machine.
//!
//! `cargo xtask` builds them from their Go modules; everything else only asks for a path. A part is kept
//! under its version, so that a second version never overwrites the first and a second run starts at once.

use std::path::PathBuf;

/// The Kubernetes version that CI builds and that `cargo xtask up` runs.
pub const KUBERNETES_VERSION: &str = "1.36.3";

/// Further Kubernetes versions, one per supported minor, that `cargo xtask test --matrix` builds.
pub const KUBERNETES_MATRIX: &[&str] = &["1.33.13", "1.34.4", "1.35.4", "1.37.1"];

/// Version of etcd and etcdctl.
pub const ETCD_VERSION: &str = "3.7.3";

/// Version of containerd, its runc shim and `ctr`.
pub const CONTAINERD_VERSION: &str = "2.4.2";

/// Version of runc.
pub const RUNC_VERSION: &str = "1.4.3";

/// Version of the container network plugins.
pub const CNI_PLUGINS_VERSION: &str = "1.9.1";

/// Version of CoreDNS that is built; its image carries this tag and the ones that kubeadm names.
pub const COREDNS_VERSION: &str = "1.15.0";

/// Version of helm.
pub const HELM_VERSION: &str = "3.22.0";

/// Version of kwok, which plays nodes and pods where no container has to run.
pub const KWOK_VERSION: &str = "0.8.0";

/// Version of kine.
pub const KINE_VERSION: &str = "0.16.4";

/// Version of nats-server.
pub const NATS_SERVER_VERSION: &str = "2.15.2";

/// Version of the konnectivity server and agent.
pub const KONNECTIVITY_VERSION: &str = "0.34.0";

/// Version of metrics-server.
pub const METRICS_SERVER_VERSION: &str = "0.9.0";

/// Version of Kubernetes' test image, as the end-to-end tests of [`KUBERNETES_VERSION`] name it.
pub const AGNHOST_VERSION: &str = "2.63.0";

/// Version of ginkgo, which the end-to-end tests of [`KUBERNETES_VERSION`] are written for.
pub const GINKGO_VERSION: &str = "2.28.1";

/// Reference of Kubernetes' test image.
pub fn agnhost_image() -> String {
    format!("registry.k8s.io/e2e-test-images/agnhost:{AGNHOST_VERSION}")
}

/// The Kubernetes version that tests run against: `$KAMAJI_KUBERNETES_VERSION`, which `cargo xtask test --matrix` sets,
/// else [`KUBERNETES_VERSION`].
pub fn tested_kubernetes() -> String {
    std::env::var("KAMAJI_KUBERNETES_VERSION").unwrap_or_else(|_| KUBERNETES_VERSION.to_owned())
}

/// The operator that tests start: as it ships, where somebody built it for them (`$KAMAJI_TEST_OPERATOR`), else `own`,
/// which cargo built with the test.
pub fn operator(own: &str) -> PathBuf {
    std::env::var_os("KAMAJI_TEST_OPERATOR").map_or_else(|| own.into(), PathBuf::from)
}

/// Folder of the logs of operators that tests start; `cargo xtask test` empties it when it begins.
pub fn operator_logs() -> PathBuf {
    cache_dir().join("logs/test/operators")
}

/// Folder of everything built or downloaded, outside the checkout.
///
/// `$KAMAJI_CACHE`, else `$XDG_CACHE_HOME/kamaji`, else `~/.cache/kamaji`.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("KAMAJI_CACHE") {
        return dir.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"));
    base.join("kamaji")
}

/// Folder of one built part, for example `parts/etcd-3.7.3`: `bin/` and the stamp of how it was built.
pub fn part_dir(part: &str, version: &str) -> PathBuf {
    cache_dir().join("parts").join(format!("{part}-{version}"))
}

/// Folder with the commands of one built part, for example `parts/etcd-3.7.3/bin`.
pub fn bin_dir(part: &str, version: &str) -> PathBuf {
    part_dir(part, version).join("bin")
}

/// Path of one Kubernetes command (`kube-apiserver`, `kubectl`, ...) of the given version.
pub fn kubernetes(version: &str, command: &str) -> PathBuf {
    bin_dir("kubernetes", version).join(command)
}

/// Path of `kubectl` of [`KUBERNETES_VERSION`].
pub fn kubectl() -> PathBuf {
    kubernetes(KUBERNETES_VERSION, "kubectl")
}

/// Path of `etcd`.
pub fn etcd() -> PathBuf {
    bin_dir("etcd", ETCD_VERSION).join("etcd")
}

/// Path of `etcdctl`.
pub fn etcdctl() -> PathBuf {
    bin_dir("etcd", ETCD_VERSION).join("etcdctl")
}

/// Path of `helm`.
pub fn helm() -> PathBuf {
    bin_dir("helm", HELM_VERSION).join("helm")
}

/// Path of `kwok`.
pub fn kwok() -> PathBuf {
    bin_dir("kwok", KWOK_VERSION).join("kwok")
}

/// Path of `kine`.
pub fn kine() -> PathBuf {
    bin_dir("kine", KINE_VERSION).join("kine")
}

/// Path of `nats-server`.
pub fn nats_server() -> PathBuf {
    bin_dir("nats-server", NATS_SERVER_VERSION).join("nats-server")
}
