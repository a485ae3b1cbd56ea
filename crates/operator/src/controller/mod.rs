//! The controllers, and what they share.

pub mod backoff;
mod by_hand;
mod cache;
pub mod context;
pub mod data_store;
pub mod etcd_cluster;
mod fleet;
mod intake;
pub mod keyring;
pub mod named_watch;
mod names;
pub mod pool;
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
    data_store::sizes::Sampled,
    keyring::Keyring,
    pool::Pool,
    stores::{Stores, Wake},
};
use crate::{
    process::{Process, shutdown::Shutdown},
    tenant::{Sessions, Timing},
};

/// Runs every controller until a shutdown is asked for and the passes in flight have ended.
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
    let data_store_shared = data_store::Shared::new(context.clone(), stores.clone(), pool, sizes, &wake);
    let shutdown = &process.shutdown;
    let passes = async {
        let ((), (), outcome) = tokio::join!(
            with_the_others(shutdown, tenant_control_plane::run(Arc::new(tenant_shared), tenants)),
            with_the_others(shutdown, data_store::run(Arc::new(data_store_shared), data_stores)),
            with_the_others(shutdown, etcd_cluster::run(Arc::new(context))),
        );
        outcome
    };
    // The watches go on beside the last passes, which read what they fill.
    let outcome = tokio::select! {
        () = intake::stopped_before(&process, stores.ready()) => Ok(()),
        () = async { while watches.next().await.is_some() {} } => Ok(()),
        outcome = passes => outcome,
    };
    sessions.stop_all();
    outcome
}

/// Runs one controller. When it ends, all do: a process without one of them would be of no use, and look alive.
async fn with_the_others<T>(shutdown: &Shutdown, controller: impl Future<Output = T>) -> T {
    let outcome = controller.await;
    shutdown.request();
    outcome
}
