//! Every intended difference between kubeadm's objects and ours, in one table.

use serde_json::Value;

use crate::compare::Found;

/// A difference and its reason.
#[derive(Debug)]
pub struct Difference {
    /// Minors that have it, first and last.
    pub minors: (u32, u32),
    /// Kind, namespace and name; `*` for all.
    pub object: &'static str,
    /// JSON pointer; empty for the whole object.
    pub field: &'static str,
    /// kubeadm's value as JSON; `*` for any.
    pub kubeadms: &'static str,
    /// Ours as JSON; `*` for any.
    pub ours: &'static str,
    /// Why it is so.
    pub reason: &'static str,
}

const ALL: (u32, u32) = (33, 37);

/// The table.
pub const TABLE: &[Difference] = &[
    Difference {
        minors: ALL,
        object: "*",
        field: "/metadata/labels/kamaji.clastix.io~1project",
        kubeadms: "null",
        ours: r#""kamaji""#,
        reason: "by this label the session watches its objects and finds those that are no longer wanted",
    },
    Difference {
        minors: ALL,
        object: "*",
        field: "/metadata/labels",
        kubeadms: "null",
        ours: r#"{"kamaji.clastix.io/project":"kamaji"}"#,
        reason: "the same, where kubeadm has no labels at all",
    },
    Difference {
        minors: ALL,
        object: "ConfigMap kube-system/kubelet-config",
        field: "/metadata/annotations",
        kubeadms: "*",
        ours: "null",
        reason: "kubeadm's hash says that nobody but kubeadm wrote the document; it must not replace the operator's",
    },
    Difference {
        minors: ALL,
        object: "ConfigMap kube-system/kube-proxy",
        field: "/metadata/annotations",
        kubeadms: "*",
        ours: "null",
        reason: "as for kubelet-config",
    },
    Difference {
        minors: ALL,
        object: "ConfigMap kube-system/kubeadm-config",
        field: "/data/ClusterConfiguration/etcd/external/endpoints",
        kubeadms: r#"["https://etcd-0.etcd:2379"]"#,
        ours: r#"["etcd-0.etcd:2379"]"#,
        reason: "the DataStore's endpoints as they are, which running tenants have; no node connects to them",
    },
    Difference {
        minors: (35, 37),
        object: "ConfigMap kube-system/kubeadm-config",
        field: "/data/ClusterConfiguration/etcd/external/httpEndpoints",
        kubeadms: r#"["https://etcd-0.etcd:2379"]"#,
        ours: "null",
        reason: "kubeadm reads the endpoints in its place where it is missing, and older kubeadm does not know it",
    },
    Difference {
        minors: (33, 33),
        object: "ConfigMap kube-public/cluster-info",
        field: "/data/kubeconfig/preferences",
        kubeadms: "{}",
        ours: "null",
        reason: "an empty object that older client libraries write and nobody reads",
    },
    Difference {
        minors: (33, 35),
        object: "ClusterRoleBinding kubeadm:apiserver-kubelet-client",
        field: "",
        kubeadms: "null",
        ours: r#""present""#,
        reason: "the API server's certificate towards kubelets is in no group, as kubeadm makes it from 1.36 on",
    },
    Difference {
        minors: ALL,
        object: "DaemonSet kube-system/kube-proxy",
        field: "/spec/template/metadata/annotations",
        kubeadms: "null",
        ours: "*",
        reason: "its pods roll when their configuration changes, which kubeadm leaves to a person",
    },
    Difference {
        minors: ALL,
        object: "Secret kube-system/bootstrap-token-abcdef",
        field: "",
        kubeadms: r#""present""#,
        ours: "null",
        reason: "no token is made for anybody: whoever adds nodes creates one with `kubeadm token create`",
    },
];

/// The row that lists what was found.
pub fn find(minor: u32, found: &Found) -> Option<usize> {
    let says = |text: &str, value: &Value| text == "*" || serde_json::from_str::<Value>(text).unwrap() == *value;
    TABLE.iter().position(|row| {
        (row.minors.0..=row.minors.1).contains(&minor)
            && [found.object.as_str(), "*"].contains(&row.object)
            && row.field == found.field
            && says(row.kubeadms, &found.kubeadms)
            && says(row.ours, &found.ours)
            && !row.reason.is_empty()
    })
}
