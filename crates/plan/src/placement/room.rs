//! How many tenants a DataStore takes, and how many it has.

use std::collections::BTreeSet;

use kamaji_api::{DataStore, Driver, TenantControlPlane, contract::annotations::TENANT_LIMIT};

use super::place::Place;
use crate::{claim, rejection::Rejection, reservation::Reservation};

/// As much of an annotation as a sentence quotes. A condition has a length.
const QUOTED: usize = 40;

/// How many more tenants a DataStore takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// So many.
    Places(usize),
    /// Any number.
    Unlimited,
}

/// The limit of tenants that is written on a DataStore; `None` when there is none.
///
/// # Errors
/// When the annotation is no whole number, as a sentence. Then the limit is 0, never none.
pub fn limit(data_store: &DataStore) -> Result<Option<usize>, Rejection> {
    let annotations = data_store.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(TENANT_LIMIT)) else { return Ok(None) };
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let quoted: String = text.chars().take(QUOTED).collect();
        let message = format!(
            "{quoted:?} is no whole number of tenants; until it is, the DataStore takes no further tenant; correct the \
             annotation or remove it"
        );
        return Err(Rejection::new("TenantLimitInvalid", format!("metadata.annotations[{TENANT_LIMIT}]"), message));
    }
    // All digits: what cannot be read is too large.
    Ok(Some(digits.parse().unwrap_or(usize::MAX)))
}

/// What is wrong with a DataStore's annotations, for its condition.
pub fn fault(data_store: &DataStore) -> Option<Rejection> {
    limit(data_store).err()
}

/// How many tenants a DataStore takes in all; `None` when any number.
pub(super) fn capacity(data_store: &DataStore) -> Option<usize> {
    let limit = limit(data_store).unwrap_or(Some(0));
    match data_store.spec.driver {
        // The users of one account are not kept apart.
        Driver::Nats => Some(limit.map_or(1, |limit| limit.min(1))),
        _ => limit,
    }
}

/// How many tenants have a place on a DataStore or use it; one that does both counts once.
pub fn occupied<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> usize {
    occupants(data_store, tenants).len()
}

/// Their UIDs.
fn occupants<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> BTreeSet<String> {
    let name = data_store.metadata.name.as_deref();
    let users = tenants.iter().map(AsRef::as_ref).filter(|tenant| claim::used_store(tenant).as_deref() == name);
    let users = users.filter_map(|tenant| tenant.metadata.uid.clone());
    Place::all(data_store).into_iter().map(|place| place.uid).chain(users).collect()
}

/// How many more tenants a DataStore takes.
pub(super) fn room<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> Room {
    let Some(capacity) = capacity(data_store) else { return Room::Unlimited };
    let mut occupants = occupants(data_store, tenants);
    if data_store.spec.driver == Driver::Nats {
        // What a tenant left there takes the account until it is erased.
        occupants.extend(Reservation::all(data_store).into_iter().map(|left| left.uid));
    }
    Room::Places(capacity.saturating_sub(occupants.len()))
}

