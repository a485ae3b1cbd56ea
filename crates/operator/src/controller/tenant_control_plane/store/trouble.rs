//! What a tenant says of a datastore that cannot be used.

use kamaji_plan::status::conditions::Trouble;

use super::super::{Shared, error::Halt};

/// Whether the DataStore says itself that it cannot be used.
pub fn known_bad(shared: &Shared, name: &str) -> bool {
    let data_store = shared.stores.data_stores.get(None, name);
    data_store.as_ref().and_then(|data_store| data_store.status.as_ref()).is_some_and(|status| !status.ready)
}

/// A running tenant's datastore cannot be asked.
///
/// The sentence does not change while the cause stays, whatever the datastore answers: it is written to the status.
pub fn unconfirmed(name: &str) -> Trouble {
    let message = format!(
        "The DataStore {name} does not answer or cannot be used; its conditions say why. It is tried again by itself."
    );
    Trouble::new("DataStoreNotReady", message)
}

/// The tenant waits for its DataStore.
pub fn not_ready(name: &str) -> Halt {
    Halt::watch("DataStoreNotReady", format!("The DataStore {name} is not ready; its conditions say why."))
}
