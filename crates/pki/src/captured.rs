//! Reads Secrets captured from a management cluster; for tests only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// One Secret.
pub(crate) struct Secret {
    pub(crate) name: String,
    /// The annotation `kamaji.clastix.io/checksum`.
    pub(crate) checksum: String,
    pub(crate) data: BTreeMap<String, Vec<u8>>,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    metadata: Metadata,
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    annotations: BTreeMap<String, String>,
}

/// The captured files; none where they are not at hand.
pub(crate) fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/golden");
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    entries.map(|entry| entry.unwrap().path().join("management.yaml")).filter(|file| file.exists()).collect()
}

/// Every Secret of a multi-document YAML file, at least one.
pub(crate) fn secrets(file: &Path) -> Vec<Secret> {
    let text = std::fs::read_to_string(file).unwrap();
    let secrets: Vec<Secret> = text
        .split("\n---\n")
        .filter(|document| document.contains("\nkind: Secret\n"))
        .map(|document| {
            let object: Object = serde_saphyr::from_str(document).unwrap();
            assert_eq!(object.kind, "Secret");
            let data = object.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, STANDARD.decode(value).unwrap()));
            Secret {
                name: object.metadata.name,
                checksum: object.metadata.annotations["kamaji.clastix.io/checksum"].clone(),
                data: data.collect(),
            }
        })
        .collect();
    assert!(!secrets.is_empty(), "{}", file.display());
    secrets
}
