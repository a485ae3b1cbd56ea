use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kamaji_api::contract::annotations::{DATA_STORE_SELECTOR, TENANT_LIMIT};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::{
    sample::{annotate, label, named, nats, place, selecting, store, tenant, using},
    *,
};

type Tenants = [Arc<TenantControlPlane>];

fn chosen(
    tenant: &TenantControlPlane,
    present: Option<&str>,
    stores: &[DataStore],
    tenants: &Tenants,
    default: Option<&str>,
) -> Result<Choice, Rejection> {
    let data_stores: Vec<Arc<DataStore>> = stores.iter().cloned().map(Arc::new).collect();
    choose(tenant, present, &Known { data_stores: &data_stores, tenants, default })
}

/// Among these DataStores, with nobody else there and a default that would do.
fn alone(tenant: &TenantControlPlane, stores: &[DataStore]) -> Result<Choice, Rejection> {
    chosen(tenant, None, stores, &[], Some("default"))
}

fn without_record(data_store: &str) -> Choice {
    Choice { data_store: data_store.to_owned(), record: None }
}

fn with_record(data_store: &str, tenant: &TenantControlPlane) -> Choice {
    Choice { data_store: data_store.to_owned(), record: Some(Place::of(tenant)) }
}

fn gold(name: &str) -> DataStore {
    let mut data_store = store(name, &[]);
    label(&mut data_store, "tier", "gold");
    data_store
}

fn gold_with_limit(name: &str, limit: &str) -> DataStore {
    let mut data_store = gold(name);
    annotate(&mut data_store, TENANT_LIMIT.to_owned(), limit.to_owned());
    data_store
}

fn selector() -> Value {
    json!({"matchLabels": {"tier": "gold"}})
}

fn unready(mut data_store: DataStore) -> DataStore {
    data_store.status = None;
    data_store
}

#[test]
fn a_tenant_stays_where_it_is() {
    let mut other = gold("b");
    let mut subject = selecting("one", selector());
    place(&mut other, &subject);
    Arc::make_mut(&mut subject).spec.data_store = Some("b".to_owned());
    let full = store("a", &[(TENANT_LIMIT, "0")]);
    assert_eq!(chosen(&subject, Some("a"), &[full, other], &[], Some("b")), Ok(without_record("a")));
    assert_eq!(chosen(&tenant("one"), Some("gone"), &[], &[], None), Ok(without_record("gone")));
}

#[test]
fn a_lost_record_of_a_choice_is_written_again_whatever_the_room() {
    let subject = selecting("one", selector());
    let mut home = gold_with_limit("a", "0");
    assert_eq!(chosen(&subject, Some("a"), std::slice::from_ref(&home), &[], None), Ok(with_record("a", &subject)));
    place(&mut home, &subject);
    assert_eq!(chosen(&subject, Some("a"), &[home], &[], None), Ok(without_record("a")));
}

#[test]
fn a_named_datastore_wins_over_record_selector_and_default() {
    let mut subject = selecting("one", selector());
    Arc::make_mut(&mut subject).spec.data_store = Some("c".to_owned());
    let mut recorded = gold("a");
    place(&mut recorded, &subject);
    assert_eq!(alone(&subject, &[recorded, gold("b"), store("c", &[])]), Ok(without_record("c")));
    assert_eq!(alone(&subject, &[]), Ok(without_record("c")), "that it does not exist is told by resolve");
    Arc::make_mut(&mut subject).spec.data_store = Some(String::new());
    assert_eq!(alone(&subject, &[gold("b")]), Ok(with_record("b", &subject)), "an empty name is none");
}

#[test]
fn without_name_selector_and_limit_the_default_is_taken_as_it_always_was() {
    let subject = tenant("one");
    assert_eq!(alone(&subject, &[gold("a"), store("default", &[])]), Ok(without_record("default")));
    assert_eq!(alone(&subject, &[]), Ok(without_record("default")));
    for none in [None, Some("")] {
        let refused = chosen(&subject, None, &[gold("a")], &[], none).unwrap_err();
        assert_eq!((refused.reason, refused.field.as_str()), ("DataStoreNotChosen", "spec.dataStore"));
    }
}

