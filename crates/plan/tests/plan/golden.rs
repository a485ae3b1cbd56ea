//! Tenants that the Go operator wrote, where these are present: taking one over changes nothing that runs.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_pki::{Certificate, PrivateKey};
use kamaji_plan::{
    control_plane::{self, Plan, kubeadm_config, names::TenantSecret, service},
    exposed::Exposed,
    issuance::{self, Moment, authorities, datastore, kubeconfigs, leaves, store_config},
    issued::Issued,
    resolve::{self, Observed, Resolved},
    stored::Stored,
    template::TemplateRevision,
};
use serde_json::{Value, json};

/// The captured tenants.
const TENANTS: [&str; 6] = ["etcd-basic", "etcd-full", "lb", "my", "nats", "pg"];

/// Objects of one captured tenant.
pub struct Captured {
    tenant: Arc<TenantControlPlane>,
    data_store: DataStore,
    deployment: Deployment,
    service: Service,
    config_maps: Vec<ConfigMap>,
    secrets: BTreeMap<TenantSecret, Secret>,
}

/// Objects captured from runs of the Go operator; absent in a plain clone.
pub fn golden() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/golden");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("not compared: {} is absent", folder.display());
    None
}

pub fn objects(file: &str) -> Vec<Value> {
    let file = golden().unwrap().join(file);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_multiple(&text).unwrap()
}

pub fn captured(name: &str) -> Captured {
    let all = objects(&format!("{name}/management.yaml"));
    let of_kind = |kind: &str| all.iter().filter(|object| object["kind"] == kind).cloned().collect::<Vec<_>>();
    let secrets: Vec<Secret> =
        of_kind("Secret").into_iter().map(|secret| serde_json::from_value(secret).unwrap()).collect();
    let stores = objects("datastores.yaml");
    let tenant: Arc<TenantControlPlane> =
        Arc::new(serde_json::from_value(of_kind("TenantControlPlane").remove(0)).unwrap());
    let store = stores.into_iter().find(|store| store["metadata"]["name"] == tenant.spec.data_store.clone().unwrap());
    Captured {
        data_store: serde_json::from_value(store.unwrap()).unwrap(),
        deployment: serde_json::from_value(of_kind("Deployment").remove(0)).unwrap(),
        service: serde_json::from_value(of_kind("Service").remove(0)).unwrap(),
        config_maps: of_kind("ConfigMap").into_iter().map(|object| serde_json::from_value(object).unwrap()).collect(),
        secrets: TenantSecret::ALL
            .into_iter()
            .filter_map(|which| {
                let found = secrets.iter().find(|secret| secret.metadata.name.as_deref() == Some(&which.name(name)));
                Some((which, found?.clone()))
            })
            .collect(),
        tenant,
    }
}

impl Captured {
    pub fn resolved(&self) -> Resolved {
        let identity = datastore::recorded_identity(&self.secrets[&TenantSecret::DatastoreConfig]);
        let observed = Observed {
            data_store: Some(&self.data_store),
            chosen: None,
            deployment: Some(&self.deployment),
            recorded_identity: identity.as_ref(),
            ..Observed::default()
        };
        resolve::resolve(&self.tenant, &observed).unwrap()
    }

    pub fn exposed(&self, resolved: &Resolved) -> Exposed {
        Exposed::new(resolved, service::address(resolved, &self.service).unwrap().unwrap())
    }

    fn issued(&self) -> Issued {
        let key = issuance::value(&self.secrets[&TenantSecret::Ca], "ca.key");
        let digests = self.secrets.iter().map(|(which, secret)| (*which, issuance::digest(secret)));
        Issued { algorithm: PrivateKey::from_pem(key).unwrap().algorithm(), secrets: digests.collect() }
    }

    fn plan(&self) -> Plan {
        let resolved = self.resolved();
        let hash = |which| issuance::digest(&self.secrets[&which]).hash;
        let stored = Stored {
            schema: resolved.store.identity.schema.clone(),
            user: resolved.store.identity.user.clone(),
            set_up: true,
            config_checksum: hash(TenantSecret::DatastoreConfig),
            certificate_checksum: hash(TenantSecret::DatastoreCertificate),
        };
        let exposed = self.exposed(&resolved);
        control_plane::plan(&resolved, &exposed, &self.issued(), &stored, Some(&self.deployment))
    }
}

