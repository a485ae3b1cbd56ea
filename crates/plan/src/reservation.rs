//! Names on a datastore that a tenant left there, because it was deleted by force while the datastore was away.
//!
//! They are written on the DataStore, one annotation for each tenant, so that two deletions do not get in each other's
//! way. Nobody else gets the names until what is kept under them is erased.

use kamaji_api::{DataStore, TenantControlPlane, contract::annotations::RESERVED_PREFIX};
use serde::Deserialize;

use crate::{resolved::StoreIdentity, stored::was_set_up};

/// The names of one tenant that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// UID of the tenant.
    pub uid: String,
    /// Its `namespace/name`: for people, and to know it again when it was restored.
    pub tenant: String,
    /// Its names.
    pub identity: StoreIdentity,
    /// Whether it was seen to have its place under them: what bears no owner's record is its own then.
    pub set_up: bool,
    /// The UID that it had before it was restored: what is recorded for that one may be its own.
    pub former: Option<String>,
}

/// As it is written.
#[derive(Deserialize)]
struct Written {
    tenant: String,
    schema: String,
    user: String,
    #[serde(default)]
    set_up: bool,
    #[serde(default)]
    former: Option<String>,
}

impl Reservation {
    /// The names of `tenant`, of which no former UID is known.
    pub fn of(tenant: &TenantControlPlane, identity: StoreIdentity) -> Self {
        let metadata = &tenant.metadata;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        Self {
            uid: part(&metadata.uid),
            tenant: format!("{}/{}", part(&metadata.namespace), part(&metadata.name)),
            identity,
            set_up: was_set_up(tenant),
            former: None,
        }
    }

    /// Key of the annotation.
    pub fn key(&self) -> String {
        format!("{RESERVED_PREFIX}{}", self.uid)
    }

    /// Value of the annotation.
    pub fn value(&self) -> String {
        let StoreIdentity { schema, user } = &self.identity;
        let mut value =
            serde_json::json!({"tenant": self.tenant, "schema": schema, "user": user, "set_up": self.set_up});
        if let (Some(former), Some(fields)) = (&self.former, value.as_object_mut()) {
            fields.insert("former".to_owned(), former.clone().into());
        }
        value.to_string()
    }

    /// What is reserved on a DataStore, by UID. What cannot be read reserves nothing.
    pub fn all(data_store: &DataStore) -> Vec<Self> {
        let annotations = data_store.metadata.annotations.iter().flatten();
        annotations
            .filter_map(|(key, value)| {
                let uid = key.strip_prefix(RESERVED_PREFIX)?.to_owned();
                let Written { tenant, schema, user, set_up, former } = serde_json::from_str(value).ok()?;
                Some(Self { uid, tenant, identity: StoreIdentity { schema, user }, set_up, former })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        let mut tenant = TenantControlPlane::default();
        tenant.metadata.name = Some("one".to_owned());
        tenant.metadata.namespace = Some("ns".to_owned());
        tenant.metadata.uid = Some("1-2".to_owned());
        let identity = StoreIdentity { schema: "a \"b".to_owned(), user: "c".to_owned() };
        let reservation = Reservation::of(&tenant, identity);
        assert_eq!(reservation.key(), "reserved.kamaji.clastix.io/1-2");
        let mut data_store = DataStore::default();
        let annotations = [
            (reservation.key(), reservation.value()),
            (format!("{RESERVED_PREFIX}3"), "by hand".to_owned()),
            ("kamaji.clastix.io/paused".to_owned(), reservation.value()),
        ];
        data_store.metadata.annotations = Some(annotations.into());
        assert_eq!(Reservation::all(&data_store), [reservation]);
        assert_eq!(Reservation::all(&DataStore::default()), []);
    }

    #[test]
    fn the_former_uid_is_kept_and_reservations_without_one_are_still_read() {
        let identity = StoreIdentity { schema: "s".to_owned(), user: "u".to_owned() };
        let bare = Reservation::of(&TenantControlPlane::default(), identity);
        assert!(!bare.value().contains("former"), "it reads as older releases wrote it: {}", bare.value());
        let former = Reservation { uid: "1".to_owned(), former: Some("0".to_owned()), ..bare.clone() };
        let mut data_store = DataStore::default();
        let annotations = [(bare.key(), bare.value()), (former.key(), former.value())];
        data_store.metadata.annotations = Some(annotations.into());
        assert_eq!(Reservation::all(&data_store), [bare, former]);
    }
}
