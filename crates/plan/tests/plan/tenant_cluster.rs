//! What kubeadm would put into a tenant's cluster; the oracle's test compares it with the real one.

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    exposed::Exposed,
    tenant_cluster::{self, TenantCluster},
};
use serde_json::{Value, json};

use crate::{
    golden,
    planned::objects,
    sample::{self, full, minimal, tenant},
};

const CA: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn plan(spec: &Value) -> TenantCluster {
    let resolved = sample::resolve(&tenant(spec), None).unwrap();
    tenant_cluster::plan(&resolved, &sample::exposed(&resolved), KeyAlgorithm::EcdsaP256, CA)
}

fn find<'a>(cluster: &'a TenantCluster, name: &str) -> Option<&'a ConfigMap> {
    cluster.config_maps.iter().find(|config_map| config_map.metadata.name.as_deref() == Some(name))
}

/// The YAML document of a ConfigMap that has no other.
fn document(cluster: &TenantCluster, name: &str, key: &str) -> Value {
    let data = find(cluster, name).unwrap().data.clone().unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), [key]);
    serde_saphyr::from_str(&data[key]).unwrap()
}

fn kubelet(spec: &Value) -> Value {
    document(&plan(spec), "kubelet-config", "kubelet")
}

fn with_network(profile: Value) -> Value {
    let mut spec = minimal();
    spec["networkProfile"] = profile;
    spec
}

fn with_patches(patches: Value) -> Value {
    let mut spec = minimal();
    spec["kubernetes"]["kubelet"]["configurationJSONPatches"] = patches;
    spec
}

#[test]
fn config_maps_of_kubeadm() {
    let own = ["kubeadm-config", "kubelet-config", "cluster-info"];
    for (name, spec) in [("minimal", minimal()), ("full", full())] {
        let cluster = plan(&spec);
        let found: Vec<_> = own.iter().map(|name| find(&cluster, name).unwrap()).collect();
        insta::assert_yaml_snapshot!(format!("config_maps_of_kubeadm_of_a_{name}_tenant"), found);
        assert_eq!(cluster.troubles, []);
        assert_eq!(cluster.kept_config_maps, []);
    }
}

#[test]
fn every_object_carries_the_label_that_the_session_watches() {
    let objects = objects(&plan(&full()));
    assert!(objects.len() >= 17, "{}", objects.len());
    for object in objects {
        assert_eq!(object["metadata"]["labels"]["kamaji.clastix.io/project"], "kamaji", "{object}");
    }
}

