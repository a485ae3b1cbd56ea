//! Generated specifications on a real API server: what was applied once is not written again, not when it is applied
//! once more and not when the operator starts anew.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well, and writes as users do"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{TenantControlPlane, crd};
use kamaji_testkit::{api_server::ApiServer, wait::wait_for};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use support::{
    Operator, SOON, data_store,
    settle::{blank_status, changed_beside_tenants, counted, counts, settle, versions, writes_of_one_more_pass},
    tenant,
};

/// Tenants that are generated; PROPTEST_CASES sets another number.
const TENANTS: u32 = 24;

/// Fields with values that an API server accepts, many of which it rewrites: quantities, durations, defaults, empty
/// lists and maps, zero values.
fn features() -> Vec<(&'static str, Vec<Value>)> {
    let mut all = pod_features();
    all.extend(container_features());
    all.extend(network_features());
    all
}

fn pod_features() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("controlPlane.deployment.replicas", vec![json!(0), json!(1), json!(2), json!(5)]),
        (
            "controlPlane.deployment.nodeSelector",
            vec![json!({}), json!({"a": ""}), json!({"kubernetes.io/os": "linux", "disk": "fast"})],
        ),
        ("controlPlane.deployment.runtimeClassName", vec![json!(""), json!("gvisor")]),
        (
            "controlPlane.deployment.strategy",
            vec![
                json!({"type": "Recreate", "rollingUpdate": null}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "0%"}}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}),
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
            ],
        ),
        (
            "controlPlane.deployment.tolerations",
            vec![
                json!([]),
                json!([{"operator": "Exists"}]),
                json!([
                    {"key": "a", "operator": "Equal", "value": "x", "effect": "NoExecute", "tolerationSeconds": 0},
                    {"key": "b", "operator": "Equal", "value": "", "effect": "NoExecute", "tolerationSeconds": 0},
                ]),
                json!([{"key": "a"}, {"key": "a"}]),
            ],
        ),
        (
            "controlPlane.deployment.affinity",
            vec![
                json!({}),
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "b", "operator": "In", "values": ["2", "1"]}, {"key": "a", "operator": "Exists"}]}
                ]}}}),
                json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": {"topologyKey": "zone", "namespaceSelector": {}}}
                ]}}),
            ],
        ),
        (
            "controlPlane.deployment.topologySpreadConstraints",
            vec![
                json!([]),
                json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]),
                json!([
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "minDomains": 2},
                    {"maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["pod-template-hash"]},
                ]),
            ],
        ),
        (
            "controlPlane.deployment.additionalMetadata",
            vec![json!({}), json!({"labels": {"a": ""}, "annotations": {"b": ""}})],
        ),
        (
            "controlPlane.deployment.podAdditionalMetadata",
            vec![json!({"labels": {}}), json!({"labels": {"a": "b"}, "annotations": {"c": "d\n"}})],
        ),
        ("controlPlane.deployment.serviceAccountName", vec![json!(""), json!("tenants")]),
        ("controlPlane.deployment.automountServiceAccountToken", vec![json!(false), json!(true)]),
        (
            "controlPlane.deployment.podSecurityContext",
            vec![
                json!({}),
                json!({"runAsUser": 0, "runAsNonRoot": false, "supplementalGroups": []}),
                json!({"fsGroup": 1, "fsGroupChangePolicy": "OnRootMismatch", "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}),
            ],
        ),
        ("controlPlane.deployment.additionalVolumes", volumes()),
        (
            "controlPlane.deployment.registrySettings",
            vec![
                json!({"registry": "", "tagSuffix": ""}),
                json!({"registry": "example.com:5000/a", "tagSuffix": "-1"}),
            ],
        ),
    ]
}

fn volumes() -> Vec<Value> {
    let extra = json!({"name": "extra", "emptyDir": {}});
    let with = |volume: Value| json!([extra, volume]);
    vec![
        with(json!({"name": "none"})),
        with(json!({"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}})),
        with(json!({"name": "path", "hostPath": {"path": "/x"}})),
        with(
            json!({"name": "secret", "secret": {"secretName": "s", "optional": false, "items": [{"key": "a", "path": "b", "mode": 256}]}}),
        ),
        with(json!({"name": "map", "configMap": {"name": "m", "items": []}})),
        with(json!({"name": "down", "downwardAPI": {"items": [
            {"path": "a", "fieldRef": {"fieldPath": "metadata.name"}},
            {"path": "b", "resourceFieldRef": {"containerName": "side", "resource": "limits.cpu"}},
        ]}})),
        with(json!({"name": "projected", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"serviceAccountToken": {"path": "token2", "expirationSeconds": 7200, "audience": "a"}},
            {"configMap": {"name": "m"}},
            {"downwardAPI": {"items": [{"path": "c", "fieldRef": {"fieldPath": "metadata.uid"}}]}},
        ]}})),
        with(json!({"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": false}})),
        with(json!({"name": "ephemeral", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}
        }}}})),
        with(json!({"name": "csi", "csi": {"driver": "example.com", "volumeAttributes": {"a": ""}}})),
        with(
            json!({"name": "iscsi", "iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:x", "lun": 0}}),
        ),
        with(json!({"name": "nfs", "nfs": {"server": "s", "path": "/p"}})),
    ]
}

