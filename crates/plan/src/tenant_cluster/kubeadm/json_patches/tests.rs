use serde_json::json;

use super::*;

fn patched(document: Value, patches: Value) -> Result<Value, String> {
    let mut document = document;
    let patches: Vec<JsonPatch> = serde_json::from_value(patches).unwrap();
    apply(&mut document, &patches).map_err(|refusal| format!("{}: {}", refusal.index, refusal.message))?;
    Ok(document)
}

#[test]
fn does_what_rfc_6902_says() {
    let cases = [
        (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
        (json!({"a": 1}), json!([{"op": "add", "path": "/a", "value": 2}]), json!({"a": 2})),
        (json!({"l": [1, 3]}), json!([{"op": "add", "path": "/l/1", "value": 2}]), json!({"l": [1, 2, 3]})),
        (json!({"l": [1]}), json!([{"op": "add", "path": "/l/-", "value": 2}]), json!({"l": [1, 2]})),
        (json!({"l": [1, 2]}), json!([{"op": "replace", "path": "/l/0", "value": 3}]), json!({"l": [3, 2]})),
        (json!({"l": [1, 2]}), json!([{"op": "remove", "path": "/l/0"}]), json!({"l": [2]})),
        (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a/b", "path": "/c"}]), json!({"a": {}, "c": 1})),
        (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
        (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1.0}]), json!({"a": 1})),
        (json!({"a/b": 1, "~": 2}), json!([{"op": "remove", "path": "/a~1b"}]), json!({"~": 2})),
        (json!({"a/b": 1, "~": 2}), json!([{"op": "remove", "path": "/~0"}]), json!({"a/b": 1})),
        (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 2}}]), json!({"b": 2})),
    ];
    for (document, patches, wanted) in cases {
        assert_eq!(patched(document, patches.clone()), Ok(wanted), "{patches}");
    }
}

#[test]
fn forgives_what_is_not_there() {
    let cases = [
        (
            json!({}),
            json!([{"op": "replace", "path": "/cgroupDriver", "value": "cgroupfs"}]),
            json!({"cgroupDriver": "cgroupfs"}),
        ),
        (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}, {"op": "remove", "path": "/b/c/0"}]), json!({"a": 1})),
        (json!({"l": [1]}), json!([{"op": "remove", "path": "/l/7"}]), json!({"l": [1]})),
        (
            json!({}),
            json!([{"op": "add", "path": "/featureGates/A", "value": true}]),
            json!({"featureGates": {"A": true}}),
        ),
        (json!({}), json!([{"op": "replace", "path": "/a/b/c", "value": 1}]), json!({"a": {"b": {"c": 1}}})),
        (json!({}), json!([{"op": "add", "path": "/taints/-/key", "value": "k"}]), json!(null)),
        (json!({}), json!([{"op": "add", "path": "/taints/-", "value": "k"}]), json!({"taints": ["k"]})),
        (json!({}), json!([{"op": "add", "path": "/taints/0", "value": "k"}]), json!({"taints": ["k"]})),
        (json!({}), json!([{"op": "test", "path": "/a", "value": null}]), json!({})),
    ];
    for (document, patches, wanted) in cases {
        let result = patched(document, patches.clone());
        if wanted.is_null() {
            assert!(result.is_err(), "{patches}: {result:?}");
        } else {
            assert_eq!(result, Ok(wanted), "{patches}");
        }
    }
}

#[test]
fn counts_negative_indices_from_the_end() {
    let list = || json!({"l": [1, 2, 3]});
    let cases = [
        (json!([{"op": "remove", "path": "/l/-1"}]), json!({"l": [1, 2]})),
        (json!([{"op": "replace", "path": "/l/-3", "value": 0}]), json!({"l": [0, 2, 3]})),
        (json!([{"op": "add", "path": "/l/-1", "value": 4}]), json!({"l": [1, 2, 3, 4]})),
    ];
    for (patches, wanted) in cases {
        assert_eq!(patched(list(), patches.clone()), Ok(wanted), "{patches}");
    }
}

#[test]
fn leaves_out_what_becomes_null() {
    let document = json!({"a": 1, "b": {"c": 1}});
    let patches = json!([{"op": "replace", "path": "/a", "value": null}, {"op": "add", "path": "/b/c"}]);
    assert_eq!(patched(document, patches), Ok(json!({"b": {}})));
}

