//! What the types read and write: nothing that an API server can hold stops a watch, and nothing known is lost.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

use kamaji_api::tenant_control_plane::{KonnectivityAgentMode, Phase, ServiceType};
use kamaji_api::{DataStore, Driver, EtcdCluster, KubeconfigGenerator, TenantControlPlane};
use serde_json::{Value, json};

/// A TenantControlPlane with a spec and a status.
fn tenant(spec: &Value, status: &Value) -> TenantControlPlane {
    serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": "t", "namespace": "ns" },
        "spec": spec,
        "status": status,
    }))
    .expect("the tenant is readable")
}

#[test]
fn reads_objects_without_spec_or_status() {
    let object = json!({ "metadata": { "name": "x" } });
    let tenant: TenantControlPlane = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(tenant.spec.kubernetes.version, "");
    assert!(tenant.spec.network_profile.is_none());
    assert!(tenant.spec.control_plane.deployment.is_none());
    serde_json::from_value::<DataStore>(object.clone()).unwrap();
    serde_json::from_value::<KubeconfigGenerator>(object.clone()).unwrap();
    serde_json::from_value::<EtcdCluster>(object).unwrap();
}

#[test]
fn reads_an_empty_and_a_null_spec() {
    for spec in [json!({}), Value::Null] {
        let object = json!({ "metadata": { "name": "x" }, "spec": spec });
        serde_json::from_value::<TenantControlPlane>(object.clone()).unwrap();
        let store: DataStore = serde_json::from_value(object.clone()).unwrap();
        assert!(store.spec.endpoints.is_empty());
        serde_json::from_value::<KubeconfigGenerator>(object.clone()).unwrap();
        serde_json::from_value::<EtcdCluster>(object).unwrap();
    }
}

#[test]
fn a_missing_driver_is_none_of_the_known() {
    let store: DataStore =
        serde_json::from_value(json!({ "metadata": {}, "spec": { "endpoints": ["db:5432"] } })).unwrap();
    assert_eq!(store.spec.driver, Driver::Other(String::new()));
}

#[test]
fn keeps_values_that_it_does_not_know() {
    let spec = json!({
        "controlPlane": { "service": { "serviceType": "ExternalName" } },
        "kubernetes": { "version": "v1.36.3", "kubelet": {}, "admissionControllers": ["Invented"] },
    });
    let tenant = tenant(&spec, &json!({}));
    assert_eq!(tenant.spec.control_plane.service.service_type, ServiceType::Other("ExternalName".to_owned()));
    assert_eq!(serde_json::to_value(&tenant.spec).unwrap(), spec);
}

#[test]
fn reads_an_invented_phase_as_unknown() {
    let tenant = tenant(&json!({}), &json!({ "kubernetesResources": { "version": { "status": "Dreaming" } } }));
    assert_eq!(tenant.status.unwrap().kubernetes_resources.version.status, Some(Phase::Unknown));
}

#[test]
fn reads_quantities_that_were_written_as_numbers() {
    let spec = json!({
        "controlPlane": {
            "service": { "serviceType": "ClusterIP" },
            "deployment": { "resources": { "apiServer": { "limits": { "cpu": 1, "memory": "1Gi" } } } },
        },
        "kubernetes": { "version": "v1.36.3", "kubelet": {} },
    });
    let limits = tenant(&spec, &json!({})).spec.control_plane.deployment.unwrap().resources.unwrap();
    assert_eq!(limits.api_server.unwrap().limits.unwrap()["cpu"].0, "1");
}

#[test]
fn the_empty_status_has_the_objects_that_go_clients_write() {
    let status = serde_json::to_value(kamaji_api::TenantControlPlaneStatus::default()).unwrap();
    let service = json!({ "loadBalancer": {}, "name": "", "namespace": "", "port": 0 });
    assert_eq!(
        status,
        json!({
            "addons": {
                "coreDNS": { "enabled": false },
                "kubeProxy": { "enabled": false },
                "konnectivity": {
                    "agent": {}, "certificate": {}, "clusterrolebinding": {}, "configMap": {}, "enabled": false,
                    "kubeconfig": {}, "sa": {}, "service": service,
                },
            },
            "certificates": {
                "apiServer": {}, "apiServerKubeletClient": {}, "ca": {}, "frontProxyCA": {}, "frontProxyClient": {},
                "sa": {},
            },
            "kubeadmPhase": { "bootstrapToken": {} },
            "kubeadmconfig": {},
            "kubeconfig": { "admin": {}, "controllerManager": {}, "scheduler": {} },
            "kubernetesResources": {
                "deployment": { "name": "", "namespace": "", "selector": "" },
                "service": service,
                "version": {},
            },
            "storage": { "certificate": {}, "config": {}, "setup": {} },
        })
    );
}

#[test]
fn a_deployment_report_holds_the_deployments_own_status_beside_its_name() {
    let deployment = json!({
        "availableReplicas": 2, "collisionCount": 1, "observedGeneration": 3, "readyReplicas": 2, "replicas": 2,
        "terminatingReplicas": 0, "updatedReplicas": 2, "name": "t", "namespace": "ns", "selector": "a=b",
        "lastUpdate": "2026-01-01T00:00:00Z",
        "conditions": [{
            "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
        }],
    });
    let status = json!({ "kubernetesResources": { "deployment": deployment } });
    let report = tenant(&json!({}), &status).status.unwrap().kubernetes_resources.deployment;
    assert_eq!(report.status.ready_replicas, Some(2));
    assert_eq!(serde_json::to_value(report).unwrap(), deployment);
}

