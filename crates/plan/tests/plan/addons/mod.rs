//! CoreDNS, kube-proxy and the konnectivity agent in a tenant's cluster.

mod captured;

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, PodTemplateSpec, Service},
};
use kamaji_api::{TenantControlPlane, contract::annotations};
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::tenant_cluster::{self, TenantCluster};
use serde_json::{Value, json};

use crate::{
    planned::objects,
    sample::{self, minimal, tenant},
};

/// `spec` with `addons`.
fn with(addons: Value) -> Value {
    let mut spec = minimal();
    spec["addons"] = addons;
    spec
}

fn plan(spec: &Value) -> TenantCluster {
    plan_of(&tenant(spec), None)
}

fn plan_of(tenant: &std::sync::Arc<TenantControlPlane>, live: Option<&Deployment>) -> TenantCluster {
    let resolved = sample::resolve(tenant, live).unwrap();
    tenant_cluster::plan(&resolved, &sample::exposed(&resolved), KeyAlgorithm::EcdsaP256, b"")
}

/// The plan of a tenant that the Go operator made.
fn plan_of_a_takeover(spec: &Value) -> TenantCluster {
    plan_of(&tenant(spec), Some(&Deployment::default()))
}

/// What the addons add to a tenant without any, as JSON.
fn added(cluster: &TenantCluster) -> Vec<Value> {
    let bare: Vec<_> = objects(&plan(&minimal())).into_iter().map(|object| id(&object)).collect();
    objects(cluster).into_iter().filter(|object| !bare.contains(&id(object))).collect()
}

/// Kind, namespace and name.
fn id(object: &Value) -> String {
    let part = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let metadata = &object["metadata"];
    format!("{} {}/{}", part(&object["kind"]), part(&metadata["namespace"]), part(&metadata["name"]))
}

fn ids(cluster: &TenantCluster) -> Vec<String> {
    let mut all: Vec<_> = added(cluster).iter().map(id).collect();
    all.sort();
    all
}

fn deployment<'a>(cluster: &'a TenantCluster, name: &str) -> Option<&'a Deployment> {
    cluster.deployments.iter().find(|found| found.metadata.name.as_deref() == Some(name))
}

fn daemon_set<'a>(cluster: &'a TenantCluster, name: &str) -> Option<&'a DaemonSet> {
    cluster.daemon_sets.iter().find(|found| found.metadata.name.as_deref() == Some(name))
}

fn kube_dns(cluster: &TenantCluster) -> Service {
    let [service] = &cluster.services[..] else { panic!("{:?}", cluster.services) };
    service.clone()
}

fn kube_proxy_config_map(cluster: &TenantCluster) -> Option<&ConfigMap> {
    cluster.config_maps.iter().find(|found| found.metadata.name.as_deref() == Some("kube-proxy"))
}

/// The document `config.conf`.
fn kube_proxy(cluster: &TenantCluster) -> Value {
    let data = kube_proxy_config_map(cluster).unwrap().data.clone().unwrap();
    serde_saphyr::from_str(&data["config.conf"]).unwrap()
}

/// The checksum whose change rolls kube-proxy.
fn rolled_by(cluster: &TenantCluster) -> Option<String> {
    let template = daemon_set(cluster, "kube-proxy").unwrap().spec.clone().unwrap().template;
    template.metadata.unwrap().annotations?.get(annotations::KUBE_PROXY_CONFIG).cloned()
}

fn corefile(cluster: &TenantCluster) -> String {
    let mut config_maps = cluster.config_maps.iter();
    let found = config_maps.find(|found| found.metadata.name.as_deref() == Some("coredns")).unwrap();
    found.data.as_ref().unwrap()["Corefile"].clone()
}

fn agent_template(cluster: &TenantCluster) -> PodTemplateSpec {
    match (daemon_set(cluster, "konnectivity-agent"), deployment(cluster, "konnectivity-agent")) {
        (Some(found), None) => found.spec.clone().unwrap().template,
        (None, Some(found)) => found.spec.clone().unwrap().template,
        other => panic!("{other:?}"),
    }
}

fn agent_arguments(cluster: &TenantCluster) -> Vec<String> {
    agent_template(cluster).spec.unwrap().containers.remove(0).args.unwrap()
}

fn every_addon() -> Value {
    with(json!({"coreDNS": {}, "kubeProxy": {}, "konnectivity": {}}))
}

