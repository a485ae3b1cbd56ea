//! Metadata and bindings of the addons' objects: the only place that writes their labels.
//!
//! An object carries no owner reference: what is not planned any more is found by the project label and removed.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kamaji_api::contract::labels;

/// Namespace of the addons.
pub(super) const NAMESPACE: &str = "kube-system";
/// API group of roles and bindings.
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// Metadata of an object in `kube-system`: the project label, and `own`.
pub(super) fn namespaced(name: &str, own: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta { namespace: Some(NAMESPACE.to_owned()), ..of_cluster(name, own) }
}

/// Metadata of an object without a namespace: the project label, and `own`.
pub(super) fn of_cluster(name: &str, own: &[(&str, &str)]) -> ObjectMeta {
    let mut all = map(own);
    all.insert(labels::PROJECT.to_owned(), labels::PROJECT_VALUE.to_owned());
    ObjectMeta { name: Some(name.to_owned()), labels: Some(all), ..ObjectMeta::default() }
}

/// Labels or annotations from their pairs.
pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An addon's identity.
pub(super) fn service_account(name: &str) -> ServiceAccount {
    ServiceAccount { metadata: namespaced(name, &[]), ..ServiceAccount::default() }
}

/// The subject that [`service_account`] is.
pub(super) fn service_account_subject(name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        ..Subject::default()
    }
}

/// A reference to a role; `kind` is Role or ClusterRole.
pub(super) fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(RBAC.to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

/// Gives a ClusterRole to one subject.
pub(super) fn cluster_role_binding(name: &str, role: &str, subject: Subject) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: of_cluster(name, &[]),
        role_ref: role_ref("ClusterRole", role),
        subjects: Some(vec![subject]),
    }
}
