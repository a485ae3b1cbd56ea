//! Records that tenants have on DataStores: one annotation each.

use kamaji_api::DataStore;
use kube::ResourceExt;

use super::{
    Shared,
    error::{Error, Halt},
};

/// Writes or removes a record. False when the DataStore is gone.
///
/// # Errors
/// When it cannot be written.
pub async fn write(
    shared: &Shared,
    data_store: &DataStore,
    (key, value): (String, Option<String>),
) -> Result<bool, Halt> {
    match shared.context.applier.annotate(data_store, [(key, value)].into()).await {
        Ok(written) => {
            shared.stores.data_stores.recent.wrote(&written);
            Ok(true)
        }
        Err(error) if error.code() == Some(404) => Ok(false),
        Err(source) => Err(failed(&data_store.name_any(), source)),
    }
}

/// A record could not be written.
pub fn failed(data_store: &str, source: kamaji_apply::Error) -> Halt {
    Error::Write { what: format!("DataStore {data_store}"), source }.into()
}
