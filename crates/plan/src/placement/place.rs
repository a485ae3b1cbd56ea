//! A tenant's place on a DataStore, as it is written there: one annotation for each tenant.

use kamaji_api::{DataStore, TenantControlPlane, contract::annotations::PLACED_PREFIX};

use crate::claim;

/// The place of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// UID of the tenant.
    pub uid: String,
    /// Its `namespace/name`: for people, and to look it up before its record is removed.
    pub tenant: String,
}

impl Place {
    /// A place for `tenant`.
    pub fn of(tenant: &TenantControlPlane) -> Self {
        let metadata = &tenant.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        Self { uid: part(&metadata.uid), tenant: format!("{}/{}", part(&metadata.namespace), part(&metadata.name)) }
    }

    /// Key of the annotation.
    pub fn key(&self) -> String {
        format!("{PLACED_PREFIX}{}", self.uid)
    }

    /// Value of the annotation.
    pub fn value(&self) -> String {
        self.tenant.clone()
    }

    /// The places on a DataStore, by UID. The key alone takes a place, so that an edited value frees none.
    pub fn all(data_store: &DataStore) -> Vec<Self> {
        let annotations = data_store.metadata.annotations.iter().flatten();
        annotations
            .filter_map(|(key, tenant)| {
                let uid = key.strip_prefix(PLACED_PREFIX)?.to_owned();
                Some(Self { uid, tenant: tenant.clone() })
            })
            .collect()
    }

    /// Whether it is written on a DataStore.
    pub fn is_on(&self, data_store: &DataStore) -> bool {
        data_store.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(&self.key()))
    }
}

/// The places on a DataStore that nobody will take: of tenants that are gone, and of tenants that use or name another
/// DataStore. Until such a record is removed it counts, because it may be newer than the list of tenants; who removes
/// it asks the API server for the tenant first.
pub fn stale<T: AsRef<TenantControlPlane>>(data_store: &DataStore, tenants: &[T]) -> Vec<Place> {
    let name = data_store.metadata.name.as_deref().unwrap_or_default();
    let awaited = |place: &Place| {
        let mut tenants = tenants.iter().map(AsRef::as_ref);
        tenants.find(|tenant| tenant.metadata.uid.as_deref() == Some(&place.uid)).is_some_and(|tenant| {
            let (used, named) = (claim::used_store(tenant), tenant.spec.data_store.clone());
            let mut others = [used, named].into_iter().flatten().filter(|other| !other.is_empty()).peekable();
            others.peek().is_none() || others.any(|other| other == name)
        })
    };
    Place::all(data_store).into_iter().filter(|place| !awaited(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::sample::{named, place, store, tenant, using};

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        let one = tenant("one");
        let here = Place::of(&one);
        assert_eq!((here.key(), here.value()), ("placed.kamaji.clastix.io/uid-one".to_owned(), "ns/one".to_owned()));
        let mut data_store = store("a", &[("kamaji.clastix.io/paused", "ns/two")]);
        assert_eq!(Place::all(&data_store), []);
        assert!(!here.is_on(&data_store));
        place(&mut data_store, &one);
        assert!(here.is_on(&data_store));
        assert_eq!(Place::all(&data_store), [here]);
    }

    #[test]
    fn an_edited_value_frees_no_place() {
        let data_store = store("a", &[("placed.kamaji.clastix.io/uid-one", "")]);
        assert!(Place::of(&tenant("one")).is_on(&data_store));
        assert_eq!(Place::all(&data_store).len(), 1);
    }

    #[test]
    fn places_of_the_gone_and_of_those_that_went_elsewhere_are_stale() {
        let mut data_store = store("a", &[]);
        let waits = tenant("waits");
        let kept = [waits, using("uses", "a"), named("named", "a"), named("moves-here", "a")];
        let left = [using("elsewhere", "b"), named("names-another", "b"), tenant("gone")];
        for tenant in kept.iter().chain(&left) {
            place(&mut data_store, tenant);
        }
        let living: Vec<_> = kept.into_iter().chain(left.into_iter().take(2)).collect();
        let mut stale: Vec<_> = stale(&data_store, &living).into_iter().map(|place| place.tenant).collect();
        stale.sort();
        assert_eq!(stale, ["ns/elsewhere", "ns/gone", "ns/names-another"]);
    }
}
