//! The owner's certificate authorities in the plan: what pods mount and search, and what becomes of bad ones.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PodSpec},
};
use kamaji_api::{Driver, contract::annotations::TEMPLATE_REVISION};
use kamaji_pki::{KeyAlgorithm, PrivateKey, self_signed};
use kamaji_plan::{
    component::kine::Tls,
    control_plane::names::TenantSecret,
    internal_ca::{InternalCa, mounted},
    issuance::authorities,
    rejection::Rejection,
    resolve::{self, Kine, Observed, Resolved},
};
use serde_json::{Value, json};

use crate::sample;

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn authority() -> String {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    String::from_utf8(self_signed(&authorities::profile(TenantSecret::Ca, now()), &key).unwrap()).unwrap()
}

fn config_map(data: &Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "authorities"}, "data": data})).unwrap()
}

/// The full tenant with the field set; the ConfigMap is as given.
fn resolved(
    change: impl FnOnce(&mut Value),
    source: Option<&ConfigMap>,
    live: Option<&Deployment>,
    copies: &[Arc<ConfigMap>],
) -> Result<Resolved, Rejection> {
    let mut spec = sample::full();
    spec["internalCACertificatesConfigMap"] = json!("authorities");
    spec["addons"]["konnectivity"] = json!({});
    change(&mut spec);
    let data_store = sample::data_store();
    let observed = Observed {
        data_store: Some(&data_store),
        chosen: Some("default"),
        deployment: live,
        internal_ca: source,
        internal_ca_copies: copies,
        now: now(),
        ..Observed::default()
    };
    resolve::resolve(&sample::tenant(&spec), &observed)
}

fn planned(source: &ConfigMap, live: Option<&Deployment>) -> (Deployment, ConfigMap) {
    let resolved = resolved(|_| {}, Some(source), live, &[]).unwrap();
    let plan = sample::plan(&resolved, live).1;
    let copy = plan.config_maps.into_iter().find(|found| found.immutable == Some(true)).unwrap();
    (plan.deployment, copy)
}

fn pod(deployment: &Deployment) -> PodSpec {
    deployment.spec.clone().unwrap().template.spec.unwrap()
}

/// Takes everything about the owner's authorities out of a pod.
fn stripped(mut pod: PodSpec, like: &PodSpec) -> PodSpec {
    let known = |name: &str| like.volumes.iter().flatten().find(|volume| volume.name == name).cloned();
    pod.volumes.as_mut().unwrap().retain(|volume| known(&volume.name).is_some());
    for volume in pod.volumes.iter_mut().flatten() {
        if volume.name.ends_with("-ca-certificates") {
            *volume = known(&volume.name).unwrap();
        }
    }
    for (container, like) in pod.containers.iter_mut().zip(&like.containers) {
        let paths: Vec<_> = like.volume_mounts.iter().flatten().map(|mount| &mount.mount_path).collect();
        container.volume_mounts.as_mut().unwrap().retain(|mount| paths.contains(&&mount.mount_path));
        container.env.as_mut().unwrap().retain(|variable| variable.name != "SSL_CERT_DIR");
        container.env = container.env.take().filter(|env| !env.is_empty());
    }
    pod
}

#[test]
fn the_field_adds_volumes_mounts_and_a_variable_and_changes_nothing_else() {
    let kine = Kine { image: "kine".to_owned(), tls: Some(Tls::ClientCertificate) };
    for (revision, kine) in [("R1", None), ("Upstream2026", None), ("R1", Some(&kine)), ("Upstream2026", Some(&kine))] {
        let source = config_map(&json!({"a": authority()}));
        let mut with = resolved(|_| {}, Some(&source), None, &[]).unwrap();
        with.revision = revision.parse().unwrap();
        if let Some(kine) = kine {
            with.store.driver = Driver::PostgreSql;
            with.store.kine = Some(kine.clone());
        }
        let mut without = with.clone();
        without.internal_ca = None;
        let (with, without) = (sample::plan(&with, None).1, sample::plan(&without, None).1);
        let (with, without) = (pod(&with.deployment), pod(&without.deployment));
        let own = |pod: &PodSpec| pod.containers.iter().filter(|c| c.name.starts_with('k')).count();
        assert_eq!(own(&with), if kine.is_some() { 5 } else { 4 });
        let mut plain = with.clone();
        plain.containers.retain(|container| container.name.starts_with('k'));
        let mut like = without.clone();
        like.containers.retain(|container| container.name.starts_with('k'));
        assert_eq!(stripped(plain, &like), like, "{revision}");
        let others = |pod: &PodSpec| {
            let others = pod.containers.iter().filter(|container| !container.name.starts_with('k'));
            others.cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&with), others(&without), "additional containers opt in by themselves");
    }
}

#[test]
fn the_copy_is_immutable_ours_and_named_by_its_content() {
    let (deployment, copy) = planned(&config_map(&json!({"ca.crt": authority()})), None);
    assert_eq!(mounted(&deployment), copy.metadata.name.as_deref());
    assert_eq!(copy.metadata.labels.unwrap()["kamaji.clastix.io/component"], "internal-ca-certificates");
    assert_eq!(copy.metadata.owner_references.unwrap()[0].name, "one");
    assert_eq!(copy.data.unwrap().keys().collect::<Vec<_>>(), ["internal-ca.crt"]);
}