const CORE_DNS: [&str; 6] = [
    "ClusterRole /system:coredns",
    "ClusterRoleBinding /system:coredns",
    "ConfigMap kube-system/coredns",
    "Deployment kube-system/coredns",
    "Service kube-system/kube-dns",
    "ServiceAccount kube-system/coredns",
];
const KUBE_PROXY: [&str; 6] = [
    "ClusterRoleBinding /kubeadm:node-proxier",
    "ConfigMap kube-system/kube-proxy",
    "DaemonSet kube-system/kube-proxy",
    "Role kube-system/kube-proxy",
    "RoleBinding kube-system/kube-proxy",
    "ServiceAccount kube-system/kube-proxy",
];
const KONNECTIVITY: [&str; 7] = [
    "ClusterRoleBinding /system:konnectivity-server",
    "DaemonSet kube-system/konnectivity-agent",
    "Role kube-system/system:konnectivity-agent",
    "Role kube-system/system:konnectivity-server",
    "RoleBinding kube-system/system:konnectivity-agent",
    "RoleBinding kube-system/system:konnectivity-server",
    "ServiceAccount kube-system/konnectivity-agent",
];

#[test]
fn an_addon_that_is_absent_has_no_object() {
    assert_eq!(ids(&plan(&minimal())), [""; 0]);
    assert_eq!(ids(&plan(&with(json!({})))), [""; 0]);
    assert_eq!(ids(&plan(&with(json!({"coreDNS": {}})))), CORE_DNS);
    assert_eq!(ids(&plan(&with(json!({"kubeProxy": {}})))), KUBE_PROXY);
    assert_eq!(ids(&plan(&with(json!({"konnectivity": {}})))), KONNECTIVITY);
}

fn of_minor(minor: u32) -> TenantCluster {
    let mut spec = every_addon();
    spec["kubernetes"]["version"] = json!(format!("v1.{minor}.0"));
    plan(&spec)
}

#[test]
fn addons_of_a_tenant() {
    let cluster = of_minor(36);
    assert_eq!(cluster.troubles, []);
    insta::assert_yaml_snapshot!(added(&cluster));
}

