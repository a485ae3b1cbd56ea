//! Objects that were captured from runs of the Go operator, and the same objects on a real API server.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

/// Objects captured from runs of the Go operator; absent in a plain clone.
pub fn golden() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/golden");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("not compared: {} is absent", folder.display());
    None
}

pub fn objects(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_multiple(&text).unwrap()
}

/// The same API for every kind.
pub fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", object["apiVersion"].as_str().unwrap()),
    };
    let kind = object["kind"].as_str().unwrap();
    let plural = match kind {
        "Ingress" => "ingresses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Every captured object as the API server has it now, by kind and name.
pub async fn live(client: &Client, captured: &[Value]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for object in captured {
        let name = object["metadata"]["name"].as_str().unwrap();
        let found = api(client, object).get_opt(name).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{} {name} is gone", object["kind"]));
        all.insert(format!("{}/{name}", object["kind"].as_str().unwrap()), serde_json::to_value(found).unwrap());
    }
    all
}