#[test]
fn a_bad_config_map_leaves_a_running_tenant_as_it_is_and_keeps_a_new_one_waiting() {
    let (live, copy) = planned(&config_map(&json!({"a": authority()})), None);
    let copies = [Arc::new(copy.clone())];
    for bad in [None, Some(config_map(&json!({}))), Some(config_map(&json!({"a": "nothing"})))] {
        let kept = resolved(|_| {}, bad.as_ref(), Some(&live), &copies).unwrap();
        let trouble = kept.internal_ca.as_ref().and_then(InternalCa::trouble).unwrap();
        assert!(trouble.message.ends_with("the tenant goes on with the certificates that it has"), "{trouble:?}");
        let plan = sample::plan(&kept, Some(&live)).1;
        assert_eq!(pod(&plan.deployment), pod(&live));
        assert!(plan.config_maps.contains(&copy), "the copy is kept up");
        // Without its Deployment the tenant comes back with the copy that is left.
        let again = resolved(|_| {}, bad.as_ref(), None, &copies).unwrap();
        assert_eq!(mounted(&sample::plan(&again, None).1.deployment), mounted(&live));

        let rejection = resolved(|_| {}, bad.as_ref(), None, &[]).unwrap_err();
        assert_eq!(rejection.field, "spec.internalCACertificatesConfigMap");
        assert!(rejection.message.contains("\"authorities\""), "{rejection}");
    }
}

#[test]
fn a_running_tenant_without_a_good_set_goes_on_without() {
    let mut before = resolved(|_| {}, Some(&config_map(&json!({"a": authority()}))), None, &[]).unwrap();
    before.internal_ca = None;
    let live = sample::plan(&before, None).1.deployment;
    let kept = resolved(|_| {}, None, Some(&live), &[]).unwrap();
    let trouble = kept.internal_ca.as_ref().and_then(InternalCa::trouble).unwrap();
    assert_eq!(trouble.reason, "InternalCANotFound");
    assert!(trouble.message.ends_with("the tenant goes on without"), "{trouble:?}");
    assert_eq!(pod(&sample::plan(&kept, Some(&live)).1.deployment), pod(&live));
}

#[test]
fn a_copy_that_is_not_what_its_name_says_is_not_written_again() {
    let (live, mut copy) = planned(&config_map(&json!({"a": authority()})), None);
    copy.data = Some([("a".to_owned(), authority())].into());
    let kept = resolved(|_| {}, None, Some(&live), &[Arc::new(copy)]).unwrap();
    let plan = sample::plan(&kept, Some(&live)).1;
    assert!(plan.config_maps.iter().all(|found| found.immutable.is_none()));
    assert_eq!(mounted(&plan.deployment), mounted(&live));
}

#[test]
fn a_value_that_somebody_else_gave_the_variable_stays_and_ours_is_kept() {
    let source = config_map(&json!({"a": authority()}));
    let (mut live, _) = planned(&source, None);
    live.metadata.annotations = Some([(TEMPLATE_REVISION.to_owned(), "R1".to_owned())].into());
    let variables = |deployment: &Deployment| {
        let all = pod(deployment).containers.into_iter().flat_map(|container| container.env.unwrap_or_default());
        all.filter(|variable| variable.name == "SSL_CERT_DIR").count()
    };
    assert_eq!(variables(&planned(&source, Some(&live)).0), 4);
    let containers = &mut live.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers;
    let theirs = containers.iter_mut().find(|container| container.name == "kube-apiserver").unwrap();
    for variable in theirs.env.iter_mut().flatten() {
        variable.value = Some("/mine".to_owned());
    }
    assert_eq!(variables(&planned(&source, Some(&live)).0), 3);
}

#[test]
fn names_and_paths_are_taken_with_the_field_only() {
    let source = config_map(&json!({"a": authority()}));
    let volume = |spec: &mut Value| {
        spec["controlPlane"]["deployment"]["additionalVolumes"] =
            json!([{"name": "internal-ca-certificates", "emptyDir": {}}]);
        spec["controlPlane"]["deployment"]["additionalVolumeMounts"] = Value::Null;
        spec["controlPlane"]["deployment"]["additionalContainers"] = Value::Null;
        spec["controlPlane"]["deployment"]["additionalInitContainers"] = Value::Null;
    };
    let rejection = resolved(volume, Some(&source), None, &[]).unwrap_err();
    assert_eq!(rejection.field, "spec.controlPlane.deployment.additionalVolumes[0].name");
    let without = |change: &dyn Fn(&mut Value)| {
        resolved(
            |spec| {
                change(spec);
                spec["internalCACertificatesConfigMap"] = Value::Null;
            },
            None,
            None,
            &[],
        )
        .map(|_| ())
    };
    without(&volume).unwrap();
    for path in ["/etc/kamaji/internal-ca-certificates", "/usr/share/ca-certificates"] {
        let mount = |spec: &mut Value| {
            volume(spec);
            spec["controlPlane"]["deployment"]["additionalVolumes"] = json!([{"name": "extra", "emptyDir": {}}]);
            spec["controlPlane"]["deployment"]["additionalVolumeMounts"] =
                json!({"scheduler": [{"name": "extra", "mountPath": path}]});
        };
        let rejection = resolved(mount, Some(&source), None, &[]).unwrap_err();
        assert!(rejection.field.ends_with("scheduler[0].mountPath"), "{rejection}");
        without(&mount).unwrap();
    }
}

#[test]
fn a_name_that_no_config_map_has_is_refused() {
    for name in ["a/b", "A", "..", "-a", "a b"] {
        let rejection =
            resolved(|spec| spec["internalCACertificatesConfigMap"] = json!(name), None, None, &[]).unwrap_err();
        assert!(rejection.message.contains("cannot be the name of a ConfigMap"), "{rejection}");
    }
    assert!(resolved(|spec| spec["internalCACertificatesConfigMap"] = json!(""), None, None, &[]).is_ok());
}
