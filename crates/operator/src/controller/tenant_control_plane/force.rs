//! A deletion that does not wait for its datastore, because the tenant's owner said so by an annotation.
//!
//! What cannot be erased stays, is told by an Event, and its names are reserved on the DataStore, which erases it when
//! the datastore can be used again (`controller/data_store/reserved.rs`).

use kamaji_api::{
    DataStore, TenantControlPlane,
    contract::annotations::{FORCE_DELETION, FORCE_DELETION_VALUE},
};
use kamaji_apply::EventType;
use kamaji_plan::{reservation::Reservation, resolve::StoreIdentity};
use kube::{Api, ResourceExt};

use super::{
    Shared,
    error::{Error, Halt},
    former, record,
};

/// Whether the owner puts up with data that stays.
pub fn is_asked(tenant: &TenantControlPlane) -> bool {
    tenant.annotations().get(FORCE_DELETION).is_some_and(|value| value == FORCE_DELETION_VALUE)
}

/// How the owner can ask for it, as the end of a sentence.
pub fn way_out(tenant: &TenantControlPlane) -> String {
    match tenant.annotations().get(FORCE_DELETION) {
        None => format!(
            "to delete the tenant without its data, annotate the TenantControlPlane with \
             {FORCE_DELETION}={FORCE_DELETION_VALUE}"
        ),
        Some(value) => format!(
            "the annotation {FORCE_DELETION} is {value:?} and takes effect only as \"{FORCE_DELETION_VALUE}\", which \
             deletes the tenant without its data"
        ),
    }
}

/// Records what stays on the DataStore `name`: there, where it still exists, and in an Event.
///
/// # Errors
/// When the record cannot be written: without it the names would be free for somebody else's use.
pub async fn leave(
    shared: &Shared,
    tenant: &TenantControlPlane,
    name: &str,
    identity: StoreIdentity,
) -> Result<(), Halt> {
    let former = former::owner(shared, tenant).former;
    let reservation = Reservation { former, ..Reservation::of(tenant, identity) };
    let (key, value) = (reservation.key(), reservation.value());
    if let Some(data_store) = find(shared, name).await? {
        // It was told before it was written.
        if data_store.annotations().get(&key) == Some(&value) {
            return Ok(());
        }
        tell(shared, tenant, name, &reservation, true).await;
        if record::write(shared, &data_store, (key, Some(value))).await? {
            return Ok(());
        }
    }
    tell(shared, tenant, name, &reservation, false).await;
    Ok(())
}

/// Before it is done: afterwards there may be nobody left to tell.
async fn tell(shared: &Shared, tenant: &TenantControlPlane, name: &str, left: &Reservation, is_reserved: bool) {
    let fate = if is_reserved {
        "both names are reserved, and what is kept under them is erased when the DataStore can be used again"
    } else {
        "the DataStore does not exist any more, so nothing will erase them"
    };
    let StoreIdentity { schema, user } = &left.identity;
    let note = format!(
        "The tenant was deleted without its data: the keys of the schema {schema:?} and the user {user:?} stay on the \
         DataStore {name}; {fate}."
    );
    if shared.told.is_news(&left.uid, &note) {
        tracing::warn!(data_store = name, schema, user, "deleted by force; its data stays");
        if shared.context.event(tenant, EventType::Warning, "DeletionForced", "Delete", note.clone()).await {
            shared.told.mark(&left.uid, note);
        }
    }
}

/// The DataStore of this name.
async fn find(shared: &Shared, name: &str) -> Result<Option<DataStore>, Halt> {
    if let Some(known) = shared.stores.data_stores.get(None, name) {
        return Ok(Some(known.as_ref().clone()));
    }
    // A watch may be late.
    let api: Api<DataStore> = Api::all(shared.context.process.client.clone());
    let found = api.get_opt(name).await;
    found.map_err(|source| Error::Read { what: format!("DataStore {name}"), source: Box::new(source) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(value: Option<&str>) -> TenantControlPlane {
        let mut tenant = TenantControlPlane::default();
        if let Some(value) = value {
            tenant.annotations_mut().insert(FORCE_DELETION.to_owned(), value.to_owned());
        }
        tenant
    }

    #[test]
    fn only_the_value_that_says_what_stays_forces_a_deletion() {
        assert!(is_asked(&annotated(Some("data-stays"))));
        for value in [None, Some(""), Some("true"), Some("Data-Stays")] {
            assert!(!is_asked(&annotated(value)), "{value:?}");
        }
    }

    #[test]
    fn the_way_out_names_the_annotation_and_a_value_that_has_no_effect() {
        let sentence = way_out(&annotated(None));
        assert!(sentence.ends_with("kamaji.clastix.io/force-deletion=data-stays"), "{sentence}");
        let sentence = way_out(&annotated(Some("true")));
        assert!(sentence.contains("is \"true\" and takes effect only as \"data-stays\""), "{sentence}");
    }
}
