//! What is written into a DataStore reaches running pods when it was found to work, not before.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::DataStore;
use kamaji_plan::{
    component::kine::Tls,
    override_record,
    resolve::{self, KnownGood, Observed},
};
use serde_json::{Value, json};

use crate::sample::{self, minimal, tenant};

/// `one` and `two`: the tenant's own and the one with its Events, where it is an etcd.
fn data_stores(driver: &str, endpoint: &str, tls: &Value) -> [Arc<DataStore>; 2] {
    let tenant = tenant(&minimal());
    let annotations = BTreeMap::from([(override_record::key(&tenant), override_record::value(&tenant))]);
    ["one", "two"].map(|name| {
        let object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"driver": driver, "endpoints": [format!("{name}.{endpoint}")], "tlsConfig": tls},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    })
}

fn planned(data_stores: &[Arc<DataStore>; 2], known_good: &[KnownGood], live: Option<&Deployment>) -> Deployment {
    let mut spec = minimal();
    if data_stores[0].spec.driver.as_str() == "etcd" {
        let entry = |resource: &str, store: &str| json!({"resource": resource, "dataStore": store});
        spec["dataStoreOverrides"] = json!([entry("/events", "two"), entry("apps/*", "one")]);
    }
    let observed = Observed {
        data_store: Some(&data_stores[0]),
        chosen: Some("one"),
        data_stores,
        known_good,
        deployment: live,
        ..Observed::default()
    };
    let resolved = resolve::resolve(&tenant(&spec), &observed).unwrap();
    sample::plan(&resolved, live).1.deployment
}

#[test]
fn pods_keep_what_they_have_until_something_else_was_found_to_work() {
    let authority = json!({"certificateAuthority": {"certificate": {"content": ""}}});
    let mut both = authority.clone();
    both["clientCertificate"] = json!({"certificate": {"content": ""}, "privateKey": {"content": ""}});
    let kinds = [(Value::Null, None), (authority, Some(Tls::Authority)), (both, Some(Tls::ClientCertificate))];
    for driver in ["etcd", "MySQL", "PostgreSQL", "NATS"] {
        for (had, _) in kinds.iter().filter(|(tls, _)| driver != "etcd" || !tls.is_null()) {
            let running = planned(&data_stores(driver, "had:1", had), &[], None);
            for (written, tls) in kinds.iter().filter(|(tls, _)| driver != "etcd" || !tls.is_null()) {
                let edited = data_stores(driver, "written:1", written);
                assert_eq!(planned(&edited, &[], Some(&running)), running, "{driver}: {had} {written}");
                let works = ["one", "two"].map(|name| {
                    let endpoints = vec![format!("{name}.written:1")];
                    KnownGood { name: name.to_owned(), endpoints, tls: *tls }
                });
                let new = planned(&edited, &[], None);
                assert_eq!(planned(&edited, &works, Some(&running)).spec, new.spec, "{driver}: {had} {written}");
                // Once it is there it stays, whether anything is open or not.
                assert_eq!(planned(&edited, &[], Some(&new)), new, "{driver}: {written}");
                if driver == "etcd" {
                    assert_ne!(new.spec, running.spec);
                    let args = serde_json::to_string(&new).unwrap();
                    assert!(args.contains("--etcd-servers=https://one.written:1\""), "{args}");
                    let overrides = "/events#https://two.written:1,apps/*#https://one.written:1\"";
                    assert!(args.contains(&format!("--etcd-servers-overrides={overrides}")), "{args}");
                }
            }
        }
    }
}
