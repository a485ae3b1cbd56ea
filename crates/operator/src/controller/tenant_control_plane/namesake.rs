//! Objects of an earlier tenant of the same name.

use kamaji_api::TenantControlPlane;
use kube::{Resource, ResourceExt};

use super::error::Halt;

/// A tenant that is created under the name of one that was just deleted finds the other's objects, which the garbage
/// collector has yet to take: keys and names on a datastore that must not become its own.
///
/// # Errors
/// [`Halt::Waiting`] for an object that belongs to another TenantControlPlane.
pub fn not_of_a_namesake<K: Resource<DynamicType = ()>>(tenant: &TenantControlPlane, object: &K) -> Result<(), Halt> {
    let mut owners = object.owner_references().iter().filter(|owner| owner.kind == "TenantControlPlane").peekable();
    if owners.peek().is_none() || owners.any(|owner| Some(&owner.uid) == tenant.uid().as_ref()) {
        return Ok(());
    }
    let message = format!(
        "The {} {} belongs to an earlier TenantControlPlane of this name, and is waited for until it is deleted.",
        K::kind(&()),
        object.name_any()
    );
    Err(Halt::watch("WaitingForDeletion", message))
}
