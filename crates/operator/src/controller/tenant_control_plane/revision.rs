//! The template revision that each tenant's Deployment was last seen with.
//!
//! Only an annotation tells the revision, and without it a Deployment looks like one of the Go operator. Somebody who
//! takes the annotation off must not roll the pods by that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::contract::annotations::TEMPLATE_REVISION;
use kube::ResourceExt;

/// Revisions by the UID of the tenant.
#[derive(Default)]
pub struct Revisions(Mutex<HashMap<String, String>>);

impl Revisions {
    /// The Deployment with the revision that it had, if it has none any more.
    pub fn remembered(&self, tenant_uid: &str, live: Arc<Deployment>) -> Arc<Deployment> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(revision) = live.annotations().get(TEMPLATE_REVISION) else {
            let Some(revision) = seen.get(tenant_uid).cloned() else { return live };
            let mut marked = Deployment::clone(&live);
            marked.annotations_mut().insert(TEMPLATE_REVISION.to_owned(), revision);
            return Arc::new(marked);
        };
        if seen.get(tenant_uid) != Some(revision) {
            seen.insert(tenant_uid.to_owned(), revision.clone());
        }
        live
    }

    /// Forgets a tenant.
    pub fn forget(&self, tenant_uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant_uid);
    }
}
