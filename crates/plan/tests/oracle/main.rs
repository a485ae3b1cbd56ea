//! The plan of a tenant's cluster beside what the real kubeadm of each minor puts there: whole objects.
//!
//! `cargo xtask oracle` runs kubeadm with `kubeadm.yaml` and stores its objects in `v1.<minor>`; here they are compared
//! with the plan of `tenant.yaml`, which says the same. What differs is in [`differences::TABLE`], each with its reason.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

mod compare;
mod defaults;
mod differences;
#[path = "../planned/mod.rs"]
mod planned;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    exposed::Exposed,
    resolve::{self, Observed},
    tenant_cluster,
    version::{NEWEST_MINOR, OLDEST_TESTED_MINOR},
};
use serde_json::{Value, json};

/// Objects by kind, namespace and name.
type Objects = BTreeMap<String, Value>;

/// kubeadm's objects hold this text in the place of the authority in base64.
const AUTHORITY: &str = "AUTHORITY";
const AUTHORITY_PEM: &[u8] = b"an authority";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask oracle`", path.display()))
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    let [kind, name] = [&object["kind"], &metadata["name"]].map(|text| text.as_str().unwrap());
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// What kubeadm of this minor wrote.
fn kubeadms(minor: u32) -> Objects {
    let folder = folder().join(format!("v1.{minor}"));
    let files = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask oracle --minor 1.{minor}`", folder.display()));
    files
        .map(|file| serde_saphyr::from_str::<Value>(&read(&file.unwrap().path())).unwrap())
        .map(|object| (key(&object), object))
        .collect()
}

/// The version of the kubeadm that ran.
fn version(kubeadms: &Objects) -> String {
    let text = kubeadms["ConfigMap kube-system/kubeadm-config"]["data"]["ClusterConfiguration"].as_str().unwrap();
    let configuration: Value = serde_saphyr::from_str(text).unwrap();
    configuration["kubernetesVersion"].as_str().unwrap().to_owned()
}

/// What the operator plans for the same tenant.
fn ours(version: &str) -> Objects {
    let spec: Value =
        serde_saphyr::from_str(&read(&folder().join("tenant.yaml")).replace("$VERSION", version)).unwrap();
    let tenant: TenantControlPlane = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
        "metadata": {"name": "oracle", "namespace": "tenants", "uid": "11111111-2222-3333-4444-555555555555"},
        "spec": spec,
    }))
    .unwrap();
    let data_store: DataStore = serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "default"},
        "spec": {"driver": "etcd", "endpoints": ["etcd-0.etcd:2379"]},
    }))
    .unwrap();
    let observed = Observed { data_store: Some(&data_store), chosen: Some("default"), ..Observed::default() };
    let resolved = resolve::resolve(&Arc::new(tenant), &observed).unwrap();
    let exposed = Exposed::new(&resolved, resolved.network.address.unwrap());
    let cluster = tenant_cluster::plan(&resolved, &exposed, KeyAlgorithm::EcdsaP256, AUTHORITY_PEM);
    assert_eq!(cluster.kept_config_maps, []);
    assert_eq!(cluster.troubles, []);
    let objects = planned::objects(&cluster).into_iter();
    objects.map(|object| (key(&object), object)).collect()
}

#[test]
fn plans_what_kubeadm_of_each_minor_writes_but_for_the_listed_differences() {
    let mut unlisted = Vec::new();
    let mut met = BTreeSet::new();
    for minor in OLDEST_TESTED_MINOR..=NEWEST_MINOR {
        let kubeadms = kubeadms(minor);
        let ours = ours(&version(&kubeadms));
        for found in compare::all(&kubeadms, &ours) {
            match differences::find(minor, &found) {
                Some(row) => drop(met.insert(row)),
                None => unlisted.push(format!("1.{minor}: {found}")),
            }
        }
    }
    assert!(unlisted.is_empty(), "differences that are not listed:\n{}", unlisted.join("\n"));
    let idle: Vec<_> = (0..differences::TABLE.len()).filter(|row| !met.contains(row)).collect();
    let idle: Vec<_> = idle.into_iter().map(|row| &differences::TABLE[row]).collect();
    assert!(idle.is_empty(), "differences that are there no more: {idle:#?}");
}

#[test]
fn a_changed_field_a_missing_object_and_a_foreign_one_are_found() {
    let kubeadms = kubeadms(NEWEST_MINOR);
    let mut changed = kubeadms.clone();
    let deployment = "Deployment kube-system/coredns";
    changed.get_mut(deployment).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    changed.remove("Service kube-system/kube-dns");
    changed.insert("Service kube-system/other".to_owned(), json!({"kind": "Service"}));
    assert_eq!(compare::all(&kubeadms, &kubeadms).len(), 0);
    let found = compare::all(&kubeadms, &changed);
    let found: Vec<_> = found.iter().map(|found| (found.object.as_str(), found.field.as_str())).collect();
    assert_eq!(
        found,
        [
            (deployment, "/spec/template/spec/containers"),
            ("Service kube-system/kube-dns", ""),
            ("Service kube-system/other", ""),
        ]
    );
    let unlisted = compare::all(&kubeadms, &changed);
    assert!(unlisted.iter().all(|found| differences::find(NEWEST_MINOR, found).is_none()));
}
