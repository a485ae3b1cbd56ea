//! `cargo xtask test`: the rings of tests, from the innermost out.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::prerequisites::Need;
use crate::progress::{Progress, elapsed};
use crate::{lanes, layout, packages, parts, prerequisites, up, workspace};

/// A ring: what its tests need to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ring {
    /// Nothing: unit, snapshot and documentation tests.
    Unit,
    /// A real etcd and kube-apiserver, started by each test: targets `apiserver_*`.
    Apiserver,
    /// The local cluster.
    E2e,
}

/// How the targets begin whose tests start real servers.
const SERVER_TARGETS: &str = "apiserver_";

/// What `test` was asked for.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only this ring.
    #[arg(long, value_enum)]
    ring: Option<Ring>,
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Runs the apiserver ring again with every other supported Kubernetes minor.
    #[arg(long)]
    matrix: bool,
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::Apiserver => "apiserver",
            Self::E2e => "e2e",
        })
    }
}

/// Something that was run, and what came of it.
struct Run {
    title: String,
    time: Duration,
    result: Result<()>,
}

impl Run {
    fn of(title: String, run: impl FnOnce() -> Result<()>) -> Self {
        let started = Instant::now();
        let result = run();
        Self { title, time: started.elapsed(), result }
    }
}

/// Runs the rings; stops after the first that fails, once it has met every version. Ends with what came of each.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    if let Some(ring @ (Ring::Unit | Ring::E2e)) = options.ring.filter(|_| options.matrix) {
        bail!("--matrix repeats the apiserver ring, which --ring {ring} leaves out: take one of the two away");
    }
    let rings = options.ring.map_or_else(|| vec![Ring::Unit, Ring::Apiserver, Ring::E2e], |ring| vec![ring]);
    // The last ring would find out after all others.
    if rings.contains(&Ring::E2e) {
        prerequisites::check(Need::Cluster)
            .context("the e2e ring starts a local cluster; --ring unit and --ring apiserver do without")?;
    }
    prerequisites::check_tests()?;
    // Without protoc the workspace does not compile, and nobody has to call `up` before.
    packages::ensure(progress)?;
    let mut runs: Vec<Run> = Vec::new();
    for ring in rings {
        runs.extend(run_ring(ring, options, progress));
        if runs.iter().any(|run| run.result.is_err()) {
            break;
        }
    }
    eprintln!();
    for Run { title, time, result } in &runs {
        let sign = if result.is_ok() { "ok" } else { "failed" };
        eprintln!("{sign:>6}  {title:28} {:>7}", elapsed(*time));
    }
    outcome(runs)
}

