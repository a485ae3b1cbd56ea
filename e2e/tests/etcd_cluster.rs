//! An etcd of three members loses one, renews its certificates and is defragmented, while a tenant is probed.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{DeleteOptions, PutOptions};
use kamaji_e2e::{Story, etcd::Etcd, tenant::Tenant};
use kamaji_testkit::probe::Probe;
use serde_json::json;

/// Enough waste that a defragmentation is worth its while: 80 values of one mebibyte.
const VALUES: usize = 80;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_serve_a_tenant_through_loss_renewal_and_defragmentation() -> Result<()> {
    Story::tell("etcd", async |story| {
        let etcd = Etcd::declare(&story, 3).await?;
        etcd.ready().await?;
        let tenant = Tenant::declare(&story, "steady", |spec| {
            spec["dataStore"] = json!(story.namespace);
        })
        .await?;
        tenant.phase("Ready").await?;
        ensure!(!tenant.namespaces().await?.is_empty());
        tenant.controlled().await?;
        refuses_strangers(&etcd, &tenant).await?;

        let probe = Probe::start(tenant.probe_target().await?);
        etcd.lose_member(1).await?;
        etcd.ready().await?;
        etcd.lose_certificates().await?;
        etcd.ready().await?;
        waste(&etcd).await?;
        defragmented(&etcd).await?;
        let report = probe.finish().await;
        println!("{report}");
        ensure!(report.successes() > 100, "the probe ran all the time");
        ensure!(report.failures().next().is_none(), "no attempt failed");
        tenant.delete().await?;
        etcd.delete().await
    })
    .await
}

/// Waits until one member gave its space back; the others follow one at a time, the leader last.
async fn defragmented(etcd: &Etcd) -> Result<()> {
    const WASTED: i64 = 64 << 20;
    for _ in 0..150 {
        for ordinal in 0..3 {
            let mut member = etcd.connect(ordinal, None).await?;
            if member.status().await?.db_size() < WASTED {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("no member was defragmented")
}

/// A client without a certificate is no client; one with a tenant's certificate sees that tenant's keys and no other's.
async fn refuses_strangers(etcd: &Etcd, tenant: &Tenant) -> Result<()> {
    let secret = tenant.secret("datastore-certificate").await?;
    let value = |key: &str| secret.get(key).cloned().with_context(|| format!("no {key}"));
    let mut own = etcd.connect(0, Some((value("server.crt")?, value("server.key")?))).await?;
    let config = tenant.secret("datastore-config").await?;
    let schema = String::from_utf8(config.get("DB_SCHEMA").context("no schema")?.clone())?;
    own.get(format!("/{schema}/x"), None).await.context("a tenant reads its own keys")?;
    ensure!(own.get("/another/x", None).await.is_err(), "a tenant reads no other's keys");
    ensure!(own.put("/another/x", "", None::<PutOptions>).await.is_err(), "a tenant writes no other's keys");
    ensure!(etcd.connect_without_certificate(0).await.is_err(), "no certificate, no service");
    Ok(())
}

/// Writes and deletes enough that most of the database is free space, and lets etcd forget its history.
async fn waste(etcd: &Etcd) -> Result<()> {
    let mut root = etcd.connect(0, None).await?;
    let value = vec![b'x'; 1 << 20];
    for index in 0..VALUES {
        root.put(format!("waste/{index}"), value.clone(), None).await?;
    }
    let deleted = root.delete("waste/", Some(DeleteOptions::new().with_prefix())).await?;
    let revision = deleted.header().context("no revision")?.revision();
    root.compact(revision, None).await?;
    Ok(())
}