#[test]
fn a_limit_holds_for_named_and_default_datastores() {
    for (subject, name) in [(named("one", "a"), "a"), (tenant("one"), "default")] {
        let mut limited = store(name, &[(TENANT_LIMIT, "1")]);
        assert_eq!(alone(&subject, std::slice::from_ref(&limited)), Ok(with_record(name, &subject)));
        let mut own = limited.clone();
        place(&mut own, &subject);
        assert_eq!(alone(&subject, &[own]), Ok(without_record(name)), "it has its place");
        place(&mut limited, &tenant("other"));
        let refused = alone(&subject, std::slice::from_ref(&limited)).unwrap_err();
        assert_eq!((refused.reason, refused.field.as_str()), ("DataStoreFull", "spec.dataStore"));
        assert!(refused.message.contains(&format!("\"{name}\"")) && refused.message.contains("raise"), "{refused}");
        let user = using("one", name);
        let mut user = TenantControlPlane::clone(&user);
        user.spec = subject.spec.clone();
        assert_eq!(alone(&user, &[limited]), Ok(without_record(name)), "it uses the store already");
    }
}

#[test]
fn a_second_tenant_that_names_a_nats_store_is_refused() {
    let (first, second) = (named("first", "a"), named("second", "a"));
    assert_eq!(alone(&first, &[nats("a", &[])]), Ok(with_record("a", &first)));
    let others = [using("first", "a")];
    let refused = chosen(&second, None, &[nats("a", &[])], &others, None).unwrap_err();
    assert!(refused.reason == "DataStoreFull" && refused.message.contains("NATS"), "{refused}");
}

#[test]
fn the_store_with_most_room_is_chosen() {
    let subject = selecting("one", selector());
    let limited = [gold_with_limit("a", "2"), gold_with_limit("b", "3"), gold_with_limit("c", "3")];
    assert_eq!(alone(&subject, &limited), Ok(with_record("b", &subject)), "the first by name of equals");
    let mut fewer = limited.clone();
    fewer[2] = gold_with_limit("c", "4");
    place(&mut fewer[2], &tenant("other"));
    assert_eq!(alone(&subject, &fewer), Ok(with_record("b", &subject)), "the emptier of equals");
    let unlimited = [limited[1].clone(), gold("z")];
    assert_eq!(alone(&subject, &unlimited), Ok(with_record("z", &subject)), "no limit is most room");
    let used = [using("other", "x")];
    let emptier = chosen(&subject, None, &[gold("x"), gold("y")], &used, None);
    assert_eq!(emptier, Ok(with_record("y", &subject)), "tenants without a record count");
}

#[test]
fn stores_that_cannot_take_a_tenant_are_passed_over() {
    let subject = selecting("one", selector());
    let mut going = gold("b");
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let mut taken = nats("e", &[]);
    label(&mut taken, "tier", "gold");
    place(&mut taken, &tenant("other"));
    let stores =
        [store("0", &[]), unready(gold("a")), going, gold_with_limit("c", "0"), gold_with_limit("d", "-1"), taken];
    let refused = alone(&subject, &stores).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), ("NoDataStoreFits", "spec.dataStoreSelector"));
    assert!(refused.message.contains("matching: 5, of these not ready: 2, full: 3"), "{refused}");
    let mut with_one_more = stores.to_vec();
    with_one_more.push(gold_with_limit("f", "1"));
    assert_eq!(alone(&subject, &with_one_more), Ok(with_record("f", &subject)));
}

#[test]
fn a_selector_that_matches_nothing_never_ends_on_the_default() {
    let refused = alone(&selecting("one", selector()), &[store("default", &[])]).unwrap_err();
    assert!(refused.reason == "NoDataStoreFits" && refused.message.contains("no DataStore has labels"), "{refused}");
}

