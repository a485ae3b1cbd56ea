//! Which DataStore a tenant is placed on.
//!
//! A choice is made once, and written on the DataStore before anything of the tenant is made there. That write is a
//! compare-and-swap on the DataStore that the choice was made from: of two tenants that see the last place free, one
//! gets it, and the other chooses again.

mod place;
mod room;
#[cfg(test)]
mod sample;
mod selector;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kamaji_api::{DataStore, TenantControlPlane, contract::annotations::TENANT_LIMIT};

pub use self::{
    place::{Place, stale},
    room::{fault, limit, occupied},
};
use self::{
    room::Room,
    selector::{FIELD, Selector},
};
use crate::rejection::Rejection;

/// What there is to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a, D, T> {
    /// All DataStores.
    pub data_stores: &'a [D],
    /// All tenants; the one that asks may be among them.
    pub tenants: &'a [T],
    /// The operator's default DataStore.
    pub default: Option<&'a str>,
}

/// Where a tenant is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Name of the DataStore. One that is named by the tenant or the operator need not exist.
    pub data_store: String,
    /// What has to be written on the DataStore first, where nobody has written to it since.
    pub record: Option<Place>,
}

/// Chooses a tenant's DataStore: the one that it is on (`present`, as its status and its pods say), else the one that it
/// names, else the one that was chosen for it before, else the best that its selector allows, else the default.
///
/// That a tenant which is on one DataStore may not name another is not told here, but by [`crate::claim::check`].
///
/// # Errors
/// The rejection, as a sentence, when nothing can be chosen or what is chosen has no room.
pub fn choose<D: AsRef<DataStore>, T: AsRef<TenantControlPlane>>(
    tenant: &TenantControlPlane,
    present: Option<&str>,
    known: &Known<'_, D, T>,
) -> Result<Choice, Rejection> {
    let given = |name: &&str| !name.is_empty();
    let named = tenant.spec.data_store.as_deref().filter(given);
    // What was begun there before the status says so.
    let begun = || Some(known.chosen(tenant)?).filter(|_| crate::claim::is_held(tenant));
    if let Some(present) = present.filter(given).map(str::to_owned).or_else(begun).as_deref() {
        return Ok(known.stay(tenant, present, named.is_some()));
    }
    if let Some(named) = named {
        return known.enter(tenant, named);
    }
    if let Some(chosen) = known.chosen(tenant) {
        return Ok(Choice { data_store: chosen, record: None });
    }
    if let Some(selector) = selector(tenant)? {
        return known.best(tenant, &Selector::read(selector)?);
    }
    match known.default.filter(given) {
        Some(default) => known.enter(tenant, default),
        None => Err(Rejection::new(
            "DataStoreNotChosen",
            "spec.dataStore",
            "no DataStore is named or selected, and the operator has no default; name one, select one with \
             spec.dataStoreSelector, or start the operator with --datastore",
        )),
    }
}

fn selector(tenant: &TenantControlPlane) -> Result<Option<LabelSelector>, Rejection> {
    tenant.data_store_selector().map_err(|error| Rejection::new("InvalidSpec", FIELD, error.to_string()))
}

impl<D: AsRef<DataStore>, T: AsRef<TenantControlPlane>> Known<'_, D, T> {
    fn all(&self) -> impl Iterator<Item = &DataStore> {
        self.data_stores.iter().map(AsRef::as_ref)
    }

    fn find(&self, name: &str) -> Option<&DataStore> {
        self.all().find(|data_store| name_of(data_store) == name)
    }

    /// The tenant is there. Where that was left to the operator, the record says so too: it outlives the status.
    fn stay(&self, tenant: &TenantControlPlane, present: &str, is_named: bool) -> Choice {
        let is_left_to_us = !is_named && matches!(selector(tenant), Ok(Some(_)));
        let place = Place::of(tenant);
        let lacks = |data_store: &DataStore| !place.is_on(data_store);
        let record = is_left_to_us && self.find(present).is_some_and(lacks);
        Choice { data_store: present.to_owned(), record: record.then_some(place) }
    }

    /// A DataStore that is no choice of ours. A limit holds for it all the same.
    fn enter(&self, tenant: &TenantControlPlane, name: &str) -> Result<Choice, Rejection> {
        let place = Place::of(tenant);
        let record = match self.find(name) {
            Some(data_store) if room::capacity(data_store).is_some() && !holds(tenant, &place, data_store) => {
                if room::room(data_store, self.tenants) == Room::Places(0) {
                    return Err(room::full(data_store, self.tenants));
                }
                Some(place)
            }
            _ => None,
        };
        Ok(Choice { data_store: name.to_owned(), record })
    }

    /// The DataStore that has a record of the tenant. Of several, one that can be used.
    fn chosen(&self, tenant: &TenantControlPlane) -> Option<String> {
        let place = Place::of(tenant);
        let recorded = self.all().filter(|data_store| place.is_on(data_store));
        recorded.min_by_key(|data_store| (!is_usable(data_store), name_of(data_store))).map(|it| name_of(it).to_owned())
    }

    /// Of the DataStores that are selected and can be used, the one with most room; then the one with fewest tenants.
    fn best(&self, tenant: &TenantControlPlane, selector: &Selector) -> Result<Choice, Rejection> {
        let labels = |data_store: &DataStore| selector.selects(data_store.metadata.labels.as_ref());
        let matching: Vec<&DataStore> = self.all().filter(|data_store| labels(data_store)).collect();
        let (ready, unready): (Vec<&DataStore>, Vec<&DataStore>) = matching.iter().partition(|store| is_usable(store));
        let rated = ready.iter().map(|data_store| (room::room(data_store, self.tenants), *data_store));
        let free = rated.filter(|(room, _)| *room > Room::Places(0));
        let best = free.min_by_key(|(room, data_store)| {
            (Reverse(*room), room::occupied(data_store, self.tenants), name_of(data_store))
        });
        match best {
            Some((_, best)) => Ok(Choice { data_store: name_of(best).to_owned(), record: Some(Place::of(tenant)) }),
            None => Err(none_fits(matching.len(), unready.len(), ready.len())),
        }
    }
}

/// Whether a tenant is on a DataStore or has a place there, so that no further one has to be free.
fn holds(tenant: &TenantControlPlane, place: &Place, data_store: &DataStore) -> bool {
    place.is_on(data_store) || crate::claim::used_store(tenant).as_deref() == Some(name_of(data_store))
}

/// Whether new tenants can be placed on a DataStore.
fn is_usable(data_store: &DataStore) -> bool {
    data_store.metadata.deletion_timestamp.is_none() && data_store.status.as_ref().is_some_and(|status| status.ready)
}

fn name_of(data_store: &DataStore) -> &str {
    data_store.metadata.name.as_deref().unwrap_or_default()
}

fn none_fits(matching: usize, unready: usize, full: usize) -> Rejection {
    let message = if matching == 0 {
        "no DataStore has labels that match; label one, correct the selector, or name a DataStore in spec.dataStore"
            .to_owned()
    } else {
        format!(
            "no DataStore that matches can take the tenant; matching: {matching}, of these not ready: {unready}, full: \
             {full}; it goes on by itself when one of them is ready and has room; repair one, raise its annotation \
             {TENANT_LIMIT}, label another, or name a DataStore in spec.dataStore"
        )
    };
    Rejection::new("NoDataStoreFits", FIELD, message)
}