#[test]
fn field_names_with_capitals_survive_a_round_trip() {
    let spec = json!({
        "addons": {
            "coreDNS": { "imageRepository": "r", "imageTag": "t" }, "kubeProxy": {},
            "konnectivity": { "server": { "port": 8132 }, "agent": { "mode": "Deployment", "hostNetwork": true } },
        },
        "controlPlane": {
            "deployment": { "extraArgs": { "apiServer": [] }, "podAdditionalMetadata": { "labels": { "a": "b" } } },
            "gateway": { "parentRefs": [{ "name": "g", "sectionName": "s", "port": 443 }], "hostname": "a.example" },
            "ingress": { "ingressClassName": "c", "hostname": "h:443" },
            "service": {
                "serviceType": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                "additionalPorts": [{ "name": "p", "port": 1, "targetPort": "named", "appProtocol": "h2c" }],
            },
        },
        "internalCACertificatesConfigMap": "c",
        "dataStoreSelector": {
            "matchLabels": { "tier": "gold" }, "matchExpressions": [{ "key": "k", "operator": "Exists" }],
        },
        "dataStore": "d", "dataStoreSchema": "s", "dataStoreUsername": "u",
        "dataStoreOverrides": [{ "resource": "/events", "dataStore": "e" }],
        "kubernetes": {
            "version": "v1.36.3", "encryptionAlgorithm": "ECDSA-P256",
            "kubelet": {
                "cgroupfs": "systemd", "preferredAddressTypes": ["InternalIP"],
                "configurationJSONPatches": [{ "op": "add", "path": "/a", "value": { "b": [1, null] } }],
            },
        },
        "networkProfile": {
            "allowAddressAsExternalIP": true, "certSANs": ["a"], "dnsServiceIPs": ["10.96.0.10"], "port": 6443,
            "loadBalancerSourceRanges": ["10.0.0.0/8"], "loadBalancerClass": "c", "serviceCidrs": ["10.96.0.0/16"],
            "podCidr": "",
        },
        "writePermissions": { "blockCreation": true },
    });
    let tenant = tenant(&spec, &json!({}));
    assert_eq!(serde_json::to_value(&tenant.spec).unwrap(), spec);
    assert_eq!(
        tenant.spec.addons.unwrap().konnectivity.unwrap().agent.unwrap().mode,
        Some(KonnectivityAgentMode::Deployment)
    );
    assert!(tenant.spec.write_permissions.unwrap().is_limited());
}

#[test]
fn a_password_does_not_show_in_debug_output() {
    let store: DataStore = serde_json::from_value(json!({
        "metadata": { "name": "d" },
        "spec": { "driver": "MySQL", "endpoints": ["db:3306"], "basicAuth": {
            "username": { "content": "cm9vdA==" },
            "password": { "content": "c2VjcmV0" },
        } },
    }))
    .unwrap();
    let text = format!("{store:?}");
    assert!(text.contains("<6 bytes>"), "{text}");
    assert!(!text.contains("c2VjcmV0") && !text.contains("115, 101, 99"), "{text}");
}

#[test]
fn names_the_field_that_cannot_be_read_and_reads_the_rest_of_the_list() {
    let list = json!([
        { "metadata": { "name": "good" }, "spec": { "kubernetes": { "version": "v1.36.3" } } },
        { "metadata": { "name": "bad" }, "spec": {
            "kubernetes": { "version": "v1.36.3" },
            // An API server stores this: a number-or-text field has no width.
            "controlPlane": { "service": { "additionalPorts": [{ "name": "p", "targetPort": 9_999_999_999_u64 }] } },
        } },
    ]);
    let tenants: Vec<TenantControlPlane> = serde_json::from_value(list).unwrap();
    assert_eq!(tenants[0].spec.unreadable, None);
    assert_eq!(tenants[0].spec.kubernetes.version, "v1.36.3");
    assert_eq!(tenants[1].spec.unreadable.as_deref(), Some("spec.controlPlane.service.additionalPorts[0].targetPort"));
    assert_eq!(tenants[1].metadata.name.as_deref(), Some("bad"));
}

#[test]
fn an_unreadable_spec_does_not_repeat_its_values() {
    let store: DataStore = serde_json::from_value(json!({
        "metadata": { "name": "d" },
        "spec": { "driver": "MySQL", "basicAuth": { "password": { "content": "not base64!" } } },
    }))
    .unwrap();
    assert_eq!(store.spec.unreadable.as_deref(), Some("spec.basicAuth.password.content"));
    assert!(!format!("{store:?}").contains("not base64"));
}

#[test]
fn an_unreadable_spec_is_not_written_back() {
    let object = json!({ "metadata": {}, "spec": { "replicas": "three" } });
    let cluster: EtcdCluster = serde_json::from_value(object).unwrap();
    assert_eq!(cluster.spec.unreadable.as_deref(), Some("spec.replicas"));
    assert_eq!(serde_json::to_value(&cluster.spec).unwrap(), json!({}));
}

#[test]
fn reads_a_status_with_a_time_beyond_the_calendar_as_empty() {
    let status = json!({ "controlPlaneEndpoint": "a:1", "kubeadmconfig": { "lastUpdate": "9999-12-31T23:59:59Z" } });
    let tenant = tenant(&json!({}), &status);
    assert_eq!(tenant.status, Some(kamaji_api::TenantControlPlaneStatus::default()));
}