/// Everything that failed, under its title.
fn outcome(runs: Vec<Run>) -> Result<()> {
    let failure = |run: Run| Some(format!("{}: {:#}", run.title, run.result.err()?));
    let failures: Vec<String> = runs.into_iter().filter_map(failure).collect();
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

fn run_ring(ring: Ring, options: &Options, progress: &Progress) -> Vec<Run> {
    let filter = options.filter.as_deref();
    match ring {
        Ring::Unit => vec![Run::of(ring.to_string(), || {
            let workspace = ["test", "--locked", "--workspace", "--exclude", "kamaji-e2e"];
            cargo(&[&workspace[..], &["--lib", "--bins", "--features", "xtask/addons"]].concat(), filter)?;
            let plain = targets(|package, target| package != "kamaji-e2e" && !target.starts_with(SERVER_TARGETS))?;
            run_targets(&plain, filter)?;
            cargo(&[&workspace[..], &["--doc"]].concat(), filter)
        })],
        Ring::Apiserver => run_with_servers(options, progress),
        Ring::E2e => vec![Run::of(ring.to_string(), || {
            // Datastores of the stories run beside the cluster.
            packages::ensure_with(&[packages::DATABASES.into()], progress)?;
            parts::ensure(&parts::select(&["nats-server".into()])?, progress)?;
            up::run(&up::Options::for_stories(), progress)?;
            cargo(&["test", "--locked", "--package", "kamaji-e2e"], filter)
        })],
    }
}

/// The tests are built once, and run against the version that CI builds; for a matrix against every other one as well,
/// whatever came of those before.
///
/// The whole ring starts the operator as it ships: that is what users run, and the stories need it built anyway. Who
/// asked for some tests is in the middle of a change, and gets the operator that is built in a minute.
fn run_with_servers(options: &Options, progress: &Progress) -> Vec<Run> {
    let ring = Ring::Apiserver;
    let (mut built, mut operator) = (Vec::new(), None::<PathBuf>);
    let filter = options.filter.as_deref();
    let building = Run::of(format!("{ring}, built"), || {
        built = lanes::build(&targets(|_, target| target.starts_with(SERVER_TARGETS))?)?;
        if filter.is_none() {
            operator = up::build::run(true, false, progress)?.operator;
        }
        packages::ensure_with(&[packages::DATABASES.into()], progress)
    });
    if building.result.is_err() {
        return vec![building];
    }
    forget_logs();
    let others = if options.matrix { layout::KUBERNETES_MATRIX } else { &[] };
    let versions = std::iter::once(layout::KUBERNETES_VERSION).chain(others.iter().copied());
    let runs = versions.map(|version| {
        if options.matrix {
            progress.print(&format!("\nKubernetes {version}"));
        }
        Run::of(format!("{ring} {version}"), || {
            let names = ["etcd", "helm", "kwok", "kine", "konnectivity", "nats-server"].map(String::from);
            let names: Vec<String> = std::iter::once(format!("kubernetes@{version}")).chain(names).collect();
            parts::ensure(&parts::select(&names)?, progress)?;
            let with = lanes::With { version, operator: operator.as_deref(), filter };
            lanes::run(built.clone(), with, progress)
        })
    });
    std::iter::once(building).chain(runs).collect()
}

/// Logs of operators that earlier runs started.
fn forget_logs() {
    // What stays takes room and nothing else.
    let _ = std::fs::remove_dir_all(layout::operator_logs());
}

fn cargo(arguments: &[&str], filter: Option<&str>) -> Result<()> {
    let mut cargo: Command = workspace::cargo();
    // Stories that make workers call this very binary: through cargo each would wait for its lock.
    let xtask = std::env::current_exe().context("this program does not know its own path")?;
    let version = layout::KUBERNETES_VERSION;
    cargo.args(arguments).env("KAMAJI_KUBERNETES_VERSION", version).env("KAMAJI_XTASK", xtask);
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("tests failed, or they cannot be built; the output is above");
    }
    Ok(())
}

/// Runs integration tests by name: a glob would make cargo fail for packages without such a target.
fn run_targets(targets: &[(String, String)], filter: Option<&str>) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["test", "--locked"];
    for (package, target) in targets {
        arguments.extend(["--package", package, "--test", target]);
    }
    cargo(&arguments, filter)
}

/// Packages and names of the integration tests that `wanted` takes.
fn targets(wanted: impl Fn(&str, &str) -> bool) -> Result<Vec<(String, String)>> {
    let text = crate::command::output(
        "asking cargo for test targets",
        workspace::cargo().args(["metadata", "--no-deps", "--format-version=1"]),
    )?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    Ok(targets_of(&metadata).into_iter().filter(|(package, target)| wanted(package, target)).collect())
}

fn targets_of(metadata: &serde_json::Value) -> Vec<(String, String)> {
    let list = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(serde_json::Value::as_array).cloned().unwrap_or_default()
    };
    let text = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let mut found = Vec::new();
    for package in list(metadata, "packages") {
        for target in list(&package, "targets") {
            if list(&target, "kind").iter().any(|kind| kind == "test") {
                found.push((text(&package, "name"), text(&target, "name")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_run_is_told_under_its_title() {
        let run = |title: &str, result| Run { title: title.to_owned(), time: Duration::ZERO, result };
        let failed = |sentence: &str| Err(anyhow::anyhow!("{sentence}"));
        let runs = vec![
            run("apiserver 1.36.3", Ok(())),
            run("apiserver 1.33.13", failed("apiserver_a: left is right")),
            run("apiserver 1.34.4", Ok(())),
            run("apiserver 1.35.4", failed("no network")),
        ];
        let told = outcome(runs).unwrap_err().to_string();
        assert_eq!(told, "apiserver 1.33.13: apiserver_a: left is right\napiserver 1.35.4: no network");
        assert!(outcome(vec![run("unit", Ok(()))]).is_ok());
    }

    #[test]
    fn integration_tests_are_found_and_nothing_else() {
        let metadata = serde_json::json!({"packages": [{"name": "kamaji-apply", "targets": [
            {"name": "apiserver_ownership", "kind": ["test"]},
            {"name": "apiserver_like", "kind": ["bin"]},
            {"name": "plain", "kind": ["test"]},
        ]}]});
        let found = targets_of(&metadata);
        let names: Vec<&str> = found.iter().map(|(_, target)| target.as_str()).collect();
        assert_eq!(names, ["apiserver_ownership", "plain"]);
    }
}
