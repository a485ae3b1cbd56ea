//! Installs the project's charts with helm.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::kubectl::Kubectl;
use crate::progress::Progress;
use crate::{command, images, layout, lock, parts, workspace};

/// Namespace of the operator.
pub const NAMESPACE: &str = "kamaji-system";

/// An image reference, split as the chart's values are.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    repository: String,
    tag: String,
}

impl Image {
    /// Splits `repository:tag`. What follows the colon of a registry's port has a slash, and a tag has none.
    pub fn parse(reference: &str) -> Result<Self> {
        let (repository, tag) = reference
            .rsplit_once(':')
            .filter(|(repository, tag)| !repository.is_empty() && !tag.is_empty() && !tag.contains('/'))
            .with_context(|| format!("--image {reference} has no tag; write repository:tag"))?;
        Ok(Self { repository: repository.into(), tag: tag.into() })
    }
}

/// Packs the operator's binary. Another binary gets another tag, so that its pods roll.
pub fn local_image(binary: &Path, progress: &Progress) -> Result<Image> {
    // Workers pack images, too.
    let _turn = lock::workers()?;
    let mut image = images::operator(binary)?;
    let written = images::ensure(std::slice::from_ref(&image), progress)?;
    let digest = written.first().map(|stored| stored.digest.trim_start_matches("sha256:")).unwrap_or_default();
    let tag = format!("local-{}", digest.get(..12).unwrap_or(digest));
    let repository = "docker.io/kamaji/kamaji";
    image.names.push(format!("{repository}:{tag}"));
    images::ensure(std::slice::from_ref(&image), progress)?;
    let mut store = images::Store::open(images::dir())?;
    store.keep_only(repository, &image.names);
    store.save()?;
    Ok(Image { repository: repository.into(), tag })
}

/// What becomes of values that somebody gave to an earlier installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// They go: the local cluster is the same after each `up`.
    Forgotten,
    /// They stay, but for the repository and the tag of the image: somebody else's cluster keeps its settings.
    Kept,
}

/// `helm upgrade --install` of both charts, the kinds first, and waits until the operator is available.
pub fn charts(kubectl: &Kubectl, image: Option<&Image>, earlier: Earlier, progress: &Progress) -> Result<()> {
    let step = progress.step("charts");
    for chart in ["kamaji-crds", "kamaji"] {
        step.note(chart);
        let folder = workspace::root().join("charts").join(chart);
        if !folder.join("Chart.yaml").is_file() {
            bail!("{} holds no chart: Chart.yaml is missing", folder.display());
        }
        let mut helm = helm(kubectl);
        helm.args(["upgrade", "--install", chart]).arg(folder);
        // The kinds come from kamaji-crds alone, whose upgrades change them; helm never updates a chart's own.
        helm.arg("--skip-crds");
        helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout=3m"]);
        if earlier == Earlier::Kept {
            helm.arg("--reset-then-reuse-values");
        }
        if let Some(image) = image.filter(|_| chart == "kamaji") {
            helm.args(["--set-string", &format!("image.repository={},image.tag={}", image.repository, image.tag)]);
            if earlier == Earlier::Forgotten {
                helm.args(["--set", "image.pullPolicy=IfNotPresent"]);
            }
        }
        let log = parts::log_dir().join("helm.log");
        if let Err(error) =
            command::logged(&format!("installing chart {chart}"), &mut helm, &log, |line| step.note(line))
        {
            return Err(explain(kubectl, error));
        }
    }
    step.done("kamaji-crds, kamaji");
    Ok(())
}

/// helm only says that it waited too long; the operator's pods know more.
fn explain(kubectl: &Kubectl, error: anyhow::Error) -> anyhow::Error {
    let pods = ["--namespace", NAMESPACE, "get", "pods", "--output=wide", "--no-headers"];
    let logs = ["--namespace", NAMESPACE, "logs", "--selector=app.kubernetes.io/instance=kamaji", "--tail=5"];
    let said: Vec<String> = [pods.as_slice(), logs.as_slice()]
        .iter()
        .filter_map(|arguments| kubectl.run("asking about the operator", arguments).ok())
        .filter(|text| !text.trim().is_empty())
        .collect();
    if said.is_empty() { error } else { anyhow::anyhow!("{error}\n\n{}", said.join("\n")) }
}

fn helm(kubectl: &Kubectl) -> Command {
    let mut helm = Command::new(layout::helm());
    helm.arg("--kubeconfig").arg(kubectl.kubeconfig());
    let home = layout::cache_dir().join("helm");
    // helm warns about, and keeps things in, the user's own folders otherwise.
    helm.env("HELM_CACHE_HOME", &home).env("HELM_CONFIG_HOME", &home).env("HELM_DATA_HOME", &home);
    helm
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_registry_port_is_no_tag() {
        let image = Image::parse("localhost:5000/kamaji:v1").unwrap();
        assert_eq!(image, Image { repository: "localhost:5000/kamaji".into(), tag: "v1".into() });
    }

    #[test]
    fn a_reference_without_a_tag_is_refused() {
        for reference in ["kamaji", "localhost:5000/kamaji", "kamaji:", ":v1"] {
            assert!(Image::parse(reference).is_err(), "{reference}");
        }
    }
}
