//! Who may read kubeadm's ConfigMaps, ask for certificates and have them approved.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};

use super::{KUBE_PUBLIC, KUBE_SYSTEM, cluster_info, kubeadm_config, kubelet_config, metadata};
use crate::tenant_cluster::{TenantCluster, object};

/// Group of whoever shows a bootstrap token that kubeadm made.
const BOOTSTRAPPERS: &str = "system:bootstrappers:kubeadm:default-node-token";
/// Group of nodes that have joined.
const NODES: &str = "system:nodes";
/// Group of the administrators' certificates that kubeadm makes.
const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";

/// A Role that lets its subjects get one ConfigMap, bound under its own name.
struct Reading {
    namespace: &'static str,
    name: &'static str,
    config_map: &'static str,
    subjects: &'static [Who],
}

/// A binding of a ClusterRole to one subject.
struct Granting {
    name: &'static str,
    role: &'static str,
    to: Who,
}

#[derive(Clone, Copy)]
enum Who {
    Group(&'static str),
    User(&'static str),
}

const READING: [Reading; 3] = [
    Reading {
        namespace: KUBE_SYSTEM,
        name: "kubeadm:nodes-kubeadm-config",
        config_map: kubeadm_config::NAME,
        subjects: &[Who::Group(BOOTSTRAPPERS), Who::Group(NODES)],
    },
    Reading {
        namespace: KUBE_SYSTEM,
        name: "kubeadm:kubelet-config",
        config_map: kubelet_config::NAME,
        subjects: &[Who::Group(NODES), Who::Group(BOOTSTRAPPERS)],
    },
    Reading {
        namespace: KUBE_PUBLIC,
        name: "kubeadm:bootstrap-signer-clusterinfo",
        config_map: cluster_info::NAME,
        subjects: &[Who::User("system:anonymous")],
    },
];

const GET_NODES: &str = "kubeadm:get-nodes";

const GRANTING: [Granting; 5] = [
    Granting { name: GET_NODES, role: GET_NODES, to: Who::Group(BOOTSTRAPPERS) },
    Granting { name: "kubeadm:kubelet-bootstrap", role: "system:node-bootstrapper", to: Who::Group(BOOTSTRAPPERS) },
    Granting {
        name: "kubeadm:node-autoapprove-bootstrap",
        role: "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        to: Who::Group(BOOTSTRAPPERS),
    },
    Granting {
        name: "kubeadm:node-autoapprove-certificate-rotation",
        role: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        to: Who::Group(NODES),
    },
    Granting {
        name: "kubeadm:apiserver-kubelet-client",
        role: "system:kubelet-api-admin",
        to: Who::User("kube-apiserver-kubelet-client"),
    },
];

/// Adds kubeadm's roles and bindings.
pub(super) fn add(cluster: &mut TenantCluster) {
    for reading in &READING {
        let metadata = metadata(reading.namespace, reading.name);
        cluster
            .roles
            .push(Role { metadata: metadata.clone(), rules: Some(vec![get("configmaps", Some(reading.config_map))]) });
        cluster.role_bindings.push(RoleBinding {
            metadata,
            role_ref: object::role_ref("Role", reading.name),
            subjects: Some(reading.subjects.iter().copied().map(subject).collect()),
        });
    }
    cluster.cluster_roles.push(ClusterRole {
        metadata: object::of_cluster(GET_NODES, &[]),
        rules: Some(vec![get("nodes", None)]),
        ..ClusterRole::default()
    });
    cluster.cluster_role_bindings.extend(GRANTING.iter().map(binding));
    cluster.created_once.push(binding(&Granting {
        name: CLUSTER_ADMINS,
        role: "cluster-admin",
        to: Who::Group(CLUSTER_ADMINS),
    }));
}

fn get(resource: &str, name: Option<&str>) -> PolicyRule {
    PolicyRule {
        verbs: vec!["get".to_owned()],
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: name.map(|name| vec![name.to_owned()]),
        ..PolicyRule::default()
    }
}

fn binding(granting: &Granting) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: object::of_cluster(granting.name, &[]),
        role_ref: object::role_ref("ClusterRole", granting.role),
        subjects: Some(vec![subject(granting.to)]),
    }
}

fn subject(who: Who) -> Subject {
    let (kind, name) = match who {
        Who::Group(name) => ("Group", name),
        Who::User(name) => ("User", name),
    };
    Subject {
        api_group: Some(object::RBAC.to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..Subject::default()
    }
}