#[test]
fn core_dns_and_kube_proxy_differ_from_minor_to_minor_as_kubeadms_do() {
    for (minor, tag, bypasses_cache, names_probe_ports, mode) in [
        (31, "v1.11.3", false, false, ""),
        (32, "v1.11.3", true, false, ""),
        (33, "v1.12.0", true, false, ""),
        (34, "v1.12.1", true, true, ""),
        (35, "v1.13.1", true, true, ""),
        (36, "v1.14.2", true, true, ""),
        (37, "v1.14.6", true, true, "iptables"),
    ] {
        let cluster = of_minor(minor);
        let pod = deployment(&cluster, "coredns").unwrap().spec.clone().unwrap().template.spec.unwrap();
        let container = json!(pod.containers[0]);
        assert_eq!(container["image"], format!("registry.k8s.io/coredns/coredns:{tag}"));
        assert_eq!(corefile(&cluster).contains("disable denial cluster.local"), bypasses_cache, "{minor}");
        let probes = ["livenessProbe", "readinessProbe"].map(|probe| container[probe]["httpGet"]["port"].clone());
        let ports = container["ports"].as_array().unwrap().len();
        if names_probe_ports {
            assert_eq!((probes, ports), ([json!("liveness-probe"), json!("readiness-probe")], 5));
        } else {
            assert_eq!((probes, ports), ([json!(8080), json!(8181)], 3));
        }
        assert_eq!(kube_proxy(&cluster)["mode"], mode, "{minor}");
        let image = &json!(daemon_set(&cluster, "kube-proxy"))["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(*image, format!("registry.k8s.io/kube-proxy:v1.{minor}.0"));
    }
}

#[test]
fn core_dns_answers_for_the_cluster_domain() {
    let mut spec = every_addon();
    spec["networkProfile"] = json!({"clusterDomain": "tenant.local"});
    let text = corefile(&plan(&spec));
    assert!(text.contains("kubernetes tenant.local in-addr.arpa ip6.arpa {"), "{text}");
    assert!(text.contains("disable denial tenant.local"), "{text}");
    assert!(!text.contains("cluster.local"), "{text}");
}

#[test]
fn kube_dns_has_the_tenth_service_address_and_of_the_other_family_what_nodes_are_told() {
    let addresses = |profile: Value| {
        let mut spec = every_addon();
        spec["networkProfile"] = profile;
        let cluster = plan(&spec);
        let service = kube_dns(&cluster).spec.unwrap();
        assert_eq!(service.cluster_ip, service.cluster_ips.clone().and_then(|all| all.first().cloned()));
        let troubles: Vec<_> = cluster.troubles.iter().map(|trouble| trouble.reason).collect();
        (json!([service.cluster_ips, service.ip_families, service.ip_family_policy]), troubles)
    };
    let single = |address: &str, family: &str| json!([[address], [family], "SingleStack"]);
    for profile in [
        json!({"serviceCidr": "10.112.0.0/16"}),
        json!({"serviceCidr": "10.112.0.0/16", "dnsServiceIPs": ["10.112.0.10"]}),
        json!({"serviceCidr": "10.112.0.0/16", "dnsServiceIPs": ["10.112.0.53", "10.112.0.10"]}),
        json!({"serviceCidrs": ["10.112.0.0/16", "fd00::/112"], "dnsServiceIPs": ["10.112.0.10"]}),
    ] {
        assert_eq!(addresses(profile), (single("10.112.0.10", "IPv4"), vec![]));
    }
    assert_eq!(addresses(json!({"serviceCidr": "fd00::/112"})), (single("fd00::a", "IPv6"), vec![]));
    // A Service cannot have two addresses of a family, nor the second family first.
    let both = json!([["10.112.0.10", "fd00::a"], ["IPv4", "IPv6"], "PreferDualStack"]);
    for listed in [
        json!(["10.112.0.10", "fd00::a"]),
        json!(["fd00::a", "10.112.0.10"]),
        json!(["10.112.0.10", "10.112.0.53", "fd00::a", "fd00::b"]),
    ] {
        let profile = json!({"serviceCidrs": ["10.112.0.0/16", "fd00::/112"], "dnsServiceIPs": listed});
        assert_eq!(addresses(profile), (both.clone(), vec![]));
    }
    // The range has no tenth address.
    let small = |listed: Value| addresses(json!({"serviceCidr": "10.112.0.0/29", "dnsServiceIPs": listed}));
    assert_eq!(small(json!(["10.112.0.5"])), (single("10.112.0.5", "IPv4"), vec![]));
    assert_eq!(small(json!([])), (json!([null, null, null]), vec!["NoDNSServiceIP"]));
}

#[test]
fn nodes_that_ask_where_core_dns_is_not_are_told_of() {
    let mut spec = every_addon();
    spec["networkProfile"] = json!({"serviceCidr": "10.96.0.0/16", "dnsServiceIPs": ["10.96.0.53"]});
    let cluster = plan(&spec);
    let [trouble] = &cluster.troubles[..] else { panic!("{:?}", cluster.troubles) };
    assert_eq!(trouble.reason, "UnservedDNSServiceIP");
    assert!(trouble.message.starts_with("spec.networkProfile.dnsServiceIPs: nodes ask 10.96.0.53"), "{trouble:?}");
    assert_eq!(ids(&cluster), ids(&plan(&every_addon())));
    // Without the addon, it is not ours to say who answers.
    spec["addons"] = json!({});
    assert_eq!(plan(&spec).troubles, []);
}

#[test]
fn kube_proxy_knows_the_pods_ranges_and_the_services_family() {
    let config = |profile: Value| {
        let mut spec = every_addon();
        spec["networkProfile"] = profile;
        let config = kube_proxy(&plan(&spec));
        (config["clusterCIDR"].clone(), config["bindAddress"].clone())
    };
    assert_eq!(config(json!({"podCidr": "10.113.0.0/16"})), (json!("10.113.0.0/16"), json!("0.0.0.0")));
    let dual = json!({"podCidrs": ["fd00:1::/56", "10.113.0.0/16"], "serviceCidrs": ["fd00::/112", "10.112.0.0/16"]});
    assert_eq!(config(dual), (json!("fd00:1::/56,10.113.0.0/16"), json!("::")));
    assert_eq!(config(json!({"podCidr": ""})), (json!(""), json!("0.0.0.0")));
}

#[test]
fn kube_proxy_dials_the_public_endpoint() {
    let mut spec = every_addon();
    spec["controlPlane"]["ingress"] = json!({"hostname": "one.example.com:443"});
    let data = kube_proxy_config_map(&plan(&spec)).unwrap().data.clone().unwrap();
    let kubeconfig: Value = serde_saphyr::from_str(&data["kubeconfig.conf"]).unwrap();
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], "https://one.example.com:443");
}

