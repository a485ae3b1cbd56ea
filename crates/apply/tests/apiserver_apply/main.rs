//! Server-side apply against a real kube-apiserver.
#![recursion_limit = "256"]
#![expect(clippy::disallowed_methods, reason = "tests also play the other writers")]

#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod optional_fields;
#[cfg(test)]
mod other_kinds;
#[cfg(test)]
mod partial_writes;
#[cfg(test)]
mod property;
#[cfg(test)]
mod rich;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod takeover;

use anyhow::Result;
use kamaji_apply::{Applied, Applier, Outcome};
use kamaji_testkit::api_server::ApiServer;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const MANAGER: &str = "kamaji";

/// A client of the shared server, and a namespace of the test's own.
async fn place() -> Result<(Client, String)> {
    let server = ApiServer::shared().await?;
    Ok((server.client()?, server.namespace().await?))
}

fn applier(client: &Client) -> Applier {
    Applier::new(client.clone(), MANAGER)
}

/// The object that this JSON describes, in this namespace.
fn object<K: Resource<DynamicType = ()> + DeserializeOwned>(json: Value, namespace: &str) -> Result<K> {
    let mut object: K = serde_json::from_value(json)?;
    object.meta_mut().namespace = Some(namespace.to_owned());
    Ok(object)
}

/// As a store keeps it.
fn trimmed<K: Resource<DynamicType = ()> + Clone>(object: &K) -> K {
    let mut object = object.clone();
    kamaji_apply::store::trim(&mut object, MANAGER);
    object
}

/// Applies again, by an applier without memory, over what a store keeps: nothing may be sent.
async fn assert_settled<K>(client: &Client, desired: &K, live: &K) -> Result<()>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq,
{
    let applier = applier(client);
    let again = applier.apply(desired, Some(&trimmed(live))).await?;
    let sent = applier.writes();
    anyhow::ensure!(again.outcome == Outcome::Unchanged, "second apply: {:?}, {sent:?}", again.outcome);
    anyhow::ensure!(sent.total() == 0, "second apply of {desired:?} over {live:?} sent {sent:?}");
    Ok(())
}

/// Applies over what a store keeps, and shows that the second time sends nothing.
async fn apply_twice<K>(client: &Client, desired: &K, live: Option<&K>) -> Result<Applied<K>>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug + PartialEq,
{
    let applied = applier(client).apply(desired, live.map(trimmed).as_ref()).await?;
    assert_settled(client, desired, &applied.object).await?;
    Ok(applied)
}
