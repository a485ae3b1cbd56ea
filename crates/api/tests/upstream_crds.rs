//! Compares the generated CustomResourceDefinitions with those of the Go operator, where these are present.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use kamaji_api::crd::{self, additions};
use serde_json::Value;

/// The Go operator's CustomResourceDefinitions, without descriptions; absent in a plain clone.
fn upstream_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/crds")
}

/// Our CustomResourceDefinitions as JSON, by name.
fn ours() -> Vec<(String, Value)> {
    let crds = crd::all().expect("the CRDs generate");
    crds.into_iter().map(|crd| (crd.metadata.name.clone().unwrap(), serde_json::to_value(crd).unwrap())).collect()
}

/// Appends the path of every difference. Order of object keys and of `required` does not count, nor do descriptions.
fn compare(path: &str, theirs: &Value, ours: &Value, differences: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            // Below `properties`, `description` is a field like any other.
            let is_properties = path.ends_with(".properties");
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                if key == "description" && !is_properties {
                    continue;
                }
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(Value::Array(a)), Some(Value::Array(b))) if key == "required" && !is_properties => {
                        let texts = |list: &Vec<Value>| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
                        if texts(a) != texts(b) {
                            differences.push(format!("{path}: theirs {a:?}, ours {b:?}"));
                        }
                    }
                    (Some(a), Some(b)) => compare(&path, a, b, differences),
                    (Some(a), None) => differences.push(format!("{path}: theirs {a}, ours has none")),
                    (None, Some(b)) => differences.push(format!("{path}: only ours, {b}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), a, b, differences);
            }
        }
        _ if theirs == ours => {}
        // Kubernetes' Rust type for a schema has floating-point limits.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ => differences.push(format!("{path}: theirs {theirs}, ours {ours}")),
    }
}

/// The schema of a field, by its path from the root of the object, within the object that holds its siblings.
fn siblings<'a>(crd: &'a mut Value, path: &str) -> (&'a mut serde_json::Map<String, Value>, String) {
    let mut node = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let (parents, last) = path.rsplit_once('.').expect("a path has a parent");
    for step in parents.split('.') {
        node = &mut node[step]["properties"];
    }
    (node.as_object_mut().expect("a parent has properties"), last.to_owned())
}

/// The default of a list.
fn default_of<'a>(crd: &'a mut Value, path: &str) -> &'a mut Vec<Value> {
    let (fields, last) = siblings(crd, path);
    let Some(Value::Array(items)) = fields.get_mut(&last).and_then(|field| field.get_mut("default")) else {
        panic!("{path} has no list as its default")
    };
    items
}

/// Takes the rules of ours off the end of a field's.
fn take_rules_off(crd: &mut Value, more: &additions::MoreRules) {
    let (fields, last) = siblings(crd, more.path);
    let Some(Value::Array(rules)) = fields.get_mut(&last).and_then(|field| field.get_mut("x-kubernetes-validations"))
    else {
        panic!("{} has no validation rules", more.path)
    };
    let wanted = more.rules.iter().map(|(rule, message)| serde_json::json!({ "rule": rule, "message": message }));
    let taken = rules.split_off(rules.len().checked_sub(more.rules.len()).expect("our rules are there"));
    assert_eq!(taken, wanted.collect::<Vec<_>>(), "the last rules of {}", more.path);
}

/// Takes `items` out of a default, each of which has to be there once.
fn take_out(default: &mut Vec<Value>, items: &[&str]) {
    for item in items {
        let before = default.len();
        default.retain(|value| value != item);
        assert_eq!(before - default.len(), 1, "{item} is in the default once");
    }
}

#[test]
fn equals_the_go_operators_crds_but_for_reviewed_additions_where_those_are_present() {
    let folder = upstream_folder();
    if !folder.is_dir() {
        println!("not compared: {} is absent", folder.display());
        return;
    }
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, mut ours) in ours() {
        if additions::KINDS.contains(&name.as_str()) {
            continue;
        }
        for addition in additions::FIELDS.iter().filter(|addition| addition.crd == name) {
            let (fields, last) = siblings(&mut ours, addition.path);
            fields.remove(&last).unwrap_or_else(|| panic!("{name} has no {}", addition.path));
        }
        for longer in additions::DEFAULTS.iter().filter(|longer| longer.crd == name) {
            take_out(default_of(&mut ours, longer.path), longer.items);
        }
        for more in additions::RULES.iter().filter(|more| more.crd == name) {
            take_rules_off(&mut ours, more);
        }
        let file = folder.join(format!("{}.yaml", name.split('.').next().unwrap()));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let theirs: Value = serde_saphyr::from_str(&text).unwrap();
        compare(&name, &theirs, &ours, &mut differences);
        compared += 1;
    }
    assert_eq!(compared, 3, "every CRD of the Go operator is compared");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn every_reviewed_addition_is_in_ours() {
    let mut ours = ours();
    for addition in additions::FIELDS {
        let (_, crd) = ours.iter_mut().find(|(name, _)| name == addition.crd).expect("the CRD exists");
        let (fields, last) = siblings(crd, addition.path);
        assert!(fields.contains_key(&last), "{} has no {}", addition.crd, addition.path);
        assert!(!addition.reason.is_empty());
    }
    for longer in additions::DEFAULTS {
        let (_, crd) = ours.iter_mut().find(|(name, _)| name == longer.crd).expect("the CRD exists");
        take_out(default_of(crd, longer.path), longer.items);
        assert!(!longer.reason.is_empty());
    }
    for more in additions::RULES {
        let (_, crd) = ours.iter_mut().find(|(name, _)| name == more.crd).expect("the CRD exists");
        take_rules_off(crd, more);
        assert!(!more.reason.is_empty());
    }
    for kind in additions::KINDS {
        assert!(ours.iter().any(|(name, _)| name == kind));
    }
}

#[test]
fn a_difference_in_a_default_is_found() {
    let (_, theirs) = ours().swap_remove(0);
    let mut changed = theirs.clone();
    let (fields, last) = siblings(&mut changed, "spec.networkProfile.port");
    fields[&last]["default"] = Value::from(443);
    let mut differences = Vec::new();
    compare("crd", &theirs, &changed, &mut differences);
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("networkProfile.properties.port.default"), "{differences:?}");
}
