//! Growing the members' volumes: a StatefulSet's claim templates cannot change, the claims themselves can grow.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    quantity,
    resolved::{Resolved, Storage},
};
use crate::rejection::Rejection;

/// What a claim needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Resize {
    /// Nothing.
    None,
    /// To be asked for this size.
    Grow(Box<PersistentVolumeClaim>),
    /// What no volume can do.
    Refused(Rejection),
}

/// Compares a live claim with the specification.
pub fn resize(resolved: &Resolved, live: &PersistentVolumeClaim) -> Resize {
    let Storage::Persistent { size, .. } = &resolved.storage else { return Resize::None };
    let requested = requested(live);
    let (Some(wanted), Some(present)) = (quantity::bytes(size), requested.and_then(quantity::bytes)) else {
        return Resize::None;
    };
    if wanted < present {
        let present = requested.map(|quantity| quantity.0.as_str()).unwrap_or_default();
        let message = format!("volumes do not shrink from {present} to {}; set it back to {present}", size.0);
        return Resize::Refused(Rejection::new("ShrinkRefused", "spec.storage.persistent.size", message));
    }
    if wanted == present {
        return Resize::None;
    }
    Resize::Grow(Box::new(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: live.metadata.name.clone(),
            namespace: live.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size.clone())].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }))
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")
}