/// Takes out of `live` what the API server fills in and nobody wrote.
fn without_defaults(mut live: Value) -> Value {
    let mut drop = |pointer: &str, name: &str, default: Value| {
        let object = live.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
        assert_eq!(object.remove(name), Some(default), "{pointer}/{name}");
    };
    drop("/spec", "dnsPolicy", json!("ClusterFirst"));
    drop("/spec", "restartPolicy", json!("Always"));
    drop("/spec", "schedulerName", json!("default-scheduler"));
    drop("/spec", "securityContext", json!({}));
    drop("/spec", "serviceAccount", json!("default"));
    drop("/spec", "terminationGracePeriodSeconds", json!(30));
    let init = live["spec"].get("initContainers").map(|init| init.as_array().unwrap().clone());
    let mut init = init.unwrap_or_default();
    for container in &mut init {
        container.as_object_mut().unwrap().remove("resources");
    }
    let containers = live["spec"]["containers"].as_array_mut().unwrap();
    for container in containers.iter_mut().chain(&mut init) {
        let container = container.as_object_mut().unwrap();
        container.remove("terminationMessagePath");
        container.remove("terminationMessagePolicy");
        if container["imagePullPolicy"] == "IfNotPresent" {
            container.remove("imagePullPolicy");
        }
    }
    if !init.is_empty() {
        live["spec"]["initContainers"] = Value::Array(init);
    }
    for volume in live["spec"]["volumes"].as_array_mut().unwrap() {
        // The user's volumes are copied as the user wrote them.
        if volume["name"] == "extra" {
            assert_eq!(volume["configMap"].as_object_mut().unwrap().remove("defaultMode"), Some(json!(420)));
        }
    }
    live
}

#[test]
fn plans_the_pod_template_that_runs_for_captured_tenants_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let captured = captured(name);
        assert_eq!(captured.resolved().revision, TemplateRevision::Upstream2026, "{name}");
        let planned = captured.plan().deployment.spec.unwrap();
        let live = captured.deployment.spec.clone().unwrap();
        let template = serde_json::to_value(&planned.template).unwrap();
        pretty_equal(name, &template, &without_defaults(serde_json::to_value(&live.template).unwrap()));
        assert_eq!(planned.replicas, live.replicas, "{name}");
        assert_eq!(planned.selector, live.selector, "{name}");
        assert_eq!(planned.strategy, live.strategy, "{name}");
    }
}

#[test]
fn plans_the_metadata_that_captured_deployments_and_services_have_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let captured = captured(name);
        let planned = captured.plan().deployment.metadata;
        let mut live = captured.deployment.metadata.clone();
        live.annotations.as_mut().unwrap().remove("deployment.kubernetes.io/revision");
        assert_eq!(planned.labels, live.labels, "{name}");
        assert_eq!(planned.annotations.unwrap_or_default(), live.annotations.unwrap_or_default(), "{name}");
        assert_eq!(planned.owner_references, live.owner_references, "{name}");
        let planned = service::service(&captured.resolved(), Some(&captured.service)).metadata;
        assert_eq!(planned.labels, captured.service.metadata.labels, "{name}");
        assert_eq!(planned.annotations, captured.service.metadata.annotations, "{name}");
        assert_eq!(planned.owner_references, captured.service.metadata.owner_references, "{name}");
    }
}

#[test]
fn plans_the_service_that_captured_tenants_have_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let captured = captured(name);
        let planned = service::service(&captured.resolved(), Some(&captured.service)).spec.unwrap();
        let mut live = captured.service.spec.clone().unwrap();
        live.cluster_ip = None;
        live.cluster_ips = None;
        live.ip_families = None;
        live.ip_family_policy = None;
        live.internal_traffic_policy = None;
        live.external_traffic_policy = None;
        live.session_affinity = None;
        if planned.type_.as_deref() == Some("LoadBalancer") {
            live.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
        }
        pretty_equal(name, &serde_json::to_value(planned).unwrap(), &serde_json::to_value(live).unwrap());
    }
}

#[test]
fn plans_the_config_maps_of_captured_tenants_byte_for_byte_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let captured = captured(name);
        let planned = captured.plan().config_maps;
        assert_eq!(planned.len(), captured.config_maps.len(), "{name}");
        for config_map in planned {
            let same_name = |live: &&ConfigMap| live.metadata.name == config_map.metadata.name;
            let live = captured.config_maps.iter().find(same_name).unwrap();
            assert_eq!(config_map.data, live.data, "{name}");
            assert_eq!(config_map.metadata.annotations, live.metadata.annotations, "{name}");
            assert_eq!(config_map.metadata.labels, live.metadata.labels, "{name}");
        }
    }
}

