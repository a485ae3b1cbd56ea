//! What our CustomResourceDefinitions have and the Go operator's do not. Everything else is equal in structure, which
//! a test compares; whatever is added here is a decision that was reviewed.

/// A field that only our CRD has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Name of the CustomResourceDefinition.
    pub crd: &'static str,
    /// Path of the field, from the root of the object.
    pub path: &'static str,
    /// Why it is there.
    pub reason: &'static str,
}

/// Fields beyond the Go operator's.
pub const FIELDS: &[Addition] = &[
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.addons.kubeProxy.configurationJSONPatches",
        reason: "nested and rootless nodes need other conntrack settings, others another mode; has an annotation twin",
    },
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.internalCACertificatesConfigMap",
        reason: "components trust an organization's own authorities; has an annotation twin",
    },
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.kubernetes.encryptionAlgorithm",
        reason: "keys can be ECDSA; has an annotation twin because typed Go clients drop the field",
    },
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "status.conditions",
        reason: "standard conditions beside the phase, for kubectl wait, Flux and Argo CD",
    },
];

/// A list whose default has more items in our CRD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongerDefault {
    /// Name of the CustomResourceDefinition.
    pub crd: &'static str,
    /// Path of the field, from the root of the object.
    pub path: &'static str,
    /// The items that only our default has.
    pub items: &'static [&'static str],
    /// Why they are there.
    pub reason: &'static str,
}

/// Defaults beyond the Go operator's. The API server fills them in when an object is created, so a stored object keeps
/// the list that it has.
pub const DEFAULTS: &[LongerDefault] = &[LongerDefault {
    crd: "tenantcontrolplanes.kamaji.clastix.io",
    path: "spec.kubernetes.admissionControllers",
    items: &["NodeRestriction"],
    reason: "without it a node's kubelet may change every other node and its pods; kubeadm enables it",
}];

/// CustomResourceDefinitions beyond the Go operator's.
pub const KINDS: &[&str] = &["etcdclusters.kamaji.clastix.io"];