#[test]
fn the_administrators_binding_is_created_and_then_left_to_them() {
    let cluster = plan(&minimal());
    let names = |list: &[k8s_openapi::api::rbac::v1::ClusterRoleBinding]| {
        list.iter().map(|binding| binding.metadata.name.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names(&cluster.created_once), ["kubeadm:cluster-admins"]);
    assert!(!names(&cluster.cluster_role_bindings).contains(&"kubeadm:cluster-admins".to_owned()));
}

#[test]
fn cluster_info_names_the_public_endpoint_and_the_authority() {
    let resolved = sample::resolve(&tenant(&full()), None).unwrap();
    let exposed = Exposed::new(&resolved, "192.0.2.10".parse().unwrap());
    let cluster = tenant_cluster::plan(&resolved, &exposed, KeyAlgorithm::EcdsaP256, CA);
    let kubeconfig = document(&cluster, "cluster-info", "kubeconfig");
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    assert_eq!(cluster["server"], "https://one.example.com:8443");
    assert_eq!(
        cluster["certificate-authority-data"].as_str().unwrap(),
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
    );
}

#[test]
fn kubeadm_config_has_the_tenants_algorithm_and_a_version_with_its_v() {
    let mut spec = minimal();
    spec["kubernetes"]["version"] = json!("1.36.3");
    let resolved = sample::resolve(&tenant(&spec), None).unwrap();
    let cluster = tenant_cluster::plan(&resolved, &sample::exposed(&resolved), KeyAlgorithm::Rsa3072, CA);
    let configuration = document(&cluster, "kubeadm-config", "ClusterConfiguration");
    assert_eq!(configuration["encryptionAlgorithm"], "RSA-3072");
    assert_eq!(configuration["kubernetesVersion"], "v1.36.3");
}

#[test]
fn texts_that_yaml_takes_for_something_else_stay_texts() {
    let text = |domain: &str| {
        let cluster = plan(&with_network(json!({"clusterDomain": domain, "serviceCidr": "10.96.0.0/16"})));
        find(&cluster, "kubelet-config").unwrap().data.clone().unwrap()["kubelet"].clone()
    };
    for domain in ["no", "y", "on", "null", "0x10", "1e3", "010", "12"] {
        let text = text(domain);
        let quoted = [format!("clusterDomain: \"{domain}\"\n"), format!("clusterDomain: '{domain}'\n")];
        assert!(quoted.iter().any(|line| text.contains(line)), "{text}");
    }
}

#[test]
fn kubelets_ask_the_tenth_service_address_unless_the_user_names_others() {
    let dns = |profile: Value| kubelet(&with_network(profile))["clusterDNS"].clone();
    assert_eq!(dns(json!({"serviceCidr": "10.112.3.4/16"})), json!(["10.112.0.10"]));
    assert_eq!(dns(json!({"serviceCidrs": ["fd00:10:96::/112", "10.96.0.0/16"]})), json!(["fd00:10:96::a"]));
    assert_eq!(dns(json!({"serviceCidr": ""})), json!(["10.0.0.10"]));
    let listed = json!({"serviceCidr": "10.96.0.0/16", "dnsServiceIPs": ["10.96.0.53", "10.96.0.10", "10.96.0.53"]});
    assert_eq!(dns(listed), json!(["10.96.0.53", "10.96.0.10"]));
    // The range has no tenth address.
    assert_eq!(dns(json!({"serviceCidr": "10.96.0.0/30"})), json!([]));
}

#[test]
fn a_dns_address_that_cannot_be_a_service_is_told_and_left_out() {
    for (listed, used, sentence) in [
        (json!(["dns"]), json!(["10.96.0.10"]), "spec.networkProfile.dnsServiceIPs[0]: \"dns\" is not an IP address"),
        (json!(["10.97.0.10"]), json!(["10.96.0.10"]), "[0]: 10.97.0.10 lies in no service range"),
        (json!(["10.96.0.53", "::1"]), json!(["10.96.0.53"]), "spec.networkProfile.dnsServiceIPs[1]: ::1 lies in no"),
    ] {
        let cluster = plan(&with_network(json!({"serviceCidr": "10.96.0.0/16", "dnsServiceIPs": listed})));
        assert_eq!(document(&cluster, "kubelet-config", "kubelet")["clusterDNS"], used);
        assert_eq!(cluster.troubles.len(), 1);
        assert_eq!(cluster.troubles[0].reason, "InvalidDNSServiceIP");
        assert!(cluster.troubles[0].message.contains(sentence), "{}", cluster.troubles[0].message);
    }
}

#[test]
fn the_cgroup_driver_is_kubeadms_unless_the_user_names_the_other() {
    assert_eq!(kubelet(&minimal())["cgroupDriver"], "systemd");
    let mut spec = minimal();
    spec["kubernetes"]["kubelet"]["cgroupfs"] = json!("cgroupfs");
    assert_eq!(kubelet(&spec)["cgroupDriver"], "cgroupfs");
}

#[test]
fn patches_change_the_kubelets_configuration() {
    let patches = json!([
        {"op": "add", "path": "/featureGates/KubeletCrashLoopBackOffMax", "value": false},
        {"op": "replace", "path": "/cgroupDriver", "value": "cgroupfs"},
        {"op": "remove", "path": "/memorySwap"},
    ]);
    let kubelet = kubelet(&with_patches(patches));
    assert_eq!(kubelet["featureGates"], json!({"KubeletCrashLoopBackOffMax": false}));
    assert_eq!(kubelet["cgroupDriver"], "cgroupfs");
    assert_eq!(kubelet.get("memorySwap"), None);
}

#[test]
fn a_patch_that_does_not_apply_keeps_the_config_map_and_stops_nothing_else() {
    let fine = plan(&minimal());
    let cluster = plan(&with_patches(json!([
        {"op": "replace", "path": "/maxPods", "value": 10},
        {"op": "test", "path": "/maxPods", "value": 11},
    ])));
    assert!(find(&cluster, "kubelet-config").is_none());
    assert_eq!(cluster.kept_config_maps, [("kube-system".to_owned(), "kubelet-config".to_owned())]);
    let [trouble] = &cluster.troubles[..] else { panic!("{:?}", cluster.troubles) };
    assert_eq!(trouble.reason, "JSONPatchFailed");
    let start = "spec.kubernetes.kubelet.configurationJSONPatches[1]: the test of /maxPods fails";
    assert!(trouble.message.starts_with(start), "{}", trouble.message);
    assert_eq!(cluster.config_maps.len() + 1, fine.config_maps.len());
    assert_eq!(cluster.roles, fine.roles);
}

#[test]
fn plans_the_kubeadm_objects_that_captured_tenants_have_where_those_are_present() {
    if golden::golden().is_none() {
        return;
    }
    for name in ["etcd-basic", "etcd-full"] {
        let captured = golden::captured(name);
        let resolved = captured.resolved();
        let theirs = golden::objects(&format!("{name}/tenant.yaml"));
        let id = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        let their = |object: &Value| theirs.iter().find(|theirs| id(theirs) == id(object)).unwrap().clone();
        let document = |object: &Value, key: &str| -> Value {
            serde_saphyr::from_str(object["data"][key].as_str().unwrap()).unwrap()
        };
        let info = document(&their(&json!({"kind": "ConfigMap", "metadata": {"name": "cluster-info"}})), "kubeconfig");
        let encoded = info["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
        let ca = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
        let cluster = tenant_cluster::plan(&resolved, &captured.exposed(&resolved), KeyAlgorithm::Rsa2048, &ca);
        let kubeadms = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            (name.starts_with("kubeadm:") && name != "kubeadm:node-proxier")
                || name == "cluster-info"
                || name == "kubeadm-config"
        };
        let ours: Vec<Value> = objects(&cluster).into_iter().filter(kubeadms).collect();
        assert_eq!(theirs.iter().filter(|object| kubeadms(object)).count(), ours.len());
        for mut ours in ours {
            let mut theirs = their(&ours);
            for key in ["ClusterConfiguration", "kubeconfig"] {
                for object in [&mut ours, &mut theirs] {
                    if object["data"].get(key).is_some() {
                        let read = document(object, key);
                        object["data"][key] = read;
                    }
                }
            }
            for field in ["data", "rules", "roleRef", "subjects"] {
                assert_eq!(ours.get(field), theirs.get(field), "{name}: {} {field}", id(&theirs));
            }
        }
    }
}