#[test]
fn finds_nothing_to_issue_for_captured_tenants_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let moment = Moment { now, renew_before: SignedDuration::from_hours(24) };
    for name in TENANTS {
        let captured = captured(name);
        let resolved = captured.resolved();
        let exposed = captured.exposed(&resolved);
        for (which, secret) in &captured.secrets {
            // Without TLS the Go operator makes a Secret that nobody owns and no label finds.
            let nobodys = (name, *which) == ("nats", TenantSecret::DatastoreCertificate);
            assert_eq!(issuance::metadata_is_right(&resolved, *which, secret), !nobodys, "{name} {which:?}");
        }
        for which in TenantSecret::ROOTS {
            let faults = authorities::faults(which, &captured.secrets[&which], &moment);
            assert!(faults.is_empty(), "{name} {which:?}: {faults:?}");
        }
        let pem = |which| issuance::value(&captured.secrets[&which], authorities::pair_keys(which).0);
        let ca = Certificate::from_pem(pem(TenantSecret::Ca)).unwrap();
        let front_proxy_ca = Certificate::from_pem(pem(TenantSecret::FrontProxyCa)).unwrap();
        let signers = leaves::Authorities { ca: &ca, front_proxy_ca: &front_proxy_ca };
        let live = |which: TenantSecret| captured.secrets.get(&which);
        let algorithm = captured.issued().algorithm;
        let mut requests = leaves::missing(&resolved, &exposed, &signers, algorithm, live, &moment);
        let ca_pem = pem(TenantSecret::Ca);
        requests.extend(kubeconfigs::missing(&resolved, &exposed, &ca, ca_pem, algorithm, live, &moment));
        assert!(requests.is_empty(), "{name}: {requests:?}");
        let config = &captured.secrets[&TenantSecret::DatastoreConfig];
        let wanted = store_config::wanted(&resolved.store, Some(config), None, None, || "new".to_owned());
        assert!(wanted == store_config::Wanted::AsItIs, "{name}");
        if resolved.store.kine.is_some() {
            continue;
        }
        let store_ca = issuance::value(&captured.secrets[&TenantSecret::DatastoreCertificate], "ca.crt");
        let certificate = Certificate::from_pem(store_ca).unwrap();
        let authority = datastore::StoreAuthority { certificate: &certificate, pem: store_ca };
        let live = live(TenantSecret::DatastoreCertificate);
        let user = &resolved.store.identity.user;
        let request = datastore::missing(user, &authority, &[], algorithm, live, &moment).unwrap();
        assert!(request.is_none(), "{name}: {request:?}");
    }
}

#[test]
fn a_captured_tenant_without_its_status_keeps_schema_user_and_version_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let mut captured = captured(name);
        let before = captured.resolved();
        let planned = captured.plan();
        Arc::make_mut(&mut captured.tenant).status = None;
        let after = captured.resolved();
        assert_eq!(after.store.identity, before.store.identity, "{name}");
        assert_eq!(after.installed, before.installed, "{name}");
        assert_eq!(captured.plan(), planned, "{name}");
    }
}

#[test]
fn a_captured_certificate_carries_the_names_that_the_plan_lists_where_those_are_present() {
    if golden().is_none() {
        return;
    }
    for name in TENANTS {
        let captured = captured(name);
        let resolved = captured.resolved();
        let names = kubeadm_config::cert_sans(&resolved, &captured.exposed(&resolved));
        let config: Value = {
            let object =
                captured.config_maps.iter().find(|map| map.data.as_ref().unwrap().contains_key("ClusterConfiguration"));
            serde_json::from_str(&object.unwrap().data.as_ref().unwrap()["ClusterConfiguration"]).unwrap()
        };
        assert_eq!(json!(names), config["APIServer"]["CertSANs"], "{name}");
    }
}

fn pretty_equal(name: &str, ours: &Value, theirs: &Value) {
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let (ours, theirs) = (text(ours), text(theirs));
    let difference: Vec<_> =
        ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs).take(10).collect();
    assert!(ours == theirs, "{name}: ours and theirs differ, first in {difference:#?}\n{ours}");
}
