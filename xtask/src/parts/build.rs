//! Builds one part with `go build`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::table::{Part, Source};
use crate::progress::{Progress, Step};
use crate::{command, layout};

/// File in the part's folder that holds the recipe it was built with.
const STAMP: &str = "recipe";

/// Whether the cache holds this part, built by this very recipe.
pub fn is_built(part: &Part) -> bool {
    let dir = layout::part_dir(part.name, &part.version);
    let same = fs::read_to_string(dir.join(STAMP)).is_ok_and(|recipe| recipe == part.recipe());
    same && part.binaries().iter().all(|binary| dir.join("bin").join(binary).is_file())
}

/// Builds the part. Its `bin` folder appears whole or not at all.
pub fn build(part: &Part, progress: &Progress) -> Result<()> {
    let title = format!("{} {}", part.name, part.version);
    let step = progress.step(&title);
    let dir = layout::part_dir(part.name, &part.version);
    let source = dir.join("source");
    let fresh = dir.join("bin.new");
    let log = super::log_dir().join(format!("{}-{}.log", part.name, part.version));
    if log.exists() {
        fs::remove_file(&log).with_context(|| format!("cannot replace {}", log.display()))?;
    }
    for folder in [&source, &fresh] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }

    let packages = match part.source {
        Source::Kubernetes(commands) => {
            let folders = commands.iter().map(|name| format!("cmd/{name}"));
            kubernetes_module(part, folders, &source, &log, &step)?
        }
        Source::KubernetesPackages(folders) | Source::KubernetesTests(folders) => {
            kubernetes_module(part, folders.iter().map(ToString::to_string), &source, &log, &step)?
        }
        Source::Modules(commands) => {
            ordinary_module(part, &source, &log, &step)?;
            commands.iter().map(super::table::Command::package).collect()
        }
    };
    go_build(part, &packages, &source, &fresh, &log, &step)?;
    keep_files(part, &source, &fresh)?;

    if let Source::Modules(commands) = part.source {
        for command in commands.iter().filter(|command| command.built_as() != command.binary) {
            fs::rename(fresh.join(command.built_as()), fresh.join(command.binary))?;
        }
    }
    let bin = dir.join("bin");
    if bin.exists() {
        fs::remove_dir_all(&bin)?;
    }
    fs::rename(&fresh, &bin)?;
    fs::write(dir.join(STAMP), part.recipe())?;
    step.done(&part.binaries().join(" "));
    Ok(())
}

fn ordinary_module(part: &Part, source: &Path, log: &Path, step: &Step) -> Result<()> {
    fs::write(source.join("go.mod"), "module parts\n\ngo 1.26.0\n")?;
    let wanted = part.modules().into_iter().map(|module| format!("{module}@v{}", part.version));
    step.note("go get");
    let what = format!("downloading {} {}", part.name, part.version);
    command::logged(&what, go(source).arg("get").args(wanted), log, |line| step.note(line))
}

/// A module that requires `k8s.io/kubernetes` and replaces each of its staging modules, which the module itself
/// replaces by folders that only exist in its repository, by the published module of the same release.
fn kubernetes_module(
    part: &Part,
    folders: impl Iterator<Item = String>,
    source: &Path,
    log: &Path,
    step: &Step,
) -> Result<Vec<String>> {
    let version = &part.version;
    step.note("go mod download");
    let module = format!("k8s.io/kubernetes@v{version}");
    let what = format!("downloading {module}");
    // With -json a failure is told in the JSON, where nobody looks for a sentence.
    command::logged(&what, go(source).args(["mod", "download", &module]), log, |line| step.note(line))?;
    let said = command::output(&what, go(source).args(["mod", "download", "-json", &module]))?;
    let path = serde_json::from_str::<serde_json::Value>(&said)
        .ok()
        .and_then(|json| json.get("GoMod")?.as_str().map(str::to_owned))
        .with_context(|| format!("`go mod download` names no go.mod for {module}"))?;
    let upstream = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    fs::write(source.join("go.mod"), go_mod(&upstream, version))?;

    let packages: Vec<String> = folders.map(|folder| format!("k8s.io/kubernetes/{folder}")).collect();
    let mut tools = String::from("//go:build tools\n\npackage tools\n\nimport (\n");
    for package in &packages {
        writeln!(tools, "\t_ \"{package}\"")?;
    }
    tools.push_str(")\n");
    fs::write(source.join("tools.go"), tools)?;
    step.note("go mod tidy");
    command::logged(&format!("resolving {module}"), go(source).args(["mod", "tidy"]), log, |line| step.note(line))?;
    Ok(packages)
}

fn keep_files(part: &Part, source: &Path, out: &Path) -> Result<()> {
    let (Some(module), false) = (part.modules().first().copied(), part.files.is_empty()) else { return Ok(()) };
    let mut list = go(source);
    list.args(["list", "-mod=mod", "-m", "-f", "{{.Dir}}", module]);
    let folder = command::output(&format!("asking for the folder of {module}"), &mut list)?;
    for file in part.files {
        let from = Path::new(folder.trim()).join(file);
        let name = from.file_name().with_context(|| format!("{file} is no file"))?;
        // Read and written: a copy would keep that the module cache is read-only.
        let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        fs::write(out.join(name), content)?;
    }
    Ok(())
}

fn go_mod(upstream: &str, version: &str) -> String {
    let go = upstream.lines().find(|line| line.starts_with("go ")).unwrap_or("go 1.26.0");
    let staging = version.replacen("1.", "0.", 1);
    let mut text = format!("module tools\n\n{go}\n\nrequire k8s.io/kubernetes v{version}\n\nreplace (\n");
    for line in upstream.lines().filter(|line| line.contains("=> ./staging/")) {
        if let Some(module) = line.trim().trim_start_matches("replace ").split_whitespace().next() {
            let _ = writeln!(text, "\t{module} => {module} v{staging}");
        }
    }
    text.push_str(")\n");
    text
}

fn go_build(part: &Part, packages: &[String], source: &Path, out: &Path, log: &Path, step: &Step) -> Result<()> {
    let mut flags = String::from("-s -w");
    if !matches!(part.source, Source::Modules(_)) {
        let version = &part.version;
        let minor = version.split('.').nth(1).unwrap_or_default();
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            write!(flags, " -X {package}.gitVersion=v{version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}")?;
        }
    }
    let mut command = go(source);
    command.env("CGO_ENABLED", if part.cgo { "1" } else { "0" });
    let verb: &[&str] = if matches!(part.source, Source::KubernetesTests(_)) { &["test", "-c"] } else { &["build"] };
    command.args(verb).args(["-v", "-mod=mod", "-trimpath", "-tags", part.tags, "-ldflags", &flags, "-o"]);
    // A trailing slash tells Go that this is a folder.
    command.arg(format!("{}/", out.display())).args(packages);
    let mut compiled = 0_u32;
    let what = format!("building {} {}", part.name, part.version);
    command::logged(&what, &mut command, log, |line| {
        compiled += 1;
        step.note(&format!("{compiled} packages, {line}"));
    })
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env("GOWORK", "off");
    command
}

#[cfg(test)]
mod tests {
    use super::go_mod;

    #[test]
    fn replaces_every_staging_module_by_its_published_version() {
        let upstream =
            "module k8s.io/kubernetes\n\ngo 1.26.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let text = go_mod(upstream, "1.36.3");
        assert!(text.contains("k8s.io/api => k8s.io/api v0.36.3"), "{text}");
        assert!(text.contains("require k8s.io/kubernetes v1.36.3"), "{text}");
    }
}
