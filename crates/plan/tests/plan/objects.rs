//! The objects of a small tenant and of one with every field set, in both template revisions.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::crd;
use kamaji_plan::{
    resolve::{DEFAULT_ADMISSION_PLUGINS, DEFAULT_PORT, DEFAULT_REPLICAS},
    status::{self, Findings, conditions::Outcome},
    stored::Stored,
    template::TemplateRevision,
};
use serde_json::{Value, json};

use crate::sample::{self, full, minimal, plan, resolve, tenant};

/// As the Go operator leaves it: without our annotation.
fn go_operators() -> Deployment {
    Deployment::default()
}

fn deployment(spec: &Value, live: Option<&Deployment>) -> Deployment {
    let resolved = resolve(&tenant(spec), live).unwrap();
    plan(&resolved, live).1.deployment
}

#[test]
fn deployment_of_a_minimal_tenant_in_r1() {
    insta::assert_yaml_snapshot!(deployment(&minimal(), None));
}

#[test]
fn deployment_of_a_minimal_tenant_in_upstream2026() {
    insta::assert_yaml_snapshot!(deployment(&minimal(), Some(&go_operators())));
}

#[test]
fn deployment_of_a_full_tenant_in_r1() {
    insta::assert_yaml_snapshot!(deployment(&full(), None));
}

#[test]
fn deployment_of_a_full_tenant_in_upstream2026() {
    insta::assert_yaml_snapshot!(deployment(&full(), Some(&go_operators())));
}

#[test]
fn service_of_each_type() {
    for kind in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let mut spec = full();
        spec["controlPlane"]["service"]["serviceType"] = json!(kind);
        let resolved = resolve(&tenant(&spec), None).unwrap();
        insta::assert_yaml_snapshot!(format!("service_{kind}"), plan(&resolved, None).0);
    }
}

#[test]
fn config_maps_of_a_full_tenant() {
    let resolved = resolve(&tenant(&full()), None).unwrap();
    insta::assert_yaml_snapshot!(plan(&resolved, None).1.config_maps);
}

#[test]
fn config_maps_of_a_minimal_tenant() {
    let resolved = resolve(&tenant(&minimal()), None).unwrap();
    insta::assert_yaml_snapshot!(plan(&resolved, None).1.config_maps);
}

#[test]
fn the_plan_follows_itself() {
    for spec in [minimal(), full()] {
        for start in [None, Some(go_operators())] {
            let first = deployment(&spec, start.as_ref());
            assert_eq!(deployment(&spec, Some(&first)), first);
        }
    }
}

#[test]
fn the_order_of_a_running_template_is_kept() {
    let mut live = deployment(&full(), None);
    let pod = live.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers.reverse();
    pod.volumes.as_mut().unwrap().reverse();
    for container in &mut pod.containers {
        if let Some(mounts) = container.volume_mounts.as_mut() {
            mounts.reverse();
        }
    }
    assert_eq!(deployment(&full(), Some(&live)), live);
}

#[test]
fn a_running_tenant_keeps_its_issuer_when_the_cluster_domain_is_another() {
    let live = deployment(&minimal(), None);
    let mut spec = minimal();
    spec["networkProfile"] = json!({"clusterDomain": "tenant.local"});
    let issuer = |deployment: &Deployment| {
        let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
        let all = pod.containers.into_iter().flat_map(|container| container.args.unwrap_or_default());
        all.filter(|argument| argument.starts_with("--service-account-issuer=")).collect::<Vec<_>>()
    };
    assert_eq!(
        issuer(&deployment(&spec, None)),
        ["--service-account-issuer=https://kubernetes.default.svc.tenant.local"]
    );
    assert_eq!(issuer(&deployment(&spec, Some(&live))), issuer(&live));
}

#[test]
fn a_sleeping_tenant_has_no_replicas_and_the_same_template() {
    let mut spec = minimal();
    let awake = deployment(&spec, None);
    spec["controlPlane"]["deployment"] = json!({"replicas": 0});
    let asleep = deployment(&spec, Some(&awake));
    assert_eq!(asleep.spec.as_ref().unwrap().replicas, Some(0));
    assert_eq!(asleep.spec.unwrap().template, awake.spec.unwrap().template);
}

#[test]
fn only_r1_carries_the_mark_of_its_revision() {
    let mark = |deployment: &Deployment| {
        let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
        annotations.get("kamaji.clastix.io/template-revision").cloned()
    };
    assert_eq!(mark(&deployment(&minimal(), None)).as_deref(), Some(TemplateRevision::R1.as_str()));
    assert_eq!(mark(&deployment(&minimal(), Some(&go_operators()))), None);
}

