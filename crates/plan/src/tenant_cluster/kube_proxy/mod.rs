//! kube-proxy, as kubeadm of the tenant's minor installs it (kubeadm, `phases/addons/proxy`;
//! docs/reference/compatibility.md, "kube-proxy").

mod configuration;
mod daemon_set;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, Subject};

use super::{TenantCluster, object};
use crate::{exposed::Exposed, resolved::Resolved};

/// Name of the DaemonSet, the ConfigMap, the ServiceAccount, and the Role with its binding.
const NAME: &str = "kube-proxy";
/// The group of joining nodes, which read the configuration.
const JOINING_NODES: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Adds kube-proxy, when the addon is on.
pub(super) fn add(cluster: &mut TenantCluster, resolved: &Resolved, exposed: &Exposed) {
    let addons = resolved.tenant.spec.addons.as_ref();
    let Some(addon) = addons.and_then(|addons| addons.kube_proxy.as_ref()) else { return };
    let mut rolled_by = None;
    match configuration::plan(resolved, exposed) {
        Ok(configuration) => {
            rolled_by = configuration.rolled_by();
            cluster.config_maps.push(configuration.config_map);
        }
        Err(trouble) => {
            cluster.kept_config_maps.push((object::NAMESPACE.to_owned(), NAME.to_owned()));
            cluster.troubles.push(trouble);
        }
    }
    cluster.service_accounts.push(object::service_account(NAME));
    let subject = object::service_account_subject(NAME);
    cluster.cluster_role_bindings.push(object::cluster_role_binding(
        "kubeadm:node-proxier",
        "system:node-proxier",
        subject,
    ));
    cluster.roles.push(role());
    cluster.role_bindings.push(role_binding());
    cluster.daemon_sets.push(daemon_set::daemon_set(&resolved.version, addon, rolled_by));
}

fn role() -> Role {
    Role {
        metadata: object::namespaced(NAME, &[]),
        rules: Some(vec![PolicyRule {
            verbs: vec!["get".to_owned()],
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(vec![NAME.to_owned()]),
            ..PolicyRule::default()
        }]),
    }
}

fn role_binding() -> RoleBinding {
    RoleBinding {
        metadata: object::namespaced(NAME, &[]),
        role_ref: object::role_ref("Role", NAME),
        subjects: Some(vec![Subject {
            api_group: Some(object::RBAC.to_owned()),
            kind: "Group".to_owned(),
            name: JOINING_NODES.to_owned(),
            ..Subject::default()
        }]),
    }
}
