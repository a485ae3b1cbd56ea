//! An etcd for tenants, and the first tenant on it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::cluster::admin_kubeconfig;
use crate::cluster::kubectl::{FIELD_MANAGER, Kubectl};
use crate::layout;
use crate::progress::Progress;

const MANIFESTS: &str = include_str!("../../manifests/sample.yaml");
/// The kubelets of `cargo xtask worker` have no systemd.
const LOCAL_KUBELET: &str = "{cgroupfs: cgroupfs}";
/// The workers of `cargo xtask worker` are network namespaces, where kube-proxy may not set these limits.
const LOCAL_KUBE_PROXY: &str = "{configurationJSONPatches: [{op: add, path: /conntrack, value: \
                                {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}}]}";

/// What others have instead. An empty object would not do: applied where the patches were, it becomes null, which no
/// schema takes.
const OTHER_KUBE_PROXY: &str = "{configurationJSONPatches: []}";

/// Applies both and waits until the tenant is ready. In somebody else's cluster they are left alone when one of the names
/// is taken by what we did not make; says whether the tenant is ours.
pub fn create(kubectl: &Kubectl, progress: &Progress) -> Result<bool> {
    let step = progress.step("tenant default/sample");
    if !is_local(kubectl.kubeconfig())
        && let Some(taken) = taken(|object| managers(kubectl, object))?
    {
        step.done(&format!("left out: {taken} is there and was not made by this command"));
        return Ok(false);
    }
    kubectl.apply("creating the sample tenant", &manifests(kubectl.kubeconfig()))?;
    let tenant = ["--namespace=default", "tenantcontrolplane/sample"];
    for condition in ["condition=Ready", "condition=TenantConfigured"] {
        if let Err(error) = kubectl.wait("waiting for tenant default/sample", &tenant, condition, 180) {
            return Err(explain(kubectl, &error));
        }
    }
    step.done("Ready");
    Ok(true)
}

/// The first object of the sample that belongs to somebody else. `managers` tells who wrote an object, nothing when it
/// does not exist.
fn taken(managers: impl Fn(&str) -> Result<String>) -> Result<Option<&'static str>> {
    let is_ours = |managers: &str| managers.split_whitespace().any(|manager| manager == FIELD_MANAGER);
    let is_foreign = |managers: &str| !managers.is_empty() && !is_ours(managers);
    let cluster = managers("etcdcluster/default")?;
    if is_foreign(&cluster) {
        return Ok(Some("etcdcluster/default"));
    }
    if is_foreign(&managers("tenantcontrolplane/sample")?) {
        return Ok(Some("tenantcontrolplane/sample"));
    }
    // The EtcdCluster's own DataStore is the operator's work.
    Ok((cluster.is_empty() && !managers("datastore/default")?.is_empty()).then_some("datastore/default"))
}

fn managers(kubectl: &Kubectl, object: &str) -> Result<String> {
    let template = "--output=jsonpath={.metadata.managedFields[*].manager}";
    kubectl.run(
        &format!("looking for {object}"),
        &["--namespace=default", "get", object, "--ignore-not-found", "--show-managed-fields", template],
    )
}

/// Both objects, as they fit the cluster of this kubeconfig.
fn manifests(kubeconfig: &Path) -> String {
    let (kubelet, kube_proxy) =
        if is_local(kubeconfig) { (LOCAL_KUBELET, LOCAL_KUBE_PROXY) } else { ("{}", OTHER_KUBE_PROXY) };
    MANIFESTS
        .replace("$VERSION", &format!("v{}", layout::KUBERNETES_VERSION))
        .replace("$KUBELET", kubelet)
        .replace("$KUBE_PROXY", kube_proxy)
}

/// Whether this machine is the cluster: addresses of Services are reached from here, and workers run beside it.
fn is_local(kubeconfig: &Path) -> bool {
    kubeconfig == admin_kubeconfig()
}