#[test]
fn an_unreadable_selector_is_refused_where_it_is_needed() {
    let subject =
        selecting("one", json!({"matchExpressions": [{"key": "tier", "operator": "Is", "values": ["gold"]}]}));
    let refused = alone(&subject, &[gold("a")]).unwrap_err();
    assert!(refused.reason == "InvalidSpec" && refused.field.starts_with("spec.dataStoreSelector"), "{refused}");
    let mut by_annotation = TenantControlPlane::clone(&tenant("two"));
    by_annotation.metadata.annotations = Some([(DATA_STORE_SELECTOR.to_owned(), "tier=gold".to_owned())].into());
    let refused = alone(&by_annotation, &[gold("a")]).unwrap_err();
    assert_eq!((refused.reason, refused.field.as_str()), ("InvalidSpec", "spec.dataStoreSelector"));
    for subject in [&*subject, &by_annotation] {
        let mut home = gold("a");
        place(&mut home, subject);
        assert_eq!(alone(subject, &[home]), Ok(without_record("a")), "what was chosen stays");
        let stays = chosen(subject, Some("a"), &[gold("a")], &[], None).map(|choice| choice.data_store);
        assert_eq!(stays.as_deref(), Ok("a"));
    }
}

#[test]
fn the_selector_may_be_an_annotation() {
    let mut subject = TenantControlPlane::clone(&tenant("one"));
    subject.metadata.annotations = Some([(DATA_STORE_SELECTOR.to_owned(), selector().to_string())].into());
    assert_eq!(alone(&subject, &[store("default", &[]), gold("a")]), Ok(with_record("a", &subject)));
}

#[test]
fn of_two_records_the_first_usable_one_counts() {
    let subject = selecting("one", selector());
    let mut stores = [gold("c"), unready(gold("a")), gold("b")];
    for data_store in &mut stores {
        place(data_store, &subject);
    }
    assert_eq!(alone(&subject, &stores), Ok(without_record("b")));
    let unready = stores.map(unready);
    assert_eq!(alone(&subject, &unready), Ok(without_record("a")));
}

/// What a tenant of the property tests asks for.
#[derive(Clone, Debug)]
enum Asks {
    Default,
    Name(usize),
    Gold,
    Any,
}

fn asks() -> impl Strategy<Value = Asks> {
    prop_oneof![Just(Asks::Default), (0..4_usize).prop_map(Asks::Name), Just(Asks::Gold), Just(Asks::Any)]
}

fn asking(index: usize, asks: &Asks) -> Arc<TenantControlPlane> {
    let name = format!("t{index}");
    match asks {
        Asks::Default => tenant(&name),
        Asks::Name(store) => named(&name, &format!("s{store}")),
        Asks::Gold => selecting(&name, selector()),
        Asks::Any => selecting(&name, json!({})),
    }
}

/// Looks of a DataStore that change in its life: readiness, tier, limit.
type Looks = (bool, bool, Option<u8>);

fn looks() -> impl Strategy<Value = Looks> {
    (any::<bool>(), any::<bool>(), option::weighted(0.8, 0..5_u8))
}

fn dress(data_store: &mut DataStore, (ready, gold, limit): Looks) {
    data_store.status.get_or_insert_default().ready = ready;
    label(data_store, "tier", if gold { "gold" } else { "iron" });
    data_store.metadata.annotations.get_or_insert_default().remove(TENANT_LIMIT);
    if let Some(limit) = limit {
        annotate(data_store, TENANT_LIMIT.to_owned(), limit.to_string());
    }
}

fn dressed(looks: &[Looks], is_nats: bool) -> Vec<DataStore> {
    let mut all: Vec<DataStore> = (0..looks.len()).map(|index| store(&format!("s{index}"), &[])).collect();
    if let (true, Some(first)) = (is_nats, all.first_mut()) {
        *first = nats("s0", &[]);
    }
    for (data_store, looks) in all.iter_mut().zip(looks) {
        dress(data_store, *looks);
    }
    all
}

