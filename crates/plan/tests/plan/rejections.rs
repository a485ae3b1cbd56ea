//! What resolve refuses, and with which words.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec},
    core::v1::{Container, PodSpec, PodTemplateSpec},
};
use kamaji_api::TenantControlPlane;
use kamaji_plan::{
    rejection::Rejection,
    resolve::{self, Observed, StoreIdentity},
};
use serde_json::{Value, json};

use crate::sample::{data_store, minimal, named, resolve, tenant};

fn rejection(spec: &Value) -> Rejection {
    match resolve(&tenant(spec), None) {
        Ok(resolved) => panic!("accepted: {:?}", resolved.tenant.spec),
        Err(rejection) => rejection,
    }
}

/// Sets the field at `path` of a minimal specification.
fn with(path: &str, value: Value) -> Value {
    let mut spec = minimal();
    let mut node = &mut spec;
    for part in path.split('.') {
        node = &mut node[part];
    }
    *node = value;
    spec
}

/// One field at a time: path, value, the field that is blamed, and a part of the sentence that tells the way out.
const ONE_FIELD: &[(&str, &str, &str, &str)] = &[
    ("kubernetes.version", r#""latest""#, "spec.kubernetes.version", "write it like v1.36.3"),
    ("kubernetes.version", r#""v1.30.0""#, "spec.kubernetes.version", "choose a version from v1.31 to v1.37"),
    (
        "controlPlane.service.serviceType",
        r#""ExternalName""#,
        "spec.controlPlane.service.serviceType",
        "ClusterIP, NodePort, LoadBalancer",
    ),
    ("networkProfile.port", "0", "spec.networkProfile.port", "choose one from 1 to 65535"),
    ("networkProfile.port", "65536", "spec.networkProfile.port", "choose one from 1 to 65535"),
    ("networkProfile.port", "-1", "spec.networkProfile.port", "choose one from 1 to 65535"),
    ("networkProfile.clusterDomain", r#""Not A Name""#, "spec.networkProfile.clusterDomain", "is not a DNS name"),
    ("networkProfile.serviceCidr", r#""10.96.0.0""#, "spec.networkProfile.serviceCidr", "write it like 10.96.0.0/16"),
    (
        "networkProfile.serviceCidrs",
        r#"["10.96.0.0/33"]"#,
        "spec.networkProfile.serviceCidrs[0]",
        "write it like 10.96.0.0/16",
    ),
    (
        "networkProfile.serviceCidrs",
        r#"["10.96.0.0/16", "10.97.0.0/16"]"#,
        "spec.networkProfile.serviceCidrs[1]",
        "at most one IPv4 and one IPv6",
    ),
    ("networkProfile.serviceCidrs", r#"["10.96.0.0/32"]"#, "spec.networkProfile.serviceCidrs", "widen it"),
    ("networkProfile.podCidr", r#""pods""#, "spec.networkProfile.podCidr", "write it like 10.244.0.0/16"),
    (
        "networkProfile.podCidrs",
        r#"["fd00::/56", "fd01::/56"]"#,
        "spec.networkProfile.podCidrs[1]",
        "at most one IPv4 and one IPv6",
    ),
    ("networkProfile.address", r#""example.com""#, "spec.networkProfile.address", "is not an IP address"),
    (
        "networkProfile.advertiseAddress",
        r#""example.com""#,
        "spec.networkProfile.advertiseAddress",
        "is not an IP address",
    ),
    (
        "networkProfile.certSANs",
        r#"["a.example.com", "b.example.com:6443"]"#,
        "spec.networkProfile.certSANs[1]",
        "a port does not belong here",
    ),
    (
        "controlPlane.ingress.hostname",
        r#""one.example.com:port""#,
        "spec.controlPlane.ingress.hostname",
        "write host or host:port",
    ),
    (
        "controlPlane.ingress.hostname",
        r#""one.example.com:0""#,
        "spec.controlPlane.ingress.hostname",
        "write host or host:port",
    ),
    ("controlPlane.ingress.hostname", r#""one_example""#, "spec.controlPlane.ingress.hostname", "is not a DNS name"),
    ("controlPlane.gateway.hostname", r#""one example""#, "spec.controlPlane.gateway.hostname", "is not a DNS name"),
    ("controlPlane.deployment.replicas", "-1", "spec.controlPlane.deployment.replicas", "0 puts the tenant to sleep"),
    (
        "controlPlane.deployment.additionalContainers",
        r#"[{"name": "kube-apiserver"}]"#,
        "spec.controlPlane.deployment.additionalContainers[0].name",
        "rename it",
    ),
    (
        "controlPlane.deployment.additionalContainers",
        r#"[{"name": "a"}, {"name": "a"}]"#,
        "spec.controlPlane.deployment.additionalContainers[1].name",
        "rename it",
    ),
    (
        "controlPlane.deployment.additionalInitContainers",
        r#"[{"name": "kube-scheduler"}]"#,
        "spec.controlPlane.deployment.additionalInitContainers[0].name",
        "rename it",
    ),
    (
        "controlPlane.deployment.additionalVolumes",
        r#"[{"name": "etc-kubernetes-pki"}]"#,
        "spec.controlPlane.deployment.additionalVolumes[0].name",
        "rename it",
    ),
    (
        "controlPlane.deployment.additionalVolumeMounts.apiServer",
        r#"[{"name": "v", "mountPath": "/etc/kubernetes/pki"}]"#,
        "spec.controlPlane.deployment.additionalVolumeMounts.apiServer[0].mountPath",
        "choose another path",
    ),
    (
        "controlPlane.deployment.additionalVolumeMounts.controllerManager",
        r#"[{"name": "v", "mountPath": "/etc/kubernetes"}]"#,
        "spec.controlPlane.deployment.additionalVolumeMounts.controllerManager[0].mountPath",
        "choose another path",
    ),
    (
        "controlPlane.deployment.additionalVolumeMounts.scheduler",
        r#"[{"name": "v", "mountPath": "/etc/kubernetes"}]"#,
        "spec.controlPlane.deployment.additionalVolumeMounts.scheduler[0].mountPath",
        "choose another path",
    ),
    (
        "kubernetes.kubelet.preferredAddressTypes",
        r#"["Hostname", "Loopback"]"#,
        "spec.kubernetes.kubelet.preferredAddressTypes[1]",
        "is not one of Hostname, InternalIP",
    ),
    (
        "kubernetes.admissionControllers",
        r#"["NodeRestriction", "Invented"]"#,
        "spec.kubernetes.admissionControllers[1]",
        "remove it or correct its name",
    ),
    ("kubernetes.encryptionAlgorithm", r#""Ed25519""#, "spec.kubernetes.encryptionAlgorithm", "is not one of RSA-2048"),
    (
        "addons.konnectivity.server.port",
        "50000",
        "spec.addons.konnectivity.server.port",
        "choose one from 1024 to 49151",
    ),
    ("addons.konnectivity.server.port", "443", "spec.addons.konnectivity.server.port", "choose one from 1024 to 49151"),
    (
        "addons.konnectivity.server.port",
        "8134",
        "spec.addons.konnectivity.server.port",
        "in the control plane's pod already",
    ),
    ("addons.konnectivity.server.port", "10257", "spec.addons.konnectivity.server.port", "choose another"),
    (
        "controlPlane.deployment.additionalContainers",
        r#"[{"name": "a", "env": [{"name": "A"}, {"name": "B"}, {"name": "A", "value": "2"}]}]"#,
        "spec.controlPlane.deployment.additionalContainers[0].env[2]",
        "remove one of the two",
    ),
    (
        "controlPlane.deployment.additionalContainers",
        r#"[{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}]"#,
        "spec.controlPlane.deployment.additionalContainers[0].ports[1]",
        "remove one of the two",
    ),
    (
        "controlPlane.deployment.additionalInitContainers",
        r#"[{"name": "a", "volumeMounts": [{"name": "x", "mountPath": "/a"}, {"name": "y", "mountPath": "/a"}]}]"#,
        "spec.controlPlane.deployment.additionalInitContainers[0].volumeMounts[1]",
        "remove one of the two",
    ),
    (
        "controlPlane.deployment.additionalInitContainers",
        r#"[{"name": "a", "volumeDevices": [{"name": "x", "devicePath": "/a"}, {"name": "y", "devicePath": "/a"}]}]"#,
        "spec.controlPlane.deployment.additionalInitContainers[0].volumeDevices[1]",
        "remove one of the two",
    ),
    (
        "controlPlane.deployment.topologySpreadConstraints",
        r#"[{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "b"}, {"maxSkew": 2, "topologyKey": "a", "whenUnsatisfiable": "b"}]"#,
        "spec.controlPlane.deployment.topologySpreadConstraints[1]",
        "remove one of the two",
    ),
    (
        "controlPlane.deployment.probes.liveness",
        r#"{"successThreshold": 2}"#,
        "spec.controlPlane.deployment.probes.liveness.successThreshold",
        "remove it",
    ),
    (
        "controlPlane.deployment.probes.scheduler.startup",
        r#"{"successThreshold": 2}"#,
        "spec.controlPlane.deployment.probes.scheduler.startup.successThreshold",
        "remove it",
    ),
    (
        "controlPlane.service.additionalPorts",
        r#"[{"name": "kube-apiserver", "port": 1, "targetPort": 1}]"#,
        "spec.controlPlane.service.additionalPorts[0].name",
        "rename it",
    ),
    (
        "controlPlane.service.additionalPorts",
        r#"[{"name": "a", "port": 6443, "targetPort": 1}]"#,
        "spec.controlPlane.service.additionalPorts[0].port",
        "choose another port",
    ),
    (
        "addons.konnectivity.server.port",
        "6443",
        "spec.addons.konnectivity.server.port",
        "is the port of the API server; choose another",
    ),
    (
        "dataStoreOverrides",
        r#"[{"resource": "/events", "dataStore": "other"}]"#,
        "spec.dataStoreOverrides[0].dataStore",
        "create it or name another",
    ),
    ("dataStoreSchema", r#""a/b""#, "spec.dataStoreSchema", "choose another name"),
    ("dataStoreSchema", r#""a\nb""#, "spec.dataStoreSchema", "choose another name"),
    ("dataStoreUsername", r#""root""#, "spec.dataStoreUsername", "choose another name"),
    ("networkProfile.port", r#""https""#, "spec.networkProfile.port", "correct it"),
];

#[test]
fn names_the_field_and_the_way_out() {
    for (path, value, field, sentence) in ONE_FIELD {
        let rejection = rejection(&with(path, serde_json::from_str(value).unwrap()));
        assert_eq!(rejection.field, *field, "{path} = {value}: {rejection}");
        assert!(rejection.message.contains(sentence), "{path} = {value}: {rejection}");
        assert!(rejection.to_string().starts_with(field), "{rejection}");
        assert!(rejection.reason.chars().all(|letter| letter.is_ascii_alphanumeric()), "{}", rejection.reason);
    }
}

#[test]
fn the_table_refuses_nothing_by_accident() {
    assert!(resolve(&tenant(&minimal()), None).is_ok());
    // An empty name counts as none, so the UID names the schema.
    let resolved = resolve(&tenant(&with("dataStoreSchema", json!(""))), None).unwrap();
    assert_eq!(resolved.store.identity.schema, resolved.uid);
}

#[test]
fn refuses_a_name_that_no_label_or_service_can_have() {
    for (name, sentence) in [
        ("a".repeat(64), "has 64 characters, and a label holds at most 63; choose a shorter name"),
        ("1st".to_owned(), "cannot name a Service; use lower-case letters, digits and dashes, beginning with a letter"),
        ("a.b".to_owned(), "cannot name a Service"),
        ("a-".to_owned(), "cannot name a Service"),
        (String::new(), "cannot name a Service"),
    ] {
        let rejection = resolve(&named(&name, &minimal()), None).unwrap_err();
        assert_eq!(rejection.field, "metadata.name");
        assert!(rejection.message.contains(sentence), "{rejection}");
    }
}

fn running(image: &str) -> Deployment {
    let container =
        Container { name: "kube-apiserver".to_owned(), image: Some(image.to_owned()), ..Container::default() };
    let pod = PodSpec { containers: vec![container], ..PodSpec::default() };
    let template = PodTemplateSpec { spec: Some(pod), ..PodTemplateSpec::default() };
    Deployment { spec: Some(DeploymentSpec { template, ..DeploymentSpec::default() }), ..Deployment::default() }
}

#[test]
fn refuses_a_step_of_two_minors_and_a_step_back_from_what_runs() {
    let check = |version: &str, image: &str| {
        let spec = with("kubernetes.version", json!(version));
        resolve(&tenant(&spec), Some(&running(image))).map(|_| ()).map_err(|rejection| rejection.to_string())
    };
    let skipped = check("v1.36.3", "registry.k8s.io/kube-apiserver:v1.34.2").unwrap_err();
    assert!(skipped.starts_with("spec.kubernetes.version: ") && skipped.contains("go to v1.35 first"), "{skipped}");
    let back = check("v1.34.2", "registry.k8s.io/kube-apiserver:v1.36.3").unwrap_err();
    assert!(back.contains("set v1.36"), "{back}");
    assert_eq!(check("v1.36.3", "registry.k8s.io/kube-apiserver:v1.35.0"), Ok(()));
    // What runs cannot be told: nothing is concluded from it.
    assert_eq!(check("v1.36.3", "registry.k8s.io/kube-apiserver@sha256:00"), Ok(()));
}

#[test]
fn refuses_a_curve_that_kubeadm_of_the_minor_does_not_know() {
    let mut spec = with("kubernetes.encryptionAlgorithm", json!("ECDSA-P384"));
    spec["kubernetes"]["version"] = json!("v1.33.5");
    assert!(rejection(&spec).message.contains("from v1.34 on; choose ECDSA-P256"));
}

#[test]
fn the_annotation_twin_of_the_algorithm_is_checked_like_the_field() {
    let mut tenant = tenant(&minimal());
    let object: &mut TenantControlPlane = Arc::make_mut(&mut tenant);
    object.metadata.annotations =
        Some([("kamaji.clastix.io/encryptionAlgorithm".to_owned(), "none".to_owned())].into());
    let rejection = resolve(&tenant, None).unwrap_err();
    assert_eq!(rejection.field, "spec.kubernetes.encryptionAlgorithm");
}

#[test]
fn says_what_is_wrong_with_the_data_store() {
    let tenant = tenant(&minimal());
    let check = |observed: &Observed<'_>| resolve::resolve(&tenant, observed).unwrap_err();
    let absent = check(&Observed { chosen: Some("gone"), ..Observed::default() });
    assert_eq!((absent.reason, absent.field.as_str()), ("DataStoreNotFound", "spec.dataStore"));
    assert!(absent.message.contains("\"gone\" does not exist; create it or name another"), "{absent}");
    let mut store = data_store();
    store.spec.driver = "Redis".into();
    let other = check(&Observed { data_store: Some(&store), chosen: Some("other"), ..Observed::default() });
    assert!(other.message.contains("has the driver Redis, which nobody knows"), "{other}");
}

#[test]
fn refuses_a_recorded_name_that_reaches_into_other_tenants() {
    let store = data_store();
    let check = |schema: &str, user: &str| {
        let identity = StoreIdentity { schema: schema.to_owned(), user: user.to_owned() };
        let observed = Observed {
            data_store: Some(&store),
            chosen: Some("default"),
            recorded_identity: Some(&identity),
            ..Observed::default()
        };
        resolve::resolve(&tenant(&minimal()), &observed).map(|_| ()).map_err(|rejection| rejection.field)
    };
    assert_eq!(check("a", "a"), Ok(()));
    assert_eq!(check("..", "a"), Err("spec.dataStoreSchema".to_owned()));
    assert_eq!(check("a/b", "a"), Err("spec.dataStoreSchema".to_owned()));
    assert_eq!(check("a", &"u".repeat(201)), Err("spec.dataStoreUsername".to_owned()));
}

#[test]
fn a_tenant_without_uid_or_names_is_refused() {
    let mut tenant = tenant(&minimal());
    Arc::make_mut(&mut tenant).metadata.uid = None;
    let rejection = resolve(&tenant, None).unwrap_err();
    assert_eq!(rejection.field, "spec.dataStoreSchema");
    assert!(rejection.message.contains("no UID yet"), "{rejection}");
}
