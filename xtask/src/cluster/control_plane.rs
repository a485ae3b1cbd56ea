//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler of the management cluster.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::daemon::{self, Daemon};
use super::kubectl::{Kubectl, check_alive};
use super::pki::{file, kubeconfig};
use super::{NODE_IPS, POD_CIDRS, SERVICE_CIDRS, state};
use crate::{failure, layout};

const ETCD: &str = "https://127.0.0.1:12379";
const ETCD_PEER: &str = "https://127.0.0.1:12380";
/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// Starts etcd and the API server and waits until it is ready.
pub fn start_api(kubectl: &Kubectl) -> Result<()> {
    etcd().ensure()?;
    kube_apiserver().ensure()?;
    let deadline = Instant::now() + PATIENCE;
    while kubectl.run("asking for /readyz", &["get", "--raw=/readyz"]).is_err() {
        check_alive()?;
        if Instant::now() > deadline {
            let log = daemon::log("kube-apiserver");
            bail!("kube-apiserver is not ready: {}\n  log: {}", failure::sentence(&log), log.display());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Starts the controllers and the scheduler. Only once the API server is ready: without the bootstrap roles the
/// controller manager ends for good.
pub fn start_controllers() -> Result<()> {
    kube_controller_manager().ensure()?;
    kube_scheduler().ensure()?;
    Ok(())
}

fn kubernetes(name: &'static str) -> Daemon {
    Daemon::new(name, layout::kubernetes(layout::KUBERNETES_VERSION, name))
}

fn etcd() -> Daemon {
    let initial = format!("default={ETCD_PEER}");
    Daemon::new("etcd", layout::etcd())
        .flags(&[
            ("data-dir", state("etcd").display().to_string().as_str()),
            ("listen-client-urls", ETCD),
            ("advertise-client-urls", ETCD),
            ("listen-peer-urls", ETCD_PEER),
            ("initial-advertise-peer-urls", ETCD_PEER),
            ("initial-cluster", &initial),
            ("cert-file", &file("etcd/server.crt")),
            ("key-file", &file("etcd/server.key")),
            ("client-cert-auth", "true"),
            ("trusted-ca-file", &file("etcd/ca.crt")),
            ("peer-cert-file", &file("etcd/peer.crt")),
            ("peer-key-file", &file("etcd/peer.key")),
            ("peer-client-cert-auth", "true"),
            ("peer-trusted-ca-file", &file("etcd/ca.crt")),
            // A development cluster may lose its last second when the machine loses power.
            ("unsafe-no-fsync", "true"),
        ])
        .input(state("pki/etcd/server.crt"))
}

fn kube_apiserver() -> Daemon {
    kubernetes("kube-apiserver")
        .flags(&[
            ("advertise-address", NODE_IPS[0]),
            ("bind-address", NODE_IPS[0]),
            ("secure-port", "6443"),
            ("etcd-servers", ETCD),
            ("etcd-cafile", &file("etcd/ca.crt")),
            ("etcd-certfile", &file("apiserver-etcd-client.crt")),
            ("etcd-keyfile", &file("apiserver-etcd-client.key")),
            ("client-ca-file", &file("ca.crt")),
            ("tls-cert-file", &file("apiserver.crt")),
            ("tls-private-key-file", &file("apiserver.key")),
            ("kubelet-client-certificate", &file("apiserver-kubelet-client.crt")),
            ("kubelet-client-key", &file("apiserver-kubelet-client.key")),
            ("kubelet-preferred-address-types", "InternalIP,Hostname"),
            ("service-account-key-file", &file("sa.pub")),
            ("service-account-signing-key-file", &file("sa.key")),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            ("service-cluster-ip-range", &SERVICE_CIDRS.join(",")),
            ("service-node-port-range", "30000-32767"),
            ("authorization-mode", "Node,RBAC"),
            ("enable-admission-plugins", "NodeRestriction"),
            ("enable-bootstrap-token-auth", "true"),
            ("allow-privileged", "true"),
            ("proxy-client-cert-file", &file("front-proxy-client.crt")),
            ("proxy-client-key-file", &file("front-proxy-client.key")),
            ("requestheader-client-ca-file", &file("front-proxy-ca.crt")),
            ("requestheader-allowed-names", "front-proxy-client"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ])
        .input(state("pki/apiserver.crt"))
}

fn kube_controller_manager() -> Daemon {
    let identity = kubeconfig("controller-manager.conf");
    kubernetes("kube-controller-manager")
        .flags(&[
            ("kubeconfig", identity.as_str()),
            ("authentication-kubeconfig", &identity),
            ("authorization-kubeconfig", &identity),
            ("bind-address", "127.0.0.1"),
            ("service-account-private-key-file", &file("sa.key")),
            ("root-ca-file", &file("ca.crt")),
            ("cluster-signing-cert-file", &file("ca.crt")),
            ("cluster-signing-key-file", &file("ca.key")),
            ("use-service-account-credentials", "true"),
            ("controllers", "*,bootstrapsigner,tokencleaner"),
            // There is one node, and its pod networks are constants.
            ("allocate-node-cidrs", "false"),
            ("cluster-cidr", &POD_CIDRS.join(",")),
            ("service-cluster-ip-range", &SERVICE_CIDRS.join(",")),
            ("leader-elect", "false"),
            // It makes this folder, and its default is outside of ours.
            ("flex-volume-plugin-dir", &state("volume-plugins").display().to_string()),
        ])
        .input(state("kubeconfigs/controller-manager.conf"))
}

fn kube_scheduler() -> Daemon {
    let identity = kubeconfig("scheduler.conf");
    kubernetes("kube-scheduler")
        .flags(&[
            ("kubeconfig", identity.as_str()),
            ("authentication-kubeconfig", &identity),
            ("authorization-kubeconfig", &identity),
            ("bind-address", "127.0.0.1"),
            ("leader-elect", "false"),
        ])
        .input(state("kubeconfigs/scheduler.conf"))
}
