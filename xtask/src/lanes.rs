//! Runs test binaries side by side: those that start real servers wait more than they compute.
//!
//! Each has its output in a log of its own, which is printed whole when it fails.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::{command, layout, workspace};

/// How many run at the same time, at most, because a server that waits for the disk or for memory is slow for everyone.
const MOST: usize = 6;

/// Long targets first, so that none is begun when the rest is over. Seconds on two cores; only the order matters, and
/// what is not named comes last.
const LONGEST: [(&str, u32); 26] = [
    ("apiserver_datastore_rotation", 105),
    ("apiserver_outage", 85),
    ("apiserver_kills", 80),
    ("apiserver_datastore_tenants", 75),
    ("apiserver_apply", 60),
    ("apiserver_datastores", 60),
    ("apiserver_fields", 55),
    ("apiserver_datastore_input", 50),
    ("apiserver_etcd_members", 45),
    ("apiserver_internal_ca", 40),
    ("apiserver_testkit", 37),
    ("apiserver_healing", 36),
    ("apiserver_etcd", 35),
    ("apiserver_session", 33),
    ("apiserver_input", 33),
    ("apiserver_datastore_placement", 33),
    ("apiserver_datastore_outage", 31),
    ("apiserver_tenant_side", 31),
    ("apiserver_ownership", 30),
    ("apiserver_properties", 28),
    ("apiserver_forced_deletion", 28),
    ("apiserver_etcd_cluster", 27),
    ("apiserver_leader", 21),
    ("apiserver_konnectivity", 19),
    ("apiserver_chart", 18),
    ("apiserver_replicas", 18),
];

/// What the tests run with.
#[derive(Clone, Copy, Debug)]
pub struct With<'a> {
    /// Version of Kubernetes, without `v`.
    pub version: &'a str,
    /// The operator that they start; without one they take what cargo built with them.
    pub operator: Option<&'a Path>,
    /// Only tests whose name contains this.
    pub filter: Option<&'a str>,
}

/// One test binary that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its package.
    pub package: String,
    /// Its name.
    pub name: String,
    /// The binary.
    executable: PathBuf,
    /// The folder of its package: cargo starts tests there.
    folder: PathBuf,
}

/// Builds integration tests, given as packages and names, all of them before any runs.
///
/// # Errors
/// When cargo fails; what it says is on the screen.
pub fn build(targets: &[(String, String)]) -> Result<Vec<Target>> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    for (package, target) in targets {
        cargo.args(["--package", package, "--test", target]);
    }
    let out = cargo.stderr(Stdio::inherit()).stdin(Stdio::null()).output().context("cannot start cargo")?;
    if !out.status.success() {
        bail!("the tests cannot be built; the compiler's output is above");
    }
    let mut built = built(&String::from_utf8_lossy(&out.stdout));
    built.retain(|found| targets.iter().any(|(package, name)| *package == found.package && *name == found.name));
    if built.len() != targets.len() {
        bail!("cargo built {} of {} test binaries and does not say why", built.len(), targets.len());
    }
    Ok(built)
}

/// Test binaries in the messages of cargo, one JSON object per line.
fn built(messages: &str) -> Vec<Target> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    parsed
        .filter_map(|message| {
            let text = |pointer: &str| message.pointer(pointer).and_then(serde_json::Value::as_str);
            let executable = text("/executable").filter(|_| text("/target/kind/0") == Some("test"))?;
            let folder = Path::new(text("/manifest_path")?).parent()?;
            Some(Target {
                package: package(text("/package_id")?, folder)?,
                name: text("/target/name")?.to_owned(),
                executable: executable.into(),
                folder: folder.to_owned(),
            })
        })
        .collect()
}

/// `path+file:///somewhere/api#kamaji-api@0.1.0`, and without a name where the folder is called like the package
/// (cargo, "Package ID Specifications").
fn package(id: &str, folder: &Path) -> Option<String> {
    let (_, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _)) => Some(name.to_owned()),
        None => folder.file_name()?.to_str().map(str::to_owned),
    }
}