/// Carries a choice out, as the controller does: the record first, then the tenant begins; the status of some is late.
fn settle(choice: &Choice, stores: &mut [DataStore], subject: &mut Arc<TenantControlPlane>, reports: bool) {
    if let (Some(record), Some(data_store)) =
        (&choice.record, stores.iter_mut().find(|data_store| name_of(data_store) == choice.data_store))
    {
        annotate(data_store, record.key(), record.value());
    }
    if reports {
        let status = Arc::make_mut(subject).status.get_or_insert_default();
        status.storage.data_store_name = Some(choice.data_store.clone());
    }
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_and_no_place_is_left_empty(
        looks in vec(looks(), 1..4),
        is_nats in any::<bool>(),
        tenants in vec((asks(), any::<bool>()), 1..24),
    ) {
        let mut stores = dressed(&looks, is_nats);
        let mut living: Vec<_> = tenants.iter().enumerate().map(|(index, (asks, _))| asking(index, asks)).collect();
        for (index, (_, reports)) in tenants.iter().enumerate() {
            let mut subject = Arc::clone(&living[index]);
            match chosen(&subject, None, &stores, &living, Some("s0")) {
                Ok(choice) => settle(&choice, &mut stores, &mut subject, *reports),
                Err(refused) if refused.reason == "DataStoreFull" => {
                    let wanted = subject.spec.data_store.as_deref().unwrap_or("s0");
                    let full = stores.iter().find(|data_store| name_of(data_store) == wanted).unwrap();
                    prop_assert_eq!(Some(occupied(full, &living)), room::capacity(full));
                }
                Err(refused) => {
                    prop_assert_eq!(refused.reason, "NoDataStoreFits");
                    let selector = Selector::read(subject.spec.data_store_selector.clone().unwrap()).unwrap();
                    for data_store in stores.iter().filter(|it| selector.selects(it.metadata.labels.as_ref())) {
                        let is_full = room::room(data_store, &living) == Room::Places(0);
                        prop_assert!(is_full || !is_usable(data_store), "{} has room", name_of(data_store));
                    }
                }
            }
            living[index] = subject;
            for data_store in &stores {
                if let Some(capacity) = room::capacity(data_store) {
                    prop_assert!(occupied(data_store, &living) <= capacity, "{} has too many", name_of(data_store));
                }
            }
        }
    }

    #[test]
    fn what_was_chosen_stays_chosen(
        before in vec(looks(), 1..4),
        after in vec(looks(), 3),
        tenants in vec((prop_oneof![Just(Asks::Gold), Just(Asks::Any)], any::<bool>()), 1..12),
        default in option::of(Just("s0")),
    ) {
        let mut stores = dressed(&before, false);
        let mut living: Vec<_> = tenants.iter().enumerate().map(|(index, (asks, _))| asking(index, asks)).collect();
        let mut choices = Vec::new();
        for (index, (_, reports)) in tenants.iter().enumerate() {
            let mut subject = Arc::clone(&living[index]);
            if let Ok(choice) = chosen(&subject, None, &stores, &living, default) {
                settle(&choice, &mut stores, &mut subject, *reports);
                choices.push((index, choice.data_store));
            }
            living[index] = subject;
        }
        for (data_store, looks) in stores.iter_mut().zip(after) {
            dress(data_store, looks);
        }
        for (index, data_store) in choices {
            let subject = &living[index];
            prop_assert_eq!(chosen(subject, None, &stores, &living, default), Ok(without_record(&data_store)));
            prop_assert_eq!(chosen(subject, Some(&data_store), &stores, &living, default), Ok(without_record(&data_store)));
            let mut unselecting = TenantControlPlane::clone(subject);
            unselecting.spec.data_store_selector = None;
            prop_assert_eq!(chosen(&unselecting, None, &stores, &living, default), Ok(without_record(&data_store)));
        }
        for data_store in &stores {
            prop_assert_eq!(stale(data_store, &living), []);
        }
    }
}
