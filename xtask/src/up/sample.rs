//! An etcd for tenants, and the first tenant on it.

use std::fmt::Write as _;

use anyhow::Result;

use crate::cluster::admin_kubeconfig;
use crate::cluster::kubectl::Kubectl;
use crate::layout;
use crate::progress::Progress;

const MANIFESTS: &str = include_str!("../../manifests/sample.yaml");

/// Applies both and waits until the tenant is ready.
pub fn create(kubectl: &Kubectl, progress: &Progress) -> Result<()> {
    let step = progress.step("tenant default/sample");
    let manifests = MANIFESTS.replace("$VERSION", &format!("v{}", layout::KUBERNETES_VERSION));
    kubectl.apply("creating the sample tenant", &manifests)?;
    let tenant = ["--namespace=default", "tenantcontrolplane/sample"];
    for condition in ["condition=Ready", "condition=TenantConfigured"] {
        if let Err(error) = kubectl.wait("waiting for tenant default/sample", &tenant, condition, 180) {
            return Err(explain(kubectl, &error));
        }
    }
    step.done("Ready");
    Ok(())
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

/// The three commands to try next.
pub fn say_what_next(kubectl: &Kubectl) {
    let command = layout::kubectl().display().to_string();
    let (own, flag) = if kubectl.kubeconfig() == admin_kubeconfig() {
        ("$(cargo xtask kubeconfig)".to_owned(), String::new())
    } else {
        let path = kubectl.kubeconfig().display().to_string();
        (path.clone(), format!(" --kubeconfig {path}"))
    };
    println!(
        "\nA tenant control plane answers. Try next:\n\
         \n  {command} --kubeconfig \"{own}\" get tenantcontrolplanes --all-namespaces\
         \n  {command} --kubeconfig \"$(cargo xtask kubeconfig default/sample{flag} | tail -1)\" get namespaces\
         \n  {command} --kubeconfig \"{own}\" scale tenantcontrolplane sample --replicas=2"
    );
}