/// The conditions of what is not ready are the sentence that matters.
fn explain(kubectl: &Kubectl, error: &anyhow::Error) -> anyhow::Error {
    let template =
        "--output=jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}";
    let mut text = error.to_string();
    for object in [&["etcdcluster/default"][..], &["--namespace=default", "tenantcontrolplane/sample"]] {
        let mut arguments = vec!["get", template];
        arguments.extend(object);
        if let Ok(conditions) = kubectl.run("reading conditions", &arguments) {
            let _ = write!(text, "\n  {}:", object.last().unwrap_or(&""));
            for line in conditions.lines() {
                let _ = write!(text, "\n    {line}");
            }
        }
    }
    let describe = "kubectl describe tenantcontrolplane sample";
    anyhow::anyhow!("{text}\n  see: {describe}, with --kubeconfig {}", kubectl.kubeconfig().display())
}

/// Prints the commands to try next.
pub fn say_what_next(kubectl: &Kubectl) {
    println!("\nA tenant control plane answers. Try next:\n");
    for command in next(kubectl.kubeconfig()) {
        println!("  {command}");
    }
}

fn next(kubeconfig: &Path) -> Vec<String> {
    let kubectl = layout::kubectl().display().to_string();
    if is_local(kubeconfig) {
        let own = format!("{kubectl} --kubeconfig \"$(cargo xtask kubeconfig)\"");
        return vec![
            format!("{own} get tenantcontrolplanes --all-namespaces"),
            format!("{kubectl} --kubeconfig \"$(cargo xtask kubeconfig default/sample | tail -1)\" get namespaces"),
            format!("{own} scale tenantcontrolplane sample --replicas=3"),
        ];
    }
    let file = format!("--kubeconfig \"{}\"", kubeconfig.display());
    let own = format!("{kubectl} {file}");
    let tenant = format!("{kubectl} --kubeconfig \"$(cargo xtask kubeconfig default/sample {file} | tail -1)\"");
    vec![
        format!("{own} get tenantcontrolplanes --all-namespaces"),
        // The tenant's endpoint is an address inside of that cluster; its certificate is also for this one.
        format!("{own} --namespace default port-forward service/sample 6443:6443 &"),
        format!("{tenant} --server https://127.0.0.1:6443 get namespaces"),
        format!("{own} --namespace default scale tenantcontrolplane sample --replicas=3"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_workers_on_this_machine_need_is_left_out_elsewhere() {
        let local = manifests(&admin_kubeconfig());
        assert!(local.contains("kubelet: {cgroupfs: cgroupfs}") && local.contains("path: /conntrack"), "{local}");
        let other = manifests(Path::new("/home/me/.kube/config"));
        assert!(
            other.contains("kubelet: {}\n") && other.contains("kubeProxy: {configurationJSONPatches: []}\n"),
            "{other}"
        );
        for text in [local, other] {
            assert!(!text.contains('$'), "{text}");
        }
    }

    #[test]
    fn what_somebody_else_made_under_our_names_is_left_alone() {
        let taken = |objects: &[(&str, &str)]| {
            let found = |object: &str| objects.iter().find(|(name, _)| *name == object).map_or("", |(_, by)| *by);
            taken(|object| Ok(found(object).to_owned())).unwrap()
        };
        assert_eq!(taken(&[]), None);
        let ours = [("etcdcluster/default", "cargo-xtask kamaji"), ("datastore/default", "kamaji")];
        assert_eq!(taken(&ours), None);
        assert_eq!(taken(&[("datastore/default", "kubectl")]), Some("datastore/default"));
        assert_eq!(taken(&[("etcdcluster/default", "kubectl kamaji")]), Some("etcdcluster/default"));
        assert_eq!(taken(&[ours[0], ("tenantcontrolplane/sample", "kubectl")]), Some("tenantcontrolplane/sample"));
    }

    #[test]
    fn a_tenant_of_another_cluster_is_reached_through_a_forwarded_port() {
        let commands = next(Path::new("/home/me/.kube/config"));
        assert!(commands[1].ends_with(" port-forward service/sample 6443:6443 &"), "{commands:?}");
        assert!(commands[2].ends_with(" --server https://127.0.0.1:6443 get namespaces"), "{commands:?}");
        assert!(
            commands.iter().all(|command| command.contains("--kubeconfig \"/home/me/.kube/config\"")),
            "{commands:?}"
        );
        let local = next(&admin_kubeconfig());
        assert!(local.iter().all(|command| !command.contains("port-forward")), "{local:?}");
    }
}
