//! The konnectivity agent, through which the tenant's API server reaches nodes and pods, and what its two ends may do
//! in the tenant's cluster (docs/reference/compatibility.md, "konnectivity agent").

mod workload;

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject},
};
use kamaji_api::contract::labels::{self, component};

use super::{TenantCluster, object};
use crate::{component::konnectivity, exposed::Exposed, resolved::Resolved};

/// Name of the workload, the ServiceAccount, and the Role with its binding.
const NAME: &str = "konnectivity-agent";

/// Adds the agent, when the addon is on.
pub(super) fn add(cluster: &mut TenantCluster, resolved: &Resolved, exposed: &Exposed) {
    let addons = resolved.tenant.spec.addons.as_ref();
    let addon = addons.and_then(|addons| addons.konnectivity.as_ref());
    let (Some(server), Some(addon)) = (resolved.konnectivity.as_ref(), addon) else { return };
    let agent = addon.agent.clone().unwrap_or_default();
    let tag = konnectivity::agent_tag(resolved, agent.version.as_deref());
    cluster.service_accounts.push(service_account(&resolved.name));
    cluster.cluster_role_bindings.push(token_review(&resolved.name));
    if konnectivity::counts_leases(resolved) {
        // A server keeps its own Lease, and takes away those of servers that are gone.
        let verbs = ["get", "list", "create", "update", "delete"];
        leases(cluster, &resolved.name, (konnectivity::USER, konnectivity::NAME), server_user(), &verbs);
    }
    if konnectivity::agent_counts_leases(resolved, &tag) {
        let subject = object::service_account_subject(NAME);
        let name = ("system:konnectivity-agent", component::KONNECTIVITY_AGENT);
        leases(cluster, &resolved.name, name, subject, &["get", "list", "watch"]);
    }
    workload::add(cluster, resolved, exposed, server.port, &agent, &tag);
}

fn service_account(tenant: &str) -> ServiceAccount {
    let mut metadata = object::namespaced(NAME, &[]);
    metadata.labels = Some(labels::of(tenant, component::KONNECTIVITY_SA));
    ServiceAccount { metadata, ..ServiceAccount::default() }
}

/// Lets the server ask the tenant's API whose token an agent shows.
fn token_review(tenant: &str) -> ClusterRoleBinding {
    let mut own = labels::of(tenant, component::KONNECTIVITY_CLUSTER_ROLE_BINDING);
    own.extend(object::map(&[
        ("kubernetes.io/cluster-service", "true"),
        ("addonmanager.kubernetes.io/mode", "Reconcile"),
    ]));
    let mut binding = object::cluster_role_binding(konnectivity::USER, "system:auth-delegator", server_user());
    binding.metadata.labels = Some(own);
    binding
}

/// The server, as the tenant's API knows it.
fn server_user() -> Subject {
    Subject {
        api_group: Some(object::RBAC.to_owned()),
        kind: "User".to_owned(),
        name: konnectivity::USER.to_owned(),
        ..Subject::default()
    }
}

/// Lets `subject` use the Leases by which agents find all servers.
fn leases(
    cluster: &mut TenantCluster,
    tenant: &str,
    (name, component): (&str, &str),
    subject: Subject,
    verbs: &[&str],
) {
    let mut metadata = object::namespaced(name, &[]);
    metadata.labels = Some(labels::of(tenant, component));
    cluster.roles.push(Role {
        metadata: metadata.clone(),
        rules: Some(vec![PolicyRule {
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
            resources: Some(vec!["leases".to_owned()]),
            ..PolicyRule::default()
        }]),
    });
    cluster.role_bindings.push(RoleBinding {
        metadata,
        role_ref: object::role_ref("Role", name),
        subjects: Some(vec![subject]),
    });
}
