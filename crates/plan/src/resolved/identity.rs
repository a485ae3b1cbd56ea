//! Under which names a tenant is on its datastore, and the fields that ask for them.

use kamaji_api::Driver;

/// The specification's field with the schema.
pub const SCHEMA: &str = "spec.dataStoreSchema";
/// The specification's field with the user.
pub const USER: &str = "spec.dataStoreUsername";

/// Schema and user of a tenant on its datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Database or bucket; on etcd the first part of the tenant's keys.
    pub schema: String,
    /// Login of the tenant; on etcd the user that its certificate names, on NATS the DataStore's own.
    pub user: String,
}

/// The user of a tenant that asks for none: its UID, on MySQL without dashes, because its users have 32 characters.
pub fn default_user(driver: &Driver, uid: &str) -> String {
    match driver {
        Driver::MySql => uid.replace('-', ""),
        Driver::Etcd | Driver::PostgreSql | Driver::Nats | Driver::Other(_) => uid.to_owned(),
    }
}