fn patched(patches: &Value) -> Value {
    with(json!({"kubeProxy": {"configurationJSONPatches": patches}}))
}

#[test]
fn patches_change_kube_proxys_configuration_and_roll_it() {
    let patches = json!([
        {"op": "replace", "path": "/conntrack/maxPerCore", "value": 0},
        {"op": "add", "path": "/featureGates/Some", "value": true},
        {"op": "replace", "path": "/mode", "value": "nftables"},
    ]);
    let (before, after) = (plan(&patched(&json!([]))), plan(&patched(&patches)));
    let config = kube_proxy(&after);
    assert_eq!(config["conntrack"]["maxPerCore"], 0);
    assert_eq!(config["featureGates"], json!({"Some": true}));
    assert_eq!(config["mode"], "nftables");
    assert!(rolled_by(&before).is_some() && rolled_by(&after).is_some());
    assert_ne!(rolled_by(&before), rolled_by(&after));
    assert_eq!(rolled_by(&after), rolled_by(&plan(&patched(&patches))));
}

#[test]
fn patches_come_from_the_annotation_where_a_client_dropped_the_field() {
    let patches = json!([{"op": "replace", "path": "/mode", "value": "nftables"}]);
    let mut tenant = tenant(&with(json!({"kubeProxy": {}})));
    let annotations = [(annotations::KUBE_PROXY_PATCHES.to_owned(), patches.to_string())].into();
    std::sync::Arc::make_mut(&mut tenant).metadata.annotations = Some(annotations);
    assert_eq!(kube_proxy(&plan_of(&tenant, None)), kube_proxy(&plan(&patched(&patches))));
}

#[test]
fn patches_that_cannot_be_used_keep_the_configuration_and_nothing_else() {
    let fine = plan(&patched(&json!([])));
    let bad = plan(&patched(&json!([{"op": "test", "path": "/mode", "value": "ipvs"}])));
    let mut annotated = tenant(&with(json!({"kubeProxy": {}})));
    let annotations = [(annotations::KUBE_PROXY_PATCHES.to_owned(), "mode: ipvs".to_owned())].into();
    std::sync::Arc::make_mut(&mut annotated).metadata.annotations = Some(annotations);
    for cluster in [bad, plan_of(&annotated, None)] {
        assert!(kube_proxy_config_map(&cluster).is_none());
        assert_eq!(cluster.kept_config_maps, [("kube-system".to_owned(), "kube-proxy".to_owned())]);
        let [trouble] = &cluster.troubles[..] else { panic!("{:?}", cluster.troubles) };
        assert_eq!(trouble.reason, "JSONPatchFailed");
        assert!(trouble.message.starts_with("spec.addons.kubeProxy.configurationJSONPatches"), "{trouble:?}");
        let without_config_map: Vec<_> =
            ids(&fine).into_iter().filter(|id| id != "ConfigMap kube-system/kube-proxy").collect();
        assert_eq!(ids(&cluster), without_config_map);
    }
}

#[test]
fn a_takeover_leaves_kube_proxy_and_the_agent_as_they_run() {
    let cluster = plan_of_a_takeover(&every_addon());
    let config = kube_proxy(&cluster);
    assert_eq!((&config["clusterCIDR"], &config["mode"]), (&json!(""), &json!("")));
    assert_eq!(rolled_by(&cluster), None);
    assert_eq!(agent_template(&cluster).spec.unwrap().containers[0].security_context, None);
    assert!(!ids(&cluster).iter().any(|id| id.starts_with("Role kube-system/system:konnectivity")));
    // Patches are the owner's wish.
    let patched = plan_of_a_takeover(&patched(&json!([{"op": "replace", "path": "/mode", "value": "nftables"}])));
    assert_eq!(kube_proxy(&patched)["clusterCIDR"], "");
    assert!(rolled_by(&patched).is_some());
}

fn agent(agent: &Value) -> TenantCluster {
    plan(&with(json!({"konnectivity": {"agent": agent}})))
}

#[test]
fn the_agent_is_a_daemon_set_or_a_deployment_never_both() {
    let of_nodes = agent(&json!({}));
    assert!(daemon_set(&of_nodes, "konnectivity-agent").is_some());
    assert!(deployment(&of_nodes, "konnectivity-agent").is_none());
    for replicas in [None, Some(3)] {
        let some = agent(&json!({"mode": "Deployment", "replicas": replicas}));
        assert!(daemon_set(&some, "konnectivity-agent").is_none());
        let deployment = deployment(&some, "konnectivity-agent").unwrap();
        assert_eq!(deployment.spec.as_ref().unwrap().replicas, replicas);
        assert_eq!(some.troubles, []);
    }
}

