//! `cargo xtask test`: the rings of tests, from the innermost out.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::{Progress, elapsed};
use crate::{lanes, layout, packages, parts, up, workspace};

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

/// Runs the rings; stops after the first that fails. Ends with the time of each.
pub fn run(options: &Options, progress: &Progress) -> Result<()> {
    // Without protoc the workspace does not compile, and nobody has to call `up` before.
    packages::ensure(progress)?;
    let rings = options.ring.map_or_else(|| vec![Ring::Unit, Ring::Apiserver, Ring::E2e], |ring| vec![ring]);
    let mut times: Vec<(String, Duration)> = Vec::new();
    let mut result = Ok(());
    for ring in rings {
        let mut runs = vec![layout::KUBERNETES_VERSION];
        if options.matrix && ring == Ring::Apiserver {
            runs.extend(layout::KUBERNETES_MATRIX);
        }
        for version in runs {
            let started = Instant::now();
            result = run_ring(ring, version, options.filter.as_deref(), progress);
            let title = if ring == Ring::Unit { ring.to_string() } else { format!("{ring} {version}") };
            times.push((title, started.elapsed()));
            if result.is_err() {
                break;
            }
        }
        if result.is_err() {
            break;
        }
    }
    eprintln!();
    for (index, (ring, time)) in times.iter().enumerate() {
        let is_failed = result.is_err() && index + 1 == times.len();
        eprintln!("{:>6}  {ring:28} {:>7}", if is_failed { "failed" } else { "ok" }, elapsed(*time));
    }
    result
}

fn run_ring(ring: Ring, version: &str, filter: Option<&str>, progress: &Progress) -> Result<()> {
    match ring {
        Ring::Unit => {
            let workspace = ["test", "--locked", "--workspace", "--exclude", "kamaji-e2e"];
            cargo(
                ring,
                version,
                &[&workspace[..], &["--lib", "--bins", "--features", "xtask/addons"]].concat(),
                filter,
            )?;
            let plain = targets(|package, target| package != "kamaji-e2e" && !target.starts_with(SERVER_TARGETS))?;
            run_targets(ring, version, &plain, filter)?;
            cargo(ring, version, &[&workspace[..], &["--doc"]].concat(), filter)
        }
        Ring::Apiserver => {
            packages::ensure_with(&[packages::DATABASES.into()], progress)?;
            let others = ["etcd", "kwok", "kine", "konnectivity", "nats-server"].map(String::from);
            let names: Vec<String> = std::iter::once(format!("kubernetes@{version}")).chain(others).collect();
            parts::ensure(&parts::select(&names)?, progress)?;
            let built = lanes::build(&targets(|_, target| target.starts_with(SERVER_TARGETS))?)?;
            lanes::run(built, version, filter, progress)
        }
        Ring::E2e => {
            up::run(&up::Options::for_stories(), progress)?;
            cargo(ring, version, &["test", "--locked", "--package", "kamaji-e2e"], filter)
        }
    }
}

fn cargo(ring: Ring, version: &str, arguments: &[&str], filter: Option<&str>) -> Result<()> {
    let mut cargo: Command = workspace::cargo();
    // Stories that make workers call this very binary: through cargo each would wait for its lock.
    let xtask = std::env::current_exe().context("this program does not know its own path")?;
    cargo.args(arguments).env("KAMAJI_KUBERNETES_VERSION", version).env("KAMAJI_XTASK", xtask);
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the {ring} ring failed; its output is above");
    }
    Ok(())
}

/// Runs integration tests by name: a glob would make cargo fail for packages without such a target.
fn run_targets(ring: Ring, version: &str, targets: &[(String, String)], filter: Option<&str>) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["test", "--locked"];
    for (package, target) in targets {
        arguments.extend(["--package", package, "--test", target]);
    }
    cargo(ring, version, &arguments, filter)
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
    use super::targets_of;

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