#[test]
fn a_users_label_does_not_hide_an_object_from_the_operator() {
    let mut spec = minimal();
    let own = json!({"labels": {"kamaji.clastix.io/project": "mine", "team": "a"}});
    spec["controlPlane"]["deployment"] = json!({"additionalMetadata": own});
    spec["controlPlane"]["service"]["additionalMetadata"] = own;
    let resolved = resolve(&tenant(&spec), None).unwrap();
    let (service, plan) = plan(&resolved, None);
    for labels in [service.metadata.labels.unwrap(), plan.deployment.metadata.labels.unwrap()] {
        assert_eq!(labels["kamaji.clastix.io/project"], "kamaji");
        assert_eq!(labels["team"], "a");
    }
}

#[test]
fn defaults_are_those_of_the_crd() {
    let crds = crd::all().unwrap();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "TenantControlPlane").unwrap();
    let crd = serde_json::to_value(crd).unwrap();
    let default = |path: &str| {
        let mut node = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in path.split('.') {
            node = &node["properties"][part];
        }
        node["default"].clone()
    };
    assert_eq!(default("spec.kubernetes.admissionControllers"), json!(DEFAULT_ADMISSION_PLUGINS));
    assert_eq!(default("spec.controlPlane.deployment.replicas"), json!(DEFAULT_REPLICAS));
    assert_eq!(default("spec.networkProfile.port"), json!(DEFAULT_PORT));
    let resolved = resolve(&tenant(&minimal()), None).unwrap();
    assert_eq!(default("spec.kubernetes.kubelet.preferredAddressTypes"), json!(resolved.preferred_address_types));
    assert_eq!(default("spec.networkProfile.clusterDomain"), json!(resolved.network.cluster_domain));
    assert_eq!(json!([default("spec.networkProfile.serviceCidr")]), json!(resolved.network.service_cidrs));
    assert_eq!(json!([default("spec.networkProfile.podCidr")]), json!(resolved.network.pod_cidrs));
}

#[test]
fn endpoints_name_the_public_host_first_then_the_advertised_address() {
    let exposed = |change: &dyn Fn(&mut Value)| {
        let mut spec = minimal();
        change(&mut spec);
        let exposed = sample::exposed(&resolve(&tenant(&spec), None).unwrap());
        (exposed.endpoint, exposed.public_endpoint)
    };
    let own = "10.96.7.7:6443".to_owned();
    assert_eq!(exposed(&|_| {}), (own.clone(), own.clone()));
    let advertised = |spec: &mut Value| spec["networkProfile"] = json!({"advertiseAddress": "2001:db8::1"});
    assert_eq!(exposed(&advertised), (own.clone(), "[2001:db8::1]:6443".to_owned()));
    let ingress = |spec: &mut Value| {
        advertised(spec);
        spec["controlPlane"]["ingress"] = json!({"hostname": "one.example.com:8443"});
    };
    assert_eq!(exposed(&ingress), (own.clone(), "one.example.com:8443".to_owned()));
    let gateway = |spec: &mut Value| spec["controlPlane"]["gateway"] = json!({"hostname": "one.example.com"});
    assert_eq!(exposed(&gateway), (own, "one.example.com:6443".to_owned()));
}

#[test]
fn a_place_on_the_datastore_is_reported_once_it_was_seen_there() {
    let mut tenant = kamaji_api::TenantControlPlane::clone(&tenant(&minimal()));
    let mut report = |set_up: bool, config_checksum: &str| {
        let resolved = resolve(&std::sync::Arc::new(tenant.clone()), None).unwrap();
        let stored = Stored { set_up, config_checksum: config_checksum.to_owned(), ..crate::sample::stored(&resolved) };
        let findings = Findings { resolved: Some(&resolved), stored: Some(&stored), ..Findings::default() };
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let status = status::status(&tenant, &findings, &Outcome::Done, now);
        let setup = status.storage.setup.clone();
        tenant.status = Some(status);
        (setup.schema.is_some(), setup.checksum)
    };
    assert_eq!(report(false, "a"), (false, None));
    assert_eq!(report(true, "a"), (true, Some("a".to_owned())));
    assert_eq!(report(false, "b"), (true, Some("b".to_owned())), "what was reported once is kept up");
}
