//! What every controller runs with.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kamaji_api::contract;
use kamaji_apply::{Applier, Event, EventType};
use kube::{Resource, ResourceExt};

use crate::process::Process;

/// Shared by all controllers; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Flags, leadership, progress, metrics and shutdown of the process.
    pub process: Process,
    /// The write door, fenced by the Lease.
    pub applier: Applier,
    /// Name of this replica, as Events report it.
    pub instance: Arc<str>,
}

impl Context {
    /// The context of one process.
    pub fn new(process: Process) -> Self {
        let fence = Arc::new(process.leadership.clone());
        let applier = Applier::new(process.client.clone(), contract::FIELD_MANAGER).with_fence(fence);
        let instance = crate::process::leader::identity().unwrap_or_else(|_| "kamaji".to_owned()).into();
        Self { process, applier, instance }
    }

    /// Reports a transition of `object`, and whether that was written. An Event that cannot be is logged and no error: it
    /// is a courtesy, and must not hold up what it tells about.
    pub async fn event<K>(&self, object: &K, type_: EventType, reason: &str, action: &str, note: String) -> bool
    where
        K: Resource<DynamicType = ()>,
    {
        let regarding = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: Some(object.name_any()),
            namespace: object.namespace(),
            uid: object.uid(),
            ..ObjectReference::default()
        };
        let event = Event { type_, reason: reason.to_owned(), action: action.to_owned(), note };
        let written = self.applier.publish_event(&event, regarding, &self.instance).await;
        match &written {
            Ok(()) => self.process.metrics.event_reported(event.type_.as_str(), reason),
            Err(error) => tracing::warn!(%error, reason, "an Event could not be written"),
        }
        written.is_ok()
    }
}
