//! The operator is killed again and again while tenants with real pods come, change and go.

#![allow(clippy::disallowed_methods, reason = "a story acts as a user")]
#![allow(clippy::unwrap_used, reason = "the witness of the operator's own tests ends a test so")]

// Which changes of a Secret an Event excuses is the same question as in the API-server ring.
#[path = "../../crates/operator/tests/support/witness.rs"]
mod witness;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::GetOptions;
use futures::future::{try_join_all, try_join4};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kamaji_e2e::{Story, etcd::Etcd, tenant::Tenant};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use rand::Rng;
use serde_json::json;
use tokio::sync::watch;
use witness::Witness;

/// Kills of one run; R1 of the targets asks for twenty.
const KILLS: u32 = 20;
const TENANTS: usize = 6;
/// After this kill a tenant is deleted that is still being made.
const DELETED_EARLY: u32 = 2;
/// After this kill the tenants that stay are changed.
const CHANGED: u32 = 8;
/// After this kill a tenant is deleted that has been there for a while.
const DELETED_LATE: u32 = 12;

/// Kills the operator at random moments and tells the number of each kill.
async fn kill(story: &Story, kills: watch::Sender<u32>) -> Result<()> {
    for number in 1..=KILLS {
        let pause = rand::rng().random_range(1_000..6_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        kill_operator(story).await?;
        // Nobody may be waiting any more.
        let _ = kills.send(number);
    }
    Ok(())
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

async fn after(number: u32, mut kills: watch::Receiver<u32>) -> Result<()> {
    kills.wait_for(|killed| *killed >= number).await.context("the operator is killed no more")?;
    Ok(())
}

async fn delete_after(number: u32, kills: watch::Receiver<u32>, tenant: Tenant) -> Result<()> {
    after(number, kills).await?;
    tenant.delete().await
}

async fn change_after(number: u32, kills: watch::Receiver<u32>, tenants: &[Tenant]) -> Result<()> {
    after(number, kills).await?;
    let change = json!({"spec": {"controlPlane": {"deployment": {
        "podAdditionalMetadata": {"annotations": {"changed": "yes"}}
    }}}});
    try_join_all(tenants.iter().map(|tenant| tenant.change(change.clone()))).await?;
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

/// Counts in etcd what belongs to tenants, by their UIDs: a user, a role and keys of each that lives, nothing of others.
async fn recount(etcd: &Etcd, alive: &BTreeSet<String>, gone: &BTreeSet<String>) -> Result<()> {
    let mut root = etcd.connect(0, None).await?;
    let users = root.user_list().await?.users().to_vec();
    let roles = root.role_list().await?.roles().to_vec();
    let stored = root.get("", Some(GetOptions::new().with_all_keys().with_keys_only())).await?;
    let keys = stored.kvs().iter().map(|pair| String::from_utf8_lossy(pair.key()).into_owned()).collect::<Vec<_>>();
    let of = |names: &[String], uid: &str| names.iter().filter(|name| name.contains(uid)).count();
    for uid in alive {
        let (users, roles, keys) = (of(&users, uid), of(&roles, uid), of(&keys, uid));
        ensure!((users, roles) == (1, 1) && keys > 0, "{uid} lives with {users} users, {roles} roles, {keys} keys");
    }
    for uid in gone {
        let (users, roles, keys) = (of(&users, uid), of(&roles, uid), of(&keys, uid));
        ensure!((users, roles, keys) == (0, 0, 0), "{uid} is gone and left {users} users, {roles} roles, {keys} keys");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_changes_and_every_tenant_converges_while_the_operator_is_killed() -> Result<()> {
    Story::tell("kills", async |story| {
        let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
        let witness = Witness::start(&story.client, &story.namespace);
        let etcd = Etcd::existing(&story, "default");
        let names: Vec<String> = (0..TENANTS).map(|index| format!("t{index}")).collect();
        let mut staying = try_join_all(names.iter().map(|name| Tenant::declare(&story, name, |_| {}))).await?;
        let uids = async |tenants: &[Tenant]| {
            let mut found = BTreeSet::new();
            for tenant in tenants {
                found.extend(tenant.until(|_| true).await?.uid());
            }
            Ok::<_, anyhow::Error>(found)
        };
        let all = uids(&staying).await?;
        let early = staying.remove(0);
        let late = staying.remove(0);
        let alive = uids(&staying).await?;
        let gone = all.difference(&alive).cloned().collect();

        let (sender, kills) = watch::channel(0);
        try_join4(
            kill(&story, sender),
            delete_after(DELETED_EARLY, kills.clone(), early),
            change_after(CHANGED, kills.clone(), &staying),
            delete_after(DELETED_LATE, kills, late),
        )
        .await?;
        for tenant in &staying {
            tenant.phase("Ready").await?;
            ensure!(!tenant.namespaces().await?.is_empty());
        }
        recount(&etcd, &alive, &gone).await?;
        try_join_all(staying.into_iter().map(Tenant::delete)).await?;
        nothing_left(&secrets).await?;
        recount(&etcd, &BTreeSet::new(), &all).await?;

        println!("{} Secrets seen; changed with an Event: {:?}", witness.secrets(), witness.changed());
        ensure!(witness.secrets() > TENANTS, "the Secrets were watched");
        let unexplained = witness.unexplained().await;
        ensure!(unexplained.is_empty(), "changed without an Event, and how often: {unexplained:?}");
        Ok(())
    })
    .await
}