fn container_features() -> Vec<(&'static str, Vec<Value>)> {
    let resources = vec![
        json!({}),
        json!({"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 1, "memory": "2e9"}}),
        json!({"requests": {"cpu": "0", "memory": "1000000Ki"}}),
        json!({"limits": {"cpu": "1500m", "ephemeral-storage": "1.5Gi"}}),
    ];
    let contexts = vec![
        json!({}),
        json!({"privileged": false, "runAsUser": 0, "capabilities": {"add": [], "drop": ["ALL"]}}),
        json!({"seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Default"}),
    ];
    let arguments =
        vec![json!([]), json!(["--v=2"]), json!(["--v=2", "--v=3", "--profiling", "v=4", "--a=b=c", "--empty="])];
    let mounts = vec![
        json!([]),
        json!([{"name": "extra", "mountPath": "/x", "readOnly": false, "subPath": ""}, {"name": "extra", "mountPath": "/y", "mountPropagation": "None"}]),
    ];
    let probes = vec![
        json!({}),
        json!({"initialDelaySeconds": 0, "periodSeconds": 3}),
        json!({"timeoutSeconds": 2, "failureThreshold": 9}),
    ];
    let mut all = vec![
        ("controlPlane.deployment.additionalContainers", containers()),
        (
            "controlPlane.deployment.additionalInitContainers",
            vec![
                json!([]),
                json!([{"name": "init", "image": "i"}]),
                json!([{"name": "init", "image": "i", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["true"]}}}]),
            ],
        ),
        ("controlPlane.deployment.probes.liveness", probes.clone()),
        ("controlPlane.deployment.probes.startup", probes.clone()),
        ("controlPlane.deployment.probes.apiServer", vec![json!({}), json!({"readiness": {"successThreshold": 3}})]),
        ("controlPlane.deployment.probes.scheduler.readiness", probes),
    ];
    for (section, values) in [
        (["controlPlane.deployment.resources.apiServer", "controlPlane.deployment.resources.scheduler"], resources),
        (
            [
                "controlPlane.deployment.containerSecurityContexts.apiServer",
                "controlPlane.deployment.containerSecurityContexts.controllerManager",
            ],
            contexts,
        ),
        (
            ["controlPlane.deployment.extraArgs.apiServer", "controlPlane.deployment.extraArgs.controllerManager"],
            arguments,
        ),
        (
            [
                "controlPlane.deployment.additionalVolumeMounts.apiServer",
                "controlPlane.deployment.additionalVolumeMounts.scheduler",
            ],
            mounts,
        ),
    ] {
        all.extend(section.map(|path| (path, values.clone())));
    }
    all
}

