//! The operator is killed again and again while tenants with real pods come, change and go.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, future::try_join_all, stream::BoxStream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kamaji_e2e::{Story, tenant::Tenant};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::watcher::{self, Event, watcher},
};
use rand::Rng;
use serde_json::json;
use tokio::sync::oneshot;

/// Kills of one run; R1 of the targets asks for twenty.
const KILLS: u32 = 20;
const TENANTS: usize = 6;

type Keys = BTreeMap<(String, String), Vec<u8>>;

/// Records the first value of every root key, and what differs from it later.
async fn watch_keys(
    mut events: BoxStream<'static, watcher::Result<Event<Secret>>>,
    mut stop: oneshot::Receiver<()>,
) -> Vec<String> {
    const ROOTS: [&str; 3] = ["ca.key", "front-proxy-ca.key", "sa.key"];
    let mut first = Keys::new();
    let mut changed = Vec::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = &mut stop => break,
        };
        let Some(Ok(Event::Apply(secret) | Event::InitApply(secret))) = event else { continue };
        if secret.name_any().ends_with("-datastore-certificate") {
            continue;
        }
        for (key, value) in secret.data.iter().flatten().filter(|(key, _)| ROOTS.contains(&key.as_str())) {
            let id = (secret.name_any(), key.clone());
            match first.get(&id) {
                None => drop(first.insert(id, value.0.clone())),
                Some(seen) if *seen == value.0 => {}
                Some(_) => changed.push(format!("{} of {}", id.1, id.0)),
            }
        }
    }
    changed
}

async fn kill_operator(story: &Story) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), "kamaji-system");
    let selector = ListParams::default().labels("app.kubernetes.io/component=controller-manager");
    for pod in pods.list(&selector).await?.items {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let killed = pods.delete(&pod.name_any(), &now).await;
        killed.context("the operator could not be killed")?;
    }
    Ok(())
}

/// The garbage collector follows the tenants a little later.
async fn nothing_left(secrets: &Api<Secret>) -> Result<()> {
    let ours = ListParams::default().labels("kamaji.clastix.io/project=kamaji");
    for _ in 0..60 {
        if secrets.list_metadata(&ours).await?.items.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("Secrets of the tenants are left behind")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_changes_and_every_tenant_converges_while_the_operator_is_killed() -> Result<()> {
    Story::tell("kills", async |story| {
        let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
        let (stop, stopped) = oneshot::channel();
        let keys = tokio::spawn(watch_keys(watcher(secrets.clone(), watcher::Config::default()).boxed(), stopped));
        let killer = {
            let story = story.clone();
            tokio::spawn(async move {
                for _ in 0..KILLS {
                    let pause = rand::rng().random_range(1_000..6_000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    kill_operator(&story).await?;
                }
                Ok::<_, anyhow::Error>(())
            })
        };
        let names: Vec<String> = (0..TENANTS).map(|index| format!("t{index}")).collect();
        let tenants = try_join_all(names.iter().map(|name| Tenant::declare(&story, name, |_| {}))).await?;
        for tenant in &tenants {
            tenant.phase("Ready").await?;
        }
        for tenant in &tenants {
            tenant
                .change(json!({"spec": {"controlPlane": {"deployment": {
                    "podAdditionalMetadata": {"annotations": {"changed": "yes"}}
                }}}}))
                .await?;
        }
        killer.await??;
        for tenant in &tenants {
            tenant.phase("Ready").await?;
            ensure!(!tenant.namespaces().await?.is_empty());
        }
        let _ = stop.send(());
        let changed = keys.await?;
        ensure!(changed.is_empty(), "keys changed: {changed:?}");
        try_join_all(tenants.into_iter().map(Tenant::delete)).await?;
        nothing_left(&secrets).await
    })
    .await
}