#[test]
fn an_agent_mode_with_impossible_replicas_is_told_of_and_agents_run() {
    for (fields, names, runs) in [
        (json!({"mode": "DaemonSet", "replicas": 3}), "agent.replicas: a DaemonSet", "DaemonSet"),
        (json!({"mode": "Deployment", "replicas": 0}), "agent.replicas: with 0 agents", "Deployment"),
        (json!({"mode": "Deployment", "replicas": -1}), "agent.replicas: with -1 agents", "Deployment"),
        (json!({"mode": "Sidecar"}), "agent.mode: \"Sidecar\"", "DaemonSet"),
    ] {
        let cluster = agent(&fields);
        let [trouble] = &cluster.troubles[..] else { panic!("{:?}", cluster.troubles) };
        assert_eq!(trouble.reason, "InvalidKonnectivityAgent");
        assert!(trouble.message.contains(names), "{trouble:?}");
        assert!(ids(&cluster).contains(&format!("{runs} kube-system/konnectivity-agent")), "{:?}", ids(&cluster));
        let replicas = deployment(&cluster, "konnectivity-agent").map(|found| found.spec.as_ref().unwrap().replicas);
        assert!(replicas.is_none_or(|replicas| replicas == Some(1)));
    }
}

#[test]
fn every_field_of_the_agent_shows_in_its_pods() {
    let cluster = agent(&json!({
        "image": "mirror.example/proxy-agent", "version": "v0.33.1", "hostNetwork": true,
        "tolerations": [{"operator": "Exists"}],
        "extraArgs": ["--v=2", "--proxy-server-port=443", "--sync-forever"],
    }));
    let pod = agent_template(&cluster).spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("mirror.example/proxy-agent:v0.33.1"));
    assert_eq!(pod.host_network, Some(true));
    assert_eq!(json!(pod.tolerations), json!([{"operator": "Exists"}]));
    let arguments = agent_arguments(&cluster);
    for own in ["--v=2", "--proxy-server-port=443", "--sync-forever"] {
        assert_eq!(arguments.iter().filter(|argument| *argument == own).count(), 1, "{arguments:?}");
    }
    for default in ["-v=8", "--proxy-server-port=8132"] {
        assert!(!arguments.contains(&default.to_owned()), "{arguments:?}");
    }
    let none = agent(&json!({"tolerations": []}));
    assert_eq!(agent_template(&none).spec.unwrap().tolerations, None);
}

#[test]
fn agents_dial_the_gateway_else_the_advertised_address_else_the_service_and_never_an_ingress() {
    let host = |change: &dyn Fn(&mut Value)| {
        let mut spec = with(json!({"konnectivity": {"server": {"port": 9132}}}));
        change(&mut spec);
        let arguments = agent_arguments(&plan(&spec));
        assert!(arguments.contains(&"--proxy-server-port=9132".to_owned()), "{arguments:?}");
        let host = arguments.iter().find_map(|argument| argument.strip_prefix("--proxy-server-host="));
        host.unwrap().to_owned()
    };
    let advertised = |spec: &mut Value| spec["networkProfile"] = json!({"advertiseAddress": "2001:db8::1"});
    assert_eq!(host(&|_| {}), "10.96.7.7");
    assert_eq!(host(&advertised), "2001:db8::1");
    assert_eq!(
        host(&|spec| spec["controlPlane"]["ingress"] = json!({"hostname": "one.example.com:8443"})),
        "10.96.7.7"
    );
    let gateway = |spec: &mut Value| {
        advertised(spec);
        spec["controlPlane"]["gateway"] = json!({"hostname": "one.example.com"});
    };
    assert_eq!(host(&gateway), "one.example.com");
}

#[test]
fn the_token_of_agents_is_for_the_server_from_the_start() {
    let pod = agent_template(&agent(&json!({}))).spec.unwrap();
    let volume = json!(pod.volumes.unwrap().remove(0));
    let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "system:konnectivity-server");
}

#[test]
fn an_agent_has_no_more_rights_on_its_node_than_it_needs() {
    let context = json!(agent_template(&agent(&json!({}))).spec.unwrap().containers[0].security_context);
    let wanted = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(context, wanted);
}
