//! `kamaji crds`: the custom resource definitions, printed or written as the files of the Helm charts.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kamaji_api::crd::{self, CrdError, Installation};

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct CrdsArgs {
    /// Write one file for each definition into this folder instead of printing them.
    #[arg(long, value_name = "DIRECTORY")]
    pub output_dir: Option<PathBuf>,
    /// Write Helm templates that take namespace, Service and Certificate from the values of the chart kamaji-crds.
    #[arg(long)]
    pub helm_template: bool,
}

/// Why the definitions could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// They could not be generated.
    #[error(transparent)]
    Generate(#[from] CrdError),
    /// A file or the standard output cannot be written.
    #[error("{} cannot be written: name a writable folder with --output-dir", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The answer.
        #[source]
        source: io::Error,
    },
}

impl CrdsError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::Write { .. } => "write",
        }
    }
}

/// Stands where a template expression goes while the text around it is made safe for Helm.
const NAMESPACE: &str = "kamaji-crds-value-namespace";
const SERVICE: &str = "kamaji-crds-value-service";
const CERTIFICATE: &str = "kamaji-crds-value-certificate";

/// Runs the verb.
///
/// # Errors
/// When a definition cannot be generated or a file cannot be written.
pub fn run(args: &CrdsArgs) -> anyhow::Result<()> {
    let files = files(args.helm_template)?;
    if let Some(folder) = &args.output_dir {
        return Ok(write(folder, &files)?);
    }
    let mut stream = String::new();
    for (_, document) in files {
        stream.push_str("---\n");
        stream.push_str(&document);
    }
    match io::stdout().write_all(stream.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(CrdsError::Write { path: PathBuf::from("standard output"), source }.into()),
        Ok(()) => Ok(()),
    }
}

/// File name and content of each definition: plain for `charts/kamaji/crds`, or as templates for
/// `charts/kamaji-crds/templates`.
///
/// # Errors
/// When a definition cannot be generated.
pub fn files(helm_template: bool) -> Result<Vec<(String, String)>, CrdsError> {
    let definitions = if helm_template { crd::all_for(&placeholders())? } else { crd::all()? };
    definitions
        .into_iter()
        .map(|mut definition| {
            if !helm_template {
                return Ok((file_name(&definition), crd::document(&definition)?));
            }
            // Removing a definition removes every object of its kind.
            let annotations = definition.metadata.annotations.get_or_insert_default();
            annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
            Ok((file_name(&definition), template(&crd::document(&definition)?)))
        })
        .collect()
}

/// Writes `files` into `folder`, which is created when it is missing. Other files there stay.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(folder: &Path, files: &[(String, String)]) -> Result<(), CrdsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| CrdsError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(())
}

/// `kamaji.clastix.io_datastores.yaml`, as controller-gen names it.
fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

fn placeholders() -> Installation {
    Installation {
        namespace: NAMESPACE.to_owned(),
        webhook_service: SERVICE.to_owned(),
        certificate: CERTIFICATE.to_owned(),
    }
}

/// A document as a Helm template: braces of its own escaped, placeholders turned into expressions.
fn template(document: &str) -> String {
    let inject = format!("{NAMESPACE}/{CERTIFICATE}");
    document
        .replace("{{", "{{ \"{{\" }}")
        .replace(&inject, "{{ .Values.kamajiNamespace }}/{{ .Values.kamajiCertificateName }}")
        .replace(NAMESPACE, "{{ .Values.kamajiNamespace | quote }}")
        .replace(SERVICE, "{{ .Values.kamajiService | quote }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts");

    /// Every file of the chart's folder against what is generated now.
    fn assert_fresh(folder: &str, helm_template: bool) {
        let command = if helm_template { "--helm-template " } else { "" };
        for (name, content) in files(helm_template).unwrap() {
            let path = Path::new(CHARTS).join(folder).join(&name);
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == content,
                "charts/{folder}/{name} is out of date: cargo run -p kamaji-operator -- crds {command}--output-dir charts/{folder}"
            );
        }
    }

    #[test]
    fn the_charts_hold_the_definitions_of_this_release() {
        assert_fresh("kamaji/crds", false);
        assert_fresh("kamaji-crds/templates", true);
    }

    #[test]
    fn templates_take_their_names_from_values_and_nothing_else_is_an_expression() {
        for (name, content) in files(true).unwrap() {
            assert!(!content.contains("kamaji-crds-value"), "{name}");
            let mut rest = content.as_str();
            while let Some((_, tail)) = rest.split_once("{{") {
                let (expression, tail) = tail.split_once("}}").unwrap();
                let known = expression.starts_with(" .Values.kamaji") || expression == " \"{{\" ";
                assert!(known, "{name} holds {expression:?}");
                rest = tail;
            }
        }
        let tenant = &files(true).unwrap()[0].1;
        assert!(tenant.contains("{{ .Values.kamajiNamespace }}/{{ .Values.kamajiCertificateName }}"), "{tenant:.600}");
        assert!(tenant.contains("name: {{ .Values.kamajiService | quote }}"));
    }

    #[test]
    fn writes_one_file_per_definition() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("crds");
        write(&target, &files(false).unwrap()).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "kamaji.clastix.io_datastores.yaml",
                "kamaji.clastix.io_etcdclusters.yaml",
                "kamaji.clastix.io_kubeconfiggenerators.yaml",
                "kamaji.clastix.io_tenantcontrolplanes.yaml"
            ]
        );
        let refused = write(&target.join(&names[0]), &[]).unwrap_err();
        assert!(refused.to_string().contains("--output-dir"), "{refused}");
    }
}
