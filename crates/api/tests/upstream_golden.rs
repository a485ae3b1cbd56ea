//! Reads and writes objects that the Go operator wrote, where these are present, without losing a field.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

use std::path::{Path, PathBuf};

use kamaji_api::contract::{labels, names, secrets::TenantSecret};
use kamaji_api::{DataStore, TenantControlPlane};
use serde_json::Value;

/// Objects captured from runs of the Go operator; absent in a plain clone.
fn golden() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/golden");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("not compared: {} is absent", folder.display());
    None
}

/// The objects in a file of YAML documents, lists unpacked.
fn objects(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .flat_map(|document| match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        })
        .collect()
}

/// Every object of a kind that the Go operator wrote to the management cluster.
fn of_kind(folder: &Path, kind: &str) -> Vec<Value> {
    let tenants = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("management.yaml"));
    tenants
        .chain([folder.join("datastores.yaml")])
        .filter(|file| file.is_file())
        .flat_map(|file| objects(&file))
        .filter(|object| object["kind"] == kind)
        .collect()
}

#[test]
fn loses_no_field_of_captured_tenants_where_those_are_present() {
    let Some(folder) = golden() else { return };
    let captured = of_kind(&folder, "TenantControlPlane");
    assert!(captured.len() >= 6, "{} tenants", captured.len());
    for object in captured {
        let tenant: TenantControlPlane = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(&tenant.spec).unwrap(), object["spec"]);
        assert_eq!(serde_json::to_value(&tenant.status).unwrap(), object["status"]);
    }
}

#[test]
fn loses_no_field_of_captured_data_stores_where_those_are_present() {
    let Some(folder) = golden() else { return };
    let captured = of_kind(&folder, "DataStore");
    assert!(!captured.is_empty());
    for object in captured {
        let store: DataStore = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(&store.spec).unwrap(), object["spec"]);
        assert_eq!(serde_json::to_value(&store.status).unwrap(), object["status"]);
    }
}

#[test]
fn names_and_labels_are_those_of_captured_objects_where_those_are_present() {
    let Some(folder) = golden() else { return };
    let captured = objects(&folder.join("etcd-full/management.yaml"));
    let tenant = "etcd-full";
    for which in TenantSecret::ALL {
        let (name, component, data) = (which.name(tenant), which.component(), which.keys());
        let secret = captured
            .iter()
            .find(|object| object["kind"] == "Secret" && object["metadata"]["name"] == name.as_str())
            .unwrap_or_else(|| panic!("no Secret {name}"));
        for (label, value) in labels::of(tenant, component) {
            assert_eq!(secret["metadata"]["labels"][&label], value.as_str(), "{name} {label}");
        }
        let mut stored: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
        stored.sort();
        let mut data = data.to_vec();
        data.sort_unstable();
        assert_eq!(stored, data, "{name}");
    }
    for (kind, name) in [
        ("ConfigMap", names::kubeadm_config(tenant)),
        ("ConfigMap", names::konnectivity_egress(tenant)),
        ("Service", names::service(tenant)),
        ("Deployment", names::deployment(tenant)),
    ] {
        let found = captured.iter().any(|o| o["kind"] == kind && o["metadata"]["name"] == name.as_str());
        assert!(found, "no {kind} {name}");
    }
}
