use serde_json::json;

use super::super::{
    claim::{Resize, resize},
    data_store, plan,
    record::Record,
};
use super::resolved;

#[test]
fn one_ephemeral_member() {
    let resolved = resolved(&json!({}));
    let record = Record::founding(&resolved, 1);
    insta::assert_yaml_snapshot!("one_ephemeral_stateful_set", plan(&resolved, &record, None).stateful_set);
    insta::assert_yaml_snapshot!("one_ephemeral_record", record.config_map(&resolved));
}

#[test]
fn three_persistent_members() {
    let resolved = resolved(&json!({
        "replicas": 3, "quota": "4Gi", "image": "quay.io/coreos/etcd:v3.6.5",
        "storage": {"persistent": {"size": "10Gi", "storageClassName": "fast"}},
        "resources": {"requests": {"cpu": "100m"}},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "nodeSelector": {"pool": "etcd"},
    }));
    let record = Record::founding(&resolved, 3);
    let super::super::Plan { service, disruption_budget, stateful_set } = plan(&resolved, &record, None);
    insta::assert_yaml_snapshot!("three_persistent_stateful_set", stateful_set);
    insta::assert_yaml_snapshot!("three_persistent_service", service);
    insta::assert_yaml_snapshot!("three_persistent_disruption_budget", disruption_budget);
    insta::assert_yaml_snapshot!("three_persistent_record", record.config_map(&resolved));
    insta::assert_yaml_snapshot!("three_persistent_data_store", data_store::data_store(&resolved, 3, None));
}

#[test]
fn keeps_claim_templates_that_cannot_change() {
    let small = resolved(&json!({"storage": {"persistent": {"size": "4Gi"}}}));
    let live = plan(&small, &Record::founding(&small, 1), None).stateful_set;
    let large = resolved(&json!({"storage": {"persistent": {"size": "8Gi"}}}));
    let planned = plan(&large, &Record::founding(&large, 1), Some(&live)).stateful_set;
    assert_eq!(planned.spec.unwrap().volume_claim_templates, live.spec.unwrap().volume_claim_templates);
}

#[test]
fn rolls_no_pod_whose_end_is_the_end_of_the_data() {
    let strategy = |spec, size| {
        let resolved = resolved(&spec);
        let set = plan(&resolved, &Record { size, ..Record::founding(&resolved, 1) }, None).stateful_set;
        set.spec.unwrap().update_strategy.unwrap().type_.unwrap()
    };
    assert_eq!(strategy(json!({}), 1), "OnDelete");
    assert_eq!(strategy(json!({"replicas": 3}), 3), "RollingUpdate");
    assert_eq!(strategy(json!({"storage": {"persistent": {"size": "4Gi"}}}), 1), "RollingUpdate");
}

#[test]
fn endpoints_grow_once_and_never_shrink() {
    let one = resolved(&json!({}));
    let three = resolved(&json!({"replicas": 3}));
    let count = |store: &kamaji_api::DataStore| store.spec.endpoints.len();
    let first = data_store::data_store(&one, 1, None);
    let growing = data_store::data_store(&three, 2, Some(&first));
    let grown = data_store::data_store(&three, 3, Some(&growing));
    let replacing = data_store::data_store(&three, 2, Some(&grown));
    assert_eq!([count(&first), count(&growing), count(&grown), count(&replacing)], [1, 1, 3, 3]);
}

#[test]
fn a_record_survives_being_written_and_read() {
    let resolved = resolved(&json!({"replicas": 3}));
    let mut record = Record::founding(&resolved, 3);
    assert_eq!(Record::read(&record.config_map(&resolved)), Some(record.clone()));
    record.formed = true;
    record.authentication = true;
    record.volumes = [(0, "a".to_owned()), (2, "c".to_owned())].into();
    assert_eq!(Record::read(&record.config_map(&resolved)), Some(record.clone()));
    let mut broken = record.config_map(&resolved);
    broken.data.as_mut().unwrap().insert("size".to_owned(), "many".to_owned());
    assert_eq!(Record::read(&broken), None);
}

#[test]
fn claims_grow_and_never_shrink() {
    let of = |size: &str| resolved(&json!({"storage": {"persistent": {"size": size}}}));
    let set = plan(&of("8Gi"), &Record::founding(&of("8Gi"), 1), None).stateful_set;
    let live = set.spec.unwrap().volume_claim_templates.unwrap().remove(0);
    assert_eq!(resize(&of("8192Mi"), &live), Resize::None);
    assert_eq!(resize(&resolved(&json!({})), &live), Resize::None);
    let Resize::Grow(grown) = resize(&of("10Gi"), &live) else { panic!() };
    assert_eq!(grown.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0, "10Gi");
    let Resize::Refused(rejection) = resize(&of("4Gi"), &live) else { panic!() };
    assert_eq!(rejection.field, "spec.storage.persistent.size");
}
