//! What every driver promises, against the real servers: etcd, PostgreSQL, MariaDB and NATS.
//!
//! `contract` asks the same of all four; the other modules ask what is particular to some.

#![cfg(test)]

/// One test per server.
macro_rules! on_all {
    ($($name:ident)+) => {
        mod etcd { $(#[tokio::test] async fn $name() { super::$name(crate::live::Live::etcd().await).await; })+ }
        mod postgres { $(#[tokio::test] async fn $name() { super::$name(crate::live::Live::postgres().await).await; })+ }
        mod mariadb { $(#[tokio::test] async fn $name() { super::$name(crate::live::Live::mariadb().await).await; })+ }
        mod nats { $(#[tokio::test] async fn $name() { super::$name(crate::live::Live::nats().await).await; })+ }
    };
}

mod adoption;
mod attacks;
mod contract;
mod credentials;
mod former;
mod kine;
mod live;
mod logs;
mod names;
mod outage;

use kamaji_datastore::Tenant;

/// A tenant with a password that needs quoting.
fn tenant(schema: &str, user: &str) -> Tenant {
    Tenant { schema: schema.into(), user: user.into(), password: Some("it's \"a\" \\password%".into()) }
}