#[test]
fn says_which_patch_does_not_apply_and_why() {
    let document = || json!({"kind": "K", "apiVersion": "v1", "port": 10250, "list": [1], "text": "x"});
    let cases = [
        (json!({"op": "test", "path": "/port", "value": 1}), "the test of /port fails: 1 was wanted, 10250 is there"),
        (json!({"op": "move", "from": "/none", "path": "/a"}), "nothing at \"/none\" to move from"),
        (json!({"op": "copy", "path": "/list/0/a", "from": "/port"}), "neither object nor list"),
        (json!({"op": "copy", "from": "/none", "path": "/a"}), "nothing at \"/none\" to copy from"),
        (json!({"op": "move", "from": "/list", "path": "/list/0"}), "cannot move below itself"),
        (json!({"op": "add", "path": "port", "value": 1}), "\"port\" is not a JSON pointer; begin it with a slash"),
        (json!({"op": "add", "path": "/list/x", "value": 1}), "\"x\" is no index of a list; give a number"),
        (json!({"op": "add", "path": "/list/5", "value": 1}), "the list has 1 items, none can be put at 5"),
        (json!({"op": "replace", "path": "/list/5", "value": 1}), "the list has 1 items, none is at 5"),
        (json!({"op": "replace", "path": "/list/-5", "value": 1}), "the list has no item -5"),
        (json!({"op": "add", "path": "/text/a/b", "value": 1}), "neither object nor list"),
        (json!({"op": "merge", "path": "/a", "value": 1}), "\"merge\" is not one of add, remove, replace"),
        (json!({"op": "remove", "path": ""}), "the whole document cannot be removed"),
        (json!({"op": "remove", "path": "/kind"}), "loses its apiVersion or kind"),
        (json!({"op": "replace", "path": "", "value": []}), "loses its apiVersion or kind"),
    ];
    for (patch, sentence) in cases {
        let patches = json!([{"op": "add", "path": "/fine", "value": 1}, patch]);
        let refusal = patched(document(), patches).unwrap_err();
        assert!(refusal.starts_with("1: ") && refusal.contains(sentence), "{patch}: {refusal}");
    }
}

#[test]
fn names_the_patch_that_gives_a_field_what_no_node_can_read() {
    let kubelet = || json!({"kind": "KubeletConfiguration", "clusterDNS": ["10.96.0.10"]});
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let fine = [add("/maxPods", json!(50)), add("/of/a/later/minor", json!("x")), add("/clusterDNS/-", json!("::a"))];
    let wrong = [
        (add("/maxPods", json!("many")), "/maxPods becomes a text, where a node can only read a whole number"),
        (add("/clusterDNS/0", json!(10)), "/clusterDNS/0 becomes a number"),
        (add("/featureGates/A", json!("true")), "/featureGates/A becomes a text"),
        (add("/logging/-", json!(1)), "/logging becomes a list, where a node can only read an object"),
        (json!({"op": "copy", "from": "/clusterDNS", "path": "/staticPodPath"}), "/staticPodPath becomes a list"),
    ];
    for (patch, sentence) in wrong {
        for index in 0..=fine.len() {
            let mut patches = fine[..].to_vec();
            patches[0]["path"] = json!("/podsPerCore");
            patches.insert(index, patch.clone());
            let refusal = patched(kubelet(), patches.into()).unwrap_err();
            assert!(refusal.starts_with(&format!("{index}: ")) && refusal.contains(sentence), "{index}: {refusal}");
        }
        assert!(patched(json!({"kind": "Another", "clusterDNS": ["10.96.0.10"]}), json!([patch])).is_ok());
    }
    let corrected = json!([add("/maxPods", json!("many")), fine[0]]);
    assert_eq!(patched(kubelet(), corrected).unwrap()["maxPods"], 50);
}

#[test]
fn refuses_patches_that_grow_without_end() {
    let doubling: Vec<Value> =
        (0..200).map(|index| json!({"op": "copy", "from": "", "path": format!("/{index}")})).collect();
    assert!(patched(json!({"kind": "K"}), doubling.into()).is_err());
    let deep =
        |from: &str, to: &str| json!({"op": "move", "from": from, "path": format!("/{to}{}/x", "/y".repeat(50))});
    let nesting: Vec<Value> = (0..5_000).map(|index| deep(["/a", "/b"][index % 2], ["b", "a"][index % 2])).collect();
    assert!(patched(json!({"a": {}}), nesting.into()).unwrap_err().contains("nested more than the 64 levels"));
}

#[test]
fn a_refusal_names_the_field_the_object_and_the_way_out() {
    let refusal = Refusal { index: 2, message: "there is nothing at \"/a\" to move from".to_owned() };
    assert_eq!(
        refusal.trouble("spec.kubernetes.kubelet.configurationJSONPatches", "ConfigMap kube-system/kubelet-config"),
        Trouble::new(
            "JSONPatchFailed",
            "spec.kubernetes.kubelet.configurationJSONPatches[2]: there is nothing at \"/a\" to move from; correct or \
             remove this patch, the ConfigMap kube-system/kubelet-config stays as it is until then"
        )
    );
}
