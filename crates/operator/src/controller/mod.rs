//! The controllers, and what they share.

pub mod backoff;
mod cache;
pub mod context;
pub mod data_store;
pub mod etcd_cluster;
mod fleet;
pub mod keyring;
pub mod named_watch;
mod names;
pub mod recent;
pub mod stores;
pub mod tenant_control_plane;
pub mod timed;
pub mod vanished;

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;

use self::{
    context::Context,
    data_store::{pool::Pool, sizes::Sampled},
    keyring::Keyring,
    stores::{Stores, Wake},
};
use crate::{
    process::Process,
    tenant::{Sessions, Timing},
};

/// Runs every controller until a shutdown is asked for.
///
/// # Errors
/// When a controller cannot go on.
pub async fn run(process: Process) -> anyhow::Result<()> {
    let context = Context::new(process.clone());
    let (tenant_wake, tenants) = mpsc::unbounded_channel();
    let (data_store_wake, data_stores) = mpsc::unbounded_channel();
    let wake = Wake { tenants: tenant_wake, data_stores: data_store_wake };
    let keyring = Arc::new(Keyring::default());
    let pool = Arc::new(Pool::default());
    let sizes = Arc::new(Sampled::default());
    process.metrics.report_writes("management", {
        let applier = context.applier.clone();
        move || applier.writes()
    });
    let fence = Arc::new(process.leadership.clone());
    let sessions = Arc::new(Sessions::new(fence, Timing::default(), wake.tenants.clone()));
    process.metrics.report_writes("tenants", sessions.writes());
    let (stores, mut watches) = Stores::watch(&process, &wake, &keyring, &sessions);
    let deadline = process.options.certificate_expiration_deadline;
    process.metrics.publish(Arc::new(fleet::Fleet::new(stores.clone(), Arc::clone(&sizes), deadline)));
    let tenant_shared = tenant_control_plane::Shared::new(
        context.clone(),
        stores.clone(),
        keyring,
        Arc::clone(&pool),
        Arc::clone(&sessions),
        &wake,
    );
    let data_store_shared = data_store::Shared::new(context.clone(), stores, pool, sizes, &wake);
    tokio::select! {
        () = process.shutdown.requested() => {}
        () = async { while watches.next().await.is_some() {} } => {}
        () = tenant_control_plane::run(Arc::new(tenant_shared), tenants) => {}
        () = data_store::run(Arc::new(data_store_shared), data_stores) => {}
        outcome = etcd_cluster::run(Arc::new(context)) => outcome?,
    }
    sessions.stop_all();
    Ok(())
}
