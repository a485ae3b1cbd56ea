//! The etcd driver against a real etcd with TLS, client certificates and authentication, as operators run it.

#![cfg(test)]

mod admin;
mod credentials;
mod isolation;
mod outage;
mod owners;
mod repair;
mod tenants;

use std::sync::Arc;

use etcd_client::{Client, GetOptions, KeyValue};
use kamaji_datastore::{Connection, Driver, Store, Tenant, Tls};
use kamaji_testkit::certificate::Identity;
use kamaji_testkit::etcd::{Etcd, Options};

/// A secure etcd of one member, which ends with the value.
async fn secure() -> Etcd {
    Etcd::start(Options::secure()).await.unwrap()
}

/// What a DataStore for this etcd says, with the client certificate of the user `root`.
fn connection(etcd: &Etcd) -> Connection {
    connection_as(etcd, &etcd.tls().unwrap().root)
}

fn connection_as(etcd: &Etcd, identity: &Identity) -> Connection {
    let client = (identity.certificate.clone().into_bytes(), identity.key.clone().into_bytes());
    let ca = etcd.tls().unwrap().authority.certificate().into_bytes();
    Connection {
        driver: Driver::Etcd,
        endpoints: etcd.endpoints(),
        tls: Some(Tls { ca, client: Some(client) }),
        basic_auth: None,
    }
}

fn store(etcd: &Etcd) -> Arc<dyn Store> {
    kamaji_datastore::open(&connection(etcd)).unwrap()
}

fn tenant(schema: &str, user: &str) -> Tenant {
    Tenant { schema: schema.into(), user: user.into(), password: None }
}

/// Logs in as a tenant's API server does: with a certificate whose common name is the user.
async fn log_in(etcd: &Etcd, user: &str) -> Client {
    etcd.connect(Some(&etcd.tls().unwrap().client(user).unwrap())).await.unwrap()
}

/// All keys, as root.
async fn all_keys(etcd: &Etcd) -> Vec<String> {
    let all = GetOptions::new().with_all_keys().with_keys_only();
    let answer = etcd.client().await.unwrap().get("", Some(all)).await.unwrap();
    answer.kvs().iter().map(KeyValue::key_str).map(|key| key.unwrap().to_owned()).collect()
}