/// Says to a tenant that a DataStore takes no further one.
pub(super) fn full<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> Rejection {
    let name = data_store.metadata.name.as_deref().unwrap_or_default();
    let message = match limit(data_store) {
        Err(_) => format!(
            "the DataStore \"{name}\" takes no further tenant, because its annotation {TENANT_LIMIT} is no whole number; \
             correct the annotation, or choose another DataStore"
        ),
        Ok(limit) if data_store.spec.driver == Driver::Nats && limit != Some(0) => format!(
            "the DataStore \"{name}\" takes one tenant, because NATS does not keep the users of one account apart, and \
             that place is taken; choose another DataStore"
        ),
        Ok(limit) => format!(
            "the DataStore \"{name}\" is full: it has {} tenants, and its annotation {TENANT_LIMIT} allows {}; raise the \
             limit, or choose another DataStore",
            occupied(data_store, tenants),
            limit.unwrap_or_default()
        ),
    };
    Rejection::new("DataStoreFull", "spec.dataStore", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::sample::{named, nats, place, reserve, store, tenant, using};

    fn limited(text: &str) -> DataStore {
        store("a", &[(TENANT_LIMIT, text)])
    }

    #[test]
    fn a_whole_number_is_a_limit_and_no_annotation_is_none() {
        assert_eq!(limit(&store("a", &[])), Ok(None));
        for (text, expected) in [("0", 0), ("10", 10), (" 7\n", 7), ("99999999999999999999999", usize::MAX)] {
            assert_eq!(limit(&limited(text)), Ok(Some(expected)), "{text:?}");
            assert_eq!(fault(&limited(text)), None);
        }
    }

    #[test]
    fn what_is_no_whole_number_is_told_and_lets_nobody_in() {
        let long = "x".repeat(100_000);
        for text in ["", " ", "-1", "+1", "1.5", "1e3", "ten", "∞", "١", &long] {
            let data_store = limited(text);
            let told = fault(&data_store).unwrap_or_else(|| panic!("{text:?} is no fault"));
            assert!(told.to_string().contains(TENANT_LIMIT) && told.message.contains("remove it"), "{told}");
            assert!(told.message.len() < 1000, "it has to fit into a condition");
            assert_eq!(room(&data_store, &[tenant("one")]), Room::Places(0));
            assert_eq!(full(&data_store, &[tenant("one")]).reason, "DataStoreFull");
        }
    }

    #[test]
    fn a_tenant_with_a_place_that_it_uses_counts_once() {
        let mut data_store = limited("5");
        let tenants =
            [using("both", "a"), using("uses", "a"), using("elsewhere", "b"), tenant("placed"), named("asks", "a")];
        place(&mut data_store, &tenants[0]);
        place(&mut data_store, &tenants[3]);
        assert_eq!(occupied(&data_store, &tenants), 3);
        assert_eq!(room(&data_store, &tenants), Room::Places(2));
        place(&mut data_store, &tenant("gone"));
        assert_eq!(occupied(&data_store, &tenants), 4, "a record counts until it is removed");
    }

    #[test]
    fn more_tenants_than_a_lowered_limit_leave_no_room() {
        let mut data_store = limited("1");
        place(&mut data_store, &tenant("one"));
        place(&mut data_store, &tenant("two"));
        let none: [std::sync::Arc<TenantControlPlane>; 0] = [];
        assert_eq!(room(&data_store, &none), Room::Places(0));
        let sentence = full(&data_store, &none).to_string();
        assert!(sentence.contains("has 2 tenants") && sentence.contains("allows 1"), "{sentence}");
        assert!(Room::Unlimited > Room::Places(usize::MAX));
    }

    #[test]
    fn a_nats_store_takes_one_tenant_and_none_beside_what_another_left() {
        let none: [std::sync::Arc<TenantControlPlane>; 0] = [];
        let one = [using("one", "a")];
        assert_eq!((room(&nats("a", &[]), &none), room(&nats("a", &[]), &one)), (Room::Places(1), Room::Places(0)));
        assert_eq!(room(&nats("a", &[(TENANT_LIMIT, "9")]), &one), Room::Places(0));
        let closed = nats("a", &[(TENANT_LIMIT, "0")]);
        assert_eq!(room(&closed, &none), Room::Places(0));
        assert!(full(&closed, &none).message.contains(TENANT_LIMIT));
        assert!(full(&nats("a", &[]), &one).message.contains("NATS"));
        let mut left = nats("a", &[]);
        reserve(&mut left, &tenant("gone"));
        assert_eq!(room(&left, &none), Room::Places(0));
        let mut shared = store("a", &[(TENANT_LIMIT, "1")]);
        reserve(&mut shared, &tenant("gone"));
        assert_eq!(room(&shared, &none), Room::Places(1), "others keep tenants apart");
    }
}