/// Runs the binaries.
///
/// # Errors
/// When a test fails: one sentence for each binary, after all have ended.
pub fn run(targets: Vec<Target>, with: With<'_>, progress: &Progress) -> Result<()> {
    let targets = match with.filter {
        Some(filter) => matching(targets, filter)?,
        None => targets,
    };
    let lanes = lanes(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let failures = side_by_side(in_order(targets), lanes, with, progress);
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

/// Half as many again as cores: the targets wait for servers for some of their time. With twice as many they took a
/// sixth longer, because whoever polls while it waits takes from the others.
fn lanes(cores: usize) -> usize {
    (cores + cores.div_ceil(2)).min(MOST)
}

fn in_order(mut targets: Vec<Target>) -> Vec<Target> {
    let length = |target: &Target| {
        let known = LONGEST.iter().find(|(name, _)| *name == target.name);
        known.map_or(0, |(_, seconds)| *seconds)
    };
    targets.sort_by_key(|target| std::cmp::Reverse(length(target)));
    targets
}

/// The targets that have such a test.
fn matching(targets: Vec<Target>, filter: &str) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for target in targets {
        let what = format!("listing the tests of {}", target.name);
        let list = command::output(&what, binary(&target).args(["--list", "--format=terse", filter]))?;
        if !list.trim().is_empty() {
            found.push(target);
        }
    }
    Ok(found)
}

/// One sentence for each that failed.
fn side_by_side(targets: Vec<Target>, lanes: usize, with: With<'_>, progress: &Progress) -> Vec<String> {
    let queue = Mutex::new(VecDeque::from(targets));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (queue, failures) = (&queue, &failures);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(target) = next() {
                    let mut command = binary(&target);
                    command
                        .env("KAMAJI_KUBERNETES_VERSION", with.version)
                        .env("KAMAJI_TEST_LANE", format!("{lane}/{lanes}"))
                        .envs(with.operator.map(|operator| ("KAMAJI_TEST_OPERATOR", operator)))
                        .args(with.filter);
                    if let Err(failure) = one(&target, &mut command, with.version, progress) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{failure:#}"));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The environment is ours, which is what cargo gave to us: `RUST_MIN_STACK` is part of it.
fn binary(target: &Target) -> Command {
    let mut command = Command::new(&target.executable);
    command
        .current_dir(&target.folder)
        .env("CARGO_MANIFEST_DIR", &target.folder)
        .env("CARGO_PKG_NAME", &target.package)
        .stdin(Stdio::null());
    command
}

fn one(target: &Target, command: &mut Command, version: &str, progress: &Progress) -> Result<()> {
    let step = progress.step(&target.name);
    // One folder for each version: a run of all keeps the logs of all.
    let folder = layout::cache_dir().join("logs/test").join(version);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let log = folder.join(format!("{}.log", target.name));
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdout(out)
        .stderr(err)
        .status()
        .with_context(|| format!("cannot start {}", target.executable.display()))?;
    let said = std::fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if status.success() {
        step.done(&passed(&said));
        return Ok(());
    }
    drop(step);
    progress.print(&format!("\n{said}"));
    bail!(
        "{}: {}\n  log: {}",
        target.name,
        sentence(&said).unwrap_or_else(|| format!("it ended with {status}")),
        log.display()
    )
}

/// `7 tests`, of a binary whose tests passed.
fn passed(said: &str) -> String {
    let count = said.lines().rev().find_map(|line| line.strip_prefix("test result: ok. ")?.split(" passed").next());
    match count {
        Some("1") => "1 test".to_owned(),
        Some(count) => format!("{count} tests"),
        None => String::new(),
    }
}

/// The first panic of a test: who, and what it said. The standard library writes the place on one line, and the message
/// on the next.
fn sentence(said: &str) -> Option<String> {
    let mut lines = said.lines().skip_while(|line| !(line.starts_with("thread '") && line.contains("panicked at ")));
    let who = lines.next()?.split('\'').nth(1)?;
    let message = lines.find(|line| !line.trim().is_empty())?;
    Some(format!("{who}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target { package: "p".into(), name: name.into(), executable: "/bin/true".into(), folder: "/".into() }
    }

    #[test]
    fn test_binaries_are_found_among_cargos_messages() {
        let messages = r#"not json
{"reason":"compiler-artifact","package_id":"path+file:///w/crates/apply#kamaji-apply@0.1.0","manifest_path":"/w/crates/apply/Cargo.toml","target":{"kind":["lib"],"name":"kamaji_apply"},"executable":null}
{"reason":"compiler-artifact","package_id":"path+file:///w/crates/apply#kamaji-apply@0.1.0","manifest_path":"/w/crates/apply/Cargo.toml","target":{"kind":["test"],"name":"apiserver_apply"},"executable":"/w/target/debug/deps/apiserver_apply-1"}
{"reason":"compiler-artifact","package_id":"path+file:///w/bench#0.1.0","manifest_path":"/w/bench/Cargo.toml","target":{"kind":["test"],"name":"plain"},"executable":"/w/target/debug/deps/plain-1"}
{"reason":"build-finished","success":true}
"#;
        let found = built(messages);
        let names: Vec<_> = found.iter().map(|found| (found.package.as_str(), found.name.as_str())).collect();
        assert_eq!(names, [("kamaji-apply", "apiserver_apply"), ("bench", "plain")]);
        assert_eq!(found[0].folder, Path::new("/w/crates/apply"));
    }

    #[test]
    fn there_are_more_lanes_than_cores_but_not_many() {
        assert_eq!([1, 2, 4, 16].map(lanes), [2, 3, 6, 6]);
    }

    #[test]
    fn the_longest_begins_first_and_an_unknown_one_last() {
        let ordered = in_order(vec![target("apiserver_new"), target("apiserver_input"), target("apiserver_kills")]);
        let names: Vec<_> = ordered.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["apiserver_kills", "apiserver_input", "apiserver_new"]);
    }

    #[test]
    fn a_failure_is_told_by_the_first_panic() {
        let said = "running 2 tests\nthread 'one_breaks' (4711) panicked at tests/a.rs:3:5:\nleft is right\nnote: run with\n\
                    thread 'two' panicked at tests/a.rs:9:5:\nother\ntest result: FAILED. 0 passed; 2 failed\n";
        assert_eq!(sentence(said).as_deref(), Some("one_breaks: left is right"));
        assert_eq!(sentence("it was killed"), None);
    }

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed("test result: ok. 12 passed; 0 failed; 0 ignored\n"), "12 tests");
        assert_eq!(passed("test result: ok. 1 passed; 0 failed; 0 ignored\n"), "1 test");
    }
}
