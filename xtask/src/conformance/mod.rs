//! `cargo xtask conformance`: Kubernetes' own end-to-end tests against a tenant with one worker.

mod left_out;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::admin_kubeconfig;
use crate::cluster::kubectl::Kubectl;
use crate::progress::Progress;
use crate::{command, kubeconfig, layout, parts, worker, workspace};
use summary::Summary;

const TENANT: &str = "conformance/conformance";
const MANIFESTS: &str = include_str!("../../manifests/conformance.yaml");

/// What `conformance` was asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only tests whose name matches this regular expression.
    #[arg(long, default_value = r"\[Conformance\]")]
    focus: String,
    /// How many tests run at a time.
    #[arg(long, default_value_t = 4)]
    parallel: u8,
    /// Keeps the tenant and its worker afterwards.
    #[arg(long)]
    keep: bool,
}

/// Builds the tests, makes the tenant and its worker, runs the tests, prints the counts.
///
/// # Errors
/// When something cannot be made, or a test fails.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    let management = Kubectl::new(admin_kubeconfig());
    if !management.kubeconfig().exists() {
        bail!("there is no local cluster; `cargo xtask up` starts one");
    }
    parts::ensure(&parts::select(&["e2e-test".into(), "ginkgo".into(), "agnhost".into()])?, progress)?;
    let tenant = make_tenant(&management, progress)?;
    let worker =
        worker::Verb::Join { tenant: TENANT.into(), version: None, isolated: false, with: vec!["agnhost".into()] };
    worker::run(&worker, progress)?;
    let summary = tests(options, &tenant, progress);
    if !options.keep {
        worker::run(&worker::Verb::Remove { tenant: TENANT.into(), node: None }, progress)?;
        let namespace = ["delete", "namespace", "conformance", "--wait=false"];
        management.run("removing the tenant", &namespace)?;
    }
    let (summary, report) = summary?;
    println!("\n{}\nreport: {}", summary.table(), report.display());
    println!("left out, besides {}:", left_out::KINDS.join(", ").replace('\\', ""));
    for test in left_out::LEFT_OUT {
        println!("  {}: {}", test.pattern, test.reason);
    }
    if !summary.failed.is_empty() {
        bail!("{} of Kubernetes' tests failed; their names are above", summary.failed.len());
    }
    Ok(())
}

/// The tenant, with its addons asked for; returns the path of its kubeconfig.
fn make_tenant(management: &Kubectl, progress: &Progress) -> Result<PathBuf> {
    let step = progress.step(format!("tenant {TENANT}"));
    let manifests = MANIFESTS.replace("$VERSION", &format!("v{}", layout::KUBERNETES_VERSION));
    management.apply("creating the tenant", &manifests)?;
    let object = ["--namespace=conformance", "tenantcontrolplane/conformance"];
    for condition in ["condition=Ready", "condition=TenantConfigured"] {
        management.wait(&format!("waiting for tenant {TENANT}"), &object, condition, 180)?;
    }
    let path = kubeconfig::write_tenant(TENANT, management)?;
    step.done("Ready");
    Ok(path)
}

fn tests(options: &Options, kubeconfig: &std::path::Path, progress: &Progress) -> Result<(Summary, PathBuf)> {
    let own = Kubectl::new(kubeconfig.to_owned());
    let step = progress.step("Kubernetes' tests");
    step.note("waiting for CoreDNS and the konnectivity agent");
    for workload in ["deployment/coredns", "daemonset/konnectivity-agent", "daemonset/kube-proxy"] {
        let arguments = ["--namespace=kube-system", "rollout", "status", workload, "--timeout=180s"];
        own.run(&format!("waiting for {workload}"), &arguments)?;
    }
    let folder = workspace::target_dir()?.join("conformance");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let report = folder.join("report.json");
    if report.exists() {
        fs::remove_file(&report).with_context(|| format!("cannot replace {}", report.display()))?;
    }
    let log = folder.join("tests.log");
    let binary = layout::bin_dir("e2e-test", layout::KUBERNETES_VERSION).join("e2e.test");
    let mut ginkgo = Command::new(layout::bin_dir("ginkgo", layout::GINKGO_VERSION).join("ginkgo"));
    ginkgo
        .arg(format!("--procs={}", options.parallel))
        .args(["--no-color", "--timeout=3h", "--json-report=report.json"])
        .arg(format!("--output-dir={}", folder.display()))
        .arg(format!("--focus={}", options.focus))
        .arg(format!("--skip={}", left_out::skip()))
        .arg(binary)
        .arg("--")
        .args(["--provider=skeleton", "--num-nodes=1", "--disable-log-dump"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--kubectl-path={}", layout::kubectl().display()));
    let ran = command::logged("running Kubernetes' tests", &mut ginkgo, &log, |line| step.note(line));
    // That tests failed is told by their names; without a report, by what ginkgo said.
    let Ok(text) = fs::read_to_string(&report) else {
        ran?;
        bail!("ginkgo ended well and wrote no report {}\n  log: {}", report.display(), log.display());
    };
    let summary = Summary::of(&serde_json::from_str(&text)?);
    step.done(&format!("{} passed, {} failed", summary.passed(), summary.failed.len()));
    Ok((summary, report))
}
