//! What a tenant's pods are told of their datastore (docs/reference/compatibility.md, "Datastore Secrets").

use std::{collections::BTreeMap, fmt::Write as _};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::{Driver, contract::annotations, contract::keys};

use super::{Data, checksum, datastore::recorded_identity, value};
use crate::resolved::Store;

/// User and password of the DataStore itself, as far as they are known.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Its user.
    pub user: &'a str,
    /// Its password.
    pub password: &'a str,
}

/// What the Secret should hold.
#[derive(Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What it holds.
    AsItIs,
    /// This.
    Data(Data),
    /// It cannot be told before the DataStore can be used.
    Unknown,
}

/// What the datastore-config Secret should hold. `last` is what was good before, `fresh` makes a password.
///
/// On etcd the password is unused, and what was edited by hand comes back. A tenant's login to a SQL server has a random
/// password, and an edit by hand asks for another one. On NATS it is the DataStore's own login.
pub fn wanted(
    store: &Store,
    live: Option<&Secret>,
    last: Option<&Secret>,
    login: Option<Login<'_>>,
    fresh: impl FnOnce() -> String,
) -> Wanted {
    let is_ours = |config: &&Secret| recorded_identity(config).is_some_and(|identity| identity == store.identity);
    let password = |config: &Secret| {
        let password = String::from_utf8(value(config, keys::DB_PASSWORD).to_vec()).ok();
        password.filter(|password| !password.is_empty())
    };
    let last = last.filter(is_ours);
    let data = match &store.driver {
        Driver::Nats => {
            let Some(login) = login else {
                let known = live.filter(|live| value(live, keys::DB_SCHEMA) == store.identity.schema.as_bytes());
                return if known.is_some() { Wanted::AsItIs } else { Wanted::Unknown };
            };
            data(store, &encoded(login.user), encoded(login.password))
        }
        Driver::MySql | Driver::PostgreSql => {
            // One that was deleted comes back with the password that is in use.
            let present = live.filter(|live| !is_edited(live)).filter(is_ours);
            let kept = if live.is_some() { present } else { last };
            data(store, &store.identity.user, kept.and_then(password).unwrap_or_else(fresh))
        }
        Driver::Etcd | Driver::Other(_) => match (last, live) {
            (Some(last), _) => last.data.clone().unwrap_or_default(),
            (None, Some(live)) if is_ours(&live) => return Wanted::AsItIs,
            (None, live) => data(store, &store.identity.user, live.and_then(password).unwrap_or_else(fresh)),
        },
    };
    if live.is_some_and(|live| live.data.as_ref() == Some(&data)) { Wanted::AsItIs } else { Wanted::Data(data) }
}

/// Whether somebody changed the data: we write its checksum with it.
fn is_edited(live: &Secret) -> bool {
    let recorded = live.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotations::CHECKSUM));
    recorded.is_some_and(|recorded| *recorded != checksum(live.data.as_ref().unwrap_or(&BTreeMap::new())))
}

/// On etcd the connection string is empty.
fn data(store: &Store, user: &str, password: String) -> Data {
    let connection = store.kine.as_ref().and_then(|_| store.endpoints.first()).cloned().unwrap_or_default();
    [
        (keys::DB_CONNECTION_STRING, connection),
        (keys::DB_PASSWORD, password),
        (keys::DB_SCHEMA, store.identity.schema.clone()),
        (keys::DB_USER, user.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
    .collect()
}

/// As kine reads it in an address; ordinary text stays as it is.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!*'(),".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolved::{Kine, StoreIdentity};

    fn store(driver: Driver) -> Store {
        let kine = (driver != Driver::Etcd).then(|| Kine { image: "kine".to_owned(), tls: None });
        let identity = StoreIdentity { schema: "schema".to_owned(), user: "user".to_owned() };
        Store {
            name: "s".to_owned(),
            driver,
            endpoints: vec!["db:1".to_owned()],
            kine,
            identity,
            overrides: Vec::new(),
        }
    }

    fn fresh() -> String {
        "fresh".to_owned()
    }

    fn asked(driver: Driver, live: Option<&Secret>, last: Option<&Secret>) -> Option<String> {
        match wanted(&store(driver), live, last, None, fresh) {
            Wanted::AsItIs => Some("as it is".to_owned()),
            Wanted::Data(data) => Some(String::from_utf8(data[keys::DB_PASSWORD].0.clone()).unwrap()),
            Wanted::Unknown => None,
        }
    }

    /// As we write it, with this password.
    fn written(driver: Driver, password: &str) -> Secret {
        let data = data(&store(driver), "user", password.to_owned());
        let mut secret = Secret::default();
        secret.metadata.annotations = Some([(annotations::CHECKSUM.to_owned(), checksum(&data))].into());
        secret.data = Some(data);
        secret
    }

    fn edited(mut secret: Secret) -> Secret {
        secret.data.as_mut().unwrap().insert(keys::DB_PASSWORD.to_owned(), ByteString(b"mine".to_vec()));
        secret
    }

    #[test]
    fn a_password_of_a_sql_login_stays_until_the_secret_is_edited() {
        for driver in [Driver::MySql, Driver::PostgreSql] {
            let live = written(driver.clone(), "old");
            assert_eq!(asked(driver.clone(), None, None).as_deref(), Some("fresh"));
            assert_eq!(asked(driver.clone(), Some(&live), None).as_deref(), Some("as it is"));
            assert_eq!(asked(driver.clone(), None, Some(&live)).as_deref(), Some("old"), "deleted");
            let edited = edited(live.clone());
            assert_eq!(asked(driver.clone(), Some(&edited), Some(&live)).as_deref(), Some("fresh"), "edited");
        }
    }

    #[test]
    fn another_endpoint_is_written_with_the_same_password() {
        let live = written(Driver::PostgreSql, "old");
        let mut moved = store(Driver::PostgreSql);
        moved.endpoints = vec!["elsewhere:1".to_owned()];
        let Wanted::Data(data) = wanted(&moved, Some(&live), None, None, fresh) else { panic!("it stays") };
        assert_eq!(data[keys::DB_PASSWORD].0, b"old");
        assert_eq!(data[keys::DB_CONNECTION_STRING].0, b"elsewhere:1");
    }

    #[test]
    fn what_is_edited_on_etcd_comes_back() {
        let live = written(Driver::Etcd, "old");
        assert_eq!(asked(Driver::Etcd, Some(&edited(live.clone())), Some(&live)).as_deref(), Some("old"));
        assert_eq!(asked(Driver::Etcd, Some(&live), Some(&live)).as_deref(), Some("as it is"));
        assert_eq!(live.data.unwrap()[keys::DB_CONNECTION_STRING].0, b"");
    }

    #[test]
    fn a_tenant_on_nats_has_the_login_of_its_datastore_as_an_address_takes_it() {
        assert_eq!(asked(Driver::Nats, None, None), None, "not known yet");
        let login = Login { user: "admin", password: "p@ss/w:rd" };
        let Wanted::Data(data) = wanted(&store(Driver::Nats), None, None, Some(login), fresh) else {
            panic!("no data")
        };
        assert_eq!(data[keys::DB_USER].0, b"admin");
        assert_eq!(data[keys::DB_PASSWORD].0, b"p%40ss%2Fw%3Ard");
        let live = Secret { data: Some(data), ..Secret::default() };
        assert_eq!(asked(Driver::Nats, Some(&live), None).as_deref(), Some("as it is"), "while its DataStore is away");
    }
}
