//! An OCI image layout on disk: `index.json` names manifests, `blobs/sha256` holds everything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layer;
use super::table::Image;
use crate::command;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Annotation with the full reference, as containerd writes and reads it.
const NAME: &str = "io.containerd.image.name";
/// Our annotation: what the image was made from.
const INPUTS: &str = "dev.kamaji.inputs";

/// The images in one folder.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    entries: Vec<Value>,
}

/// A stored image.
#[derive(Debug, Clone)]
pub struct Written {
    /// `sha256:` and the hash of its manifest.
    pub digest: String,
}

impl Store {
    /// Opens the folder, or makes it.
    pub fn open(dir: PathBuf) -> Result<Self> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index: Value = fs::read(dir.join("index.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let entries = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self { dir, entries })
    }

    /// The image, if all its names are stored and were made from these inputs.
    pub fn find(&self, image: &Image, inputs: &str) -> Option<Written> {
        let mut digest = None;
        for name in &image.names {
            let entry = self.entries.iter().find(|entry| annotation(entry, NAME) == Some(name))?;
            if annotation(entry, INPUTS) != Some(inputs) {
                return None;
            }
            digest = entry.get("digest").and_then(Value::as_str).map(str::to_owned);
        }
        let digest = digest?;
        self.blob(&digest).is_file().then_some(Written { digest })
    }

    /// Packs the image and takes its names from whatever had them.
    pub fn write(&mut self, image: &Image, inputs: &str) -> Result<Written> {
        let scratch = self.dir.join("layer.new");
        layer::write(&image.entries, &scratch)?;
        let layer = self.keep(&scratch)?;
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        let environment: Vec<&String> = std::iter::once(&path).chain(&image.environment).collect();
        let config = self.put(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": image.entrypoint,
                "Cmd": image.arguments,
                "User": image.user,
                "Env": environment,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.get("digest")]},
        }))?;
        let manifest = self.put(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(&config, CONFIG),
            "layers": [described(&layer, LAYER)],
        }))?;
        self.entries
            .retain(|entry| annotation(entry, NAME).is_none_or(|name| !image.names.iter().any(|own| own == name)));
        for name in &image.names {
            let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            let mut entry = described(&manifest, MANIFEST);
            if let Some(fields) = entry.as_object_mut() {
                let annotations = json!({NAME: name, "org.opencontainers.image.ref.name": tag, INPUTS: inputs});
                fields.insert("annotations".into(), annotations);
            }
            self.entries.push(entry);
        }
        let digest = manifest.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Written { digest })
    }

    /// Gives up every name of a repository but these.
    pub fn keep_only(&mut self, repository: &str, names: &[String]) {
        self.entries.retain(|entry| {
            annotation(entry, NAME).is_none_or(|name| {
                name.rsplit_once(':').is_none_or(|(own, _)| own != repository) || names.iter().any(|kept| kept == name)
            })
        });
    }

    /// Writes the index and removes blobs that no image needs any more.
    pub fn save(&self) -> Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries});
        let fresh = self.dir.join("index.json.new");
        fs::write(&fresh, serde_json::to_vec_pretty(&index)?)?;
        fs::rename(&fresh, self.dir.join("index.json"))?;
        let mut needed = BTreeSet::new();
        for digest in self.entries.iter().filter_map(|entry| entry.get("digest")?.as_str()) {
            needed.insert(hex(digest).to_owned());
            let text = fs::read_to_string(self.blob(digest)).unwrap_or_default();
            let manifest: Value = serde_json::from_str(&text).unwrap_or_default();
            let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
            let blobs = layers.chain(manifest.get("config")).filter_map(|blob| blob.get("digest")?.as_str());
            needed.extend(blobs.map(|digest| hex(digest).to_owned()));
        }
        for file in fs::read_dir(self.dir.join("blobs/sha256"))?.flatten() {
            if !needed.contains(file.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    fn put(&self, document: &Value) -> Result<Value> {
        let scratch = self.dir.join("document.new");
        fs::write(&scratch, serde_json::to_vec(document)?)?;
        self.keep(&scratch)
    }

    /// Moves a file among the blobs and returns its digest and size.
    fn keep(&self, file: &Path) -> Result<Value> {
        let said = command::output("hashing a layer", Command::new("sha256sum").arg(file))?;
        let digest = format!("sha256:{}", said.split_whitespace().next().unwrap_or_default());
        let size = fs::metadata(file)?.len();
        fs::rename(file, self.blob(&digest))?;
        Ok(json!({"digest": digest, "size": size}))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs/sha256").join(hex(digest))
    }
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn annotation<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry.get("annotations")?.get(key)?.as_str()
}

fn described(blob: &Value, media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": blob.get("digest"), "size": blob.get("size")})
}

/// The machine's architecture by the name that Go and OCI use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
