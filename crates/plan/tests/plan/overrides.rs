//! kube-apiserver of a tenant that keeps some resources on other etcds.

use kamaji_plan::resolve::overrides::Override;

use crate::sample::{self, minimal, tenant};

fn arguments(overrides: Vec<Override>) -> Vec<String> {
    let mut resolved = sample::resolve(&tenant(&minimal()), None).unwrap();
    resolved.store.overrides = overrides;
    let deployment = sample::plan(&resolved, None).1.deployment;
    let containers = deployment.spec.unwrap().template.spec.unwrap().containers;
    let api_server = containers.into_iter().find(|container| container.name == "kube-apiserver").unwrap();
    api_server.args.unwrap()
}

fn entry(resource: &str, endpoints: &[&str]) -> Override {
    Override {
        resource: resource.to_owned(),
        store: "other".to_owned(),
        endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
    }
}

#[test]
fn overrides_are_one_flag_in_their_order_and_change_no_other() {
    let with = arguments(vec![entry("/events", &["a:2379", "b:2379"]), entry("apps/*", &["c:2379"])]);
    let flag = "--etcd-servers-overrides=/events#https://a:2379;https://b:2379,apps/*#https://c:2379";
    assert!(with.iter().any(|argument| argument == flag), "{with:?}");
    let without: Vec<String> = with.into_iter().filter(|argument| argument != flag).collect();
    assert_eq!(without, arguments(Vec::new()));
}