fn containers() -> Vec<Value> {
    vec![
        json!([]),
        json!([{"name": "side", "image": "s"}]),
        json!([{"name": "side", "image": "s:latest", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP", "name": "dns"}]}]),
        json!([{
            "name": "side", "image": "s@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "env": [
                {"name": "A", "value": ""}, {"name": "B"}, {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "m"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
            "resources": {"requests": {"cpu": "1000m", "memory": "1Gi"}},
        }]),
        json!([
            {
                "name": "side", "image": "s", "stdin": false, "tty": false, "command": [], "args": ["a"],
                "livenessProbe": {"httpGet": {"port": "web"}, "periodSeconds": 30},
                "readinessProbe": {"tcpSocket": {"port": 80}}, "startupProbe": {"grpc": {"port": 90}},
                "ports": [{"name": "web", "containerPort": 8080, "hostPort": 0}],
                "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": {"httpGet": {"port": 80, "httpHeaders": [{"name": "A", "value": ""}]}}},
                "volumeMounts": [{"name": "extra", "mountPath": "/e"}],
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            },
            {"name": "other", "image": "o", "securityContext": {}, "workingDir": "/", "terminationMessagePolicy": "FallbackToLogsOnError"},
        ]),
    ]
}

fn network_features() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("networkProfile.port", vec![json!(443), json!(30_443)]),
        ("networkProfile.address", vec![json!(""), json!("192.0.2.1"), json!("2001:DB8:0::1")]),
        ("networkProfile.advertiseAddress", vec![json!(""), json!("198.51.100.1"), json!("2001:db8::0:2")]),
        ("networkProfile.allowAddressAsExternalIP", vec![json!(false), json!(true)]),
        (
            "networkProfile.certSANs",
            vec![
                json!([]),
                json!(
                    ["a.example.com", "A.example.com", "192.0.2.9", "*.example.com"]
                        .into_iter()
                        .filter(|san| *san != "A.example.com")
                        .collect::<Vec<_>>()
                ),
            ],
        ),
        ("networkProfile.serviceCidrs", vec![json!(["FD00::/112"]), json!(["10.112.0.0/16", "fd00::/112"])]),
        ("networkProfile.podCidr", vec![json!(""), json!("10.113.0.0/16")]),
        ("networkProfile.clusterDomain", vec![json!("tenant.local")]),
        ("networkProfile.dnsServiceIPs", vec![json!([])]),
        ("kubernetes.version", vec![json!("v1.35.4"), json!("1.36.3"), json!("v1.31.0")]),
        ("kubernetes.admissionControllers", vec![json!([]), json!(["NodeRestriction"])]),
        ("kubernetes.encryptionAlgorithm", vec![json!("RSA-2048"), json!("ECDSA-P256")]),
        ("kubernetes.kubelet.preferredAddressTypes", vec![json!(["Hostname"])]),
        (
            "controlPlane.service",
            vec![
                json!({"serviceType": "ClusterIP", "additionalMetadata": {"labels": {"a": ""}, "annotations": {}}}),
                json!({"serviceType": "ClusterIP", "additionalPorts": []}),
                json!({"serviceType": "ClusterIP", "additionalPorts": [
                    {"name": "a", "port": 9000, "targetPort": 9000}, {"name": "b", "port": 9000, "targetPort": "b", "protocol": "UDP", "appProtocol": ""},
                ]}),
                json!({"serviceType": "LoadBalancer"}),
                json!({"serviceType": "LoadBalancer", "allocateLoadBalancerNodePorts": true, "additionalPorts": [{"name": "a", "port": 9001, "targetPort": "a"}]}),
                json!({"serviceType": "LoadBalancer", "allocateLoadBalancerNodePorts": false}),
            ],
        ),
        ("dataStoreSchema", vec![json!("")]),
        ("writePermissions", vec![json!({}), json!({"blockCreation": false})]),
        ("addons", vec![json!({}), json!({"coreDNS": {}, "kubeProxy": {}})]),
    ]
}

fn set(spec: &mut Value, path: &str, value: Value) {
    let mut node = spec;
    for part in path.split('.') {
        node = &mut node[part];
    }
    *node = value;
}

/// Any choice of the features, each with about one in three.
fn specification() -> impl Strategy<Value = Value> {
    let choices: Vec<_> = features()
        .into_iter()
        .map(|(path, values)| {
            proptest::option::weighted(0.35, proptest::sample::select(values)).prop_map(move |value| (path, value))
        })
        .collect();
    choices.prop_map(|chosen| {
        let mut spec = json!({
            "dataStore": "default",
            "controlPlane": {"deployment": {"additionalVolumes": [{"name": "extra", "emptyDir": {}}]}, "service": {"serviceType": "ClusterIP"}},
            "kubernetes": {"version": "v1.36.3", "kubelet": {}},
            "networkProfile": {"port": 6443},
        });
        for (path, value) in chosen {
            if let Some(value) = value {
                set(&mut spec, path, value);
            }
        }
        // Nothing here assigns addresses to load balancers.
        let addressed = spec["networkProfile"]["address"].as_str().is_some_and(|address| !address.is_empty());
        if spec["controlPlane"]["service"]["serviceType"] == "LoadBalancer" && !addressed {
            spec["networkProfile"]["address"] = json!("192.0.2.77");
        }
        spec
    })
}

/// The same in every run, unless a number of cases is asked for.
fn specifications() -> Vec<Value> {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let mut runner = match asked {
        None => TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::default(),
    };
    let strategy = specification();
    (0..asked.unwrap_or(TENANTS)).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn total(writes: &BTreeMap<String, u64>) -> u64 {
    writes.values().sum()
}

/// What was not there before or has another resource version now.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before.keys().chain(after.keys()).collect::<BTreeSet<_>>();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The tenants that a log names, in the field by which people look for their lines. Every line about a tenant has it, and
/// kube's own span around a pass, `object.ref`, says whose pass a line is of.
fn named(log: &str) -> BTreeSet<String> {
    let ours = ["kamaji_operator::controller::tenant_control_plane", "kamaji_operator::tenant"];
    let mut named = BTreeSet::new();
    for text in log.lines() {
        let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let tenant = line["tenant"].as_str();
        let of = line["object.ref"].as_str().and_then(|object| object.strip_prefix("TenantControlPlane."));
        let of = of.and_then(|of| of.split_once('/')).and_then(|(_, name)| name.split_once('.'));
        if let Some((name, namespace)) = of {
            assert_eq!(tenant, Some(format!("{namespace}/{name}").as_str()), "{text}");
            named.insert(format!("{namespace}/{name}"));
        }
        if ours.iter().any(|module| line["logger"].as_str().unwrap().starts_with(module)) {
            assert!(tenant.is_some(), "{text}");
        }
    }
    named
}

async fn apply(client: &Client, tenant: &TenantControlPlane) {
    let namespace = tenant.metadata.namespace.clone().unwrap();
    let api: Api<TenantControlPlane> = Api::namespaced(client.clone(), &namespace);
    let name = tenant.metadata.name.clone().unwrap();
    api.patch(&name, &PatchParams::apply("owner").force(), &Patch::Apply(tenant)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_specification_causes_no_write_whatever_it_says() {
    let server = ApiServer::start().await.unwrap();
    server.install_crds(&crd::all().unwrap()).await.unwrap();
    let client = server.client().unwrap();
    let namespace = server.namespace().await.unwrap();
    let _etcd = data_store(&client, "default").await;
    let mut operator = Operator::start(&server, &["--zap-log-level=debug"]);
    let specifications = specifications();
    let names: Vec<String> = (0..specifications.len()).map(|index| format!("t{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tenants: Vec<TenantControlPlane> = names
        .iter()
        .zip(&specifications)
        .map(|(name, spec)| tenant(&namespace, name, "default", |target| target.clone_from(spec)))
        .collect();
    for tenant in &tenants {
        apply(&client, tenant).await;
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let mut refused = Vec::new();
    for (name, spec) in names.iter().zip(&specifications) {
        if wait_for(&deployments, name, SOON, |_: &Deployment| true).await.is_err() {
            let tenant = Api::<TenantControlPlane>::namespaced(client.clone(), &namespace).get(name).await.unwrap();
            let conditions = tenant.status.unwrap_or_default().conditions.unwrap_or_default();
            refused.push(format!("{name}: {:?}\n{spec}", conditions.first().map(|condition| &condition.message)));
        }
    }
    assert!(refused.is_empty(), "no Deployment of\n{}", refused.join("\n"));
    settle(&operator, &client, &namespace, &names).await;

    let rested = versions(&client, &namespace).await;
    let before = counts(&operator).await;
    for tenant in &tenants {
        apply(&client, tenant).await;
    }
    assert_eq!(changes(&rested, &versions(&client, &namespace).await), Vec::<String>::new(), "applied again");
    assert_eq!(writes_of_one_more_pass(&operator, &client, &namespace, &names).await, 0, "{}", operator.log());
    assert_eq!(counts(&operator).await.writes, before.writes, "{}", operator.log());

    let rested = versions(&client, &namespace).await;
    operator.kill();
    operator.resume();
    let started = counted(&operator, |counts| counts.passes >= names.len() as u64 && counts.store_passes >= 1).await;
    assert_eq!(total(&started.writes), 0, "{:?}\n{}", started.writes, operator.log());
    assert_eq!(changes(&rested, &versions(&client, &namespace).await), Vec::<String>::new(), "started anew");

    // The status is a report: without it, nothing that runs changes.
    operator.kill();
    for name in &names {
        blank_status(&client, &namespace, name).await;
    }
    operator.resume();
    counted(&operator, |counts| counts.passes >= names.len() as u64).await;
    settle(&operator, &client, &namespace, &names).await;
    let changed = changed_beside_tenants(&rested, &versions(&client, &namespace).await);
    assert_eq!(changed, Vec::<String>::new(), "without a status\n{}", operator.log());

    let all: BTreeSet<String> = names.iter().map(|name| format!("{namespace}/{name}")).collect();
    assert_eq!(named(&operator.log()), all, "each has lines of its own passes");
}
