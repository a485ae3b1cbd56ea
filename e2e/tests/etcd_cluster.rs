//! An etcd of three members loses one, renews its certificates and is defragmented, while a tenant is probed.

#![allow(clippy::indexing_slicing, clippy::disallowed_methods, reason = "a story edits JSON and acts as a user")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::{DeleteOptions, PutOptions};
use kamaji_e2e::{
    Story,
    etcd::Etcd,
    tenant::{SOON, Tenant},
};
use kamaji_testkit::probe::Probe;
use serde_json::json;

const MEMBERS: i32 = 3;
/// Enough waste that a defragmentation is worth its while: 80 values of one mebibyte.
const VALUES: usize = 80;
/// Bytes of a database file that holds them, or did and was not defragmented.
const WASTED: i64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_serve_a_tenant_through_loss_renewal_and_defragmentation() -> Result<()> {
    Story::tell("etcd", async |story| {
        let etcd = Etcd::declare(&story, MEMBERS).await?;
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
        etcd.lose_certificates(MEMBERS).await?;
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

/// Waits until every member gave its space back: one at a time, the leader last, after it has handed over.
async fn defragmented(etcd: &Etcd) -> Result<()> {
    let began = Instant::now();
    for round in 0.. {
        // One is defragmented in a pass.
        etcd.touch(&round.to_string()).await?;
        let sizes = etcd.sizes(MEMBERS).await;
        if sizes.iter().all(|size| size.is_some_and(|size| size < WASTED)) {
            break;
        }
        ensure!(began.elapsed() < SOON, "not every member was defragmented; bytes of each: {sizes:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Waits until every member has written what is going to be its waste.
async fn large(etcd: &Etcd) -> Result<()> {
    let began = Instant::now();
    loop {
        let sizes = etcd.sizes(MEMBERS).await;
        if sizes.iter().all(|size| size.is_some_and(|size| size > WASTED)) {
            return Ok(());
        }
        ensure!(began.elapsed() < SOON, "not every member has all values; bytes of each: {sizes:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
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
    large(etcd).await?;
    let deleted = root.delete("waste/", Some(DeleteOptions::new().with_prefix())).await?;
    let revision = deleted.header().context("no revision")?.revision();
    root.compact(revision, None).await?;
    Ok(())
}
