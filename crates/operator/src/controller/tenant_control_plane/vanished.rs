//! Takes back what was made for a tenant that was deleted past its finalizer.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kamaji_api::TenantControlPlane;
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tracing::Instrument;

use super::{Shared, error::Halt, finish};
use crate::controller::stores::object_key;

/// Begins with the tenant of this name that went like this, if there is one. No pass of it may be under way.
pub fn settle(shared: &Arc<Shared>, name: &ObjectRef<TenantControlPlane>) {
    let Some(last) = shared.stores.vanished.take(name) else { return };
    let span = tracing::info_span!("tenant", tenant = object_key(last.as_ref()));
    let shared = Arc::clone(shared);
    tokio::spawn(async move { take_back(&shared, &last).await }.instrument(span));
}

/// Goes on until it is done or the process ends; what cannot be had now is tried again.
async fn take_back(shared: &Shared, last: &TenantControlPlane) {
    let uid = last.uid().unwrap_or_default();
    tracing::warn!("the tenant was deleted past its finalizer; what was made for it is taken back");
    let mut last = last.clone();
    last.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
    shared.forget(&uid);
    while let Err(halt) = finish::take_down(shared, &last).await {
        match halt {
            Halt::Failed(error) => tracing::warn!(%error, "it cannot be taken back yet"),
            Halt::Waiting { trouble, .. } => tracing::info!(trouble.message, "it cannot be taken back yet"),
            Halt::Rejected(rejection) => tracing::warn!(%rejection, "it cannot be taken back yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(shared.backoff.next(&uid)) => {}
            () = shared.context.process.shutdown.requested() => return,
        }
    }
    shared.forget(&uid);
    tracing::info!("what was made for the tenant is gone");
}
