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
        crd: "datastores.kamaji.clastix.io",
        path: "status.login",
        reason: "a tenant that asks for the operator's own login is refused by the API server, which reads no Secrets",
    },
    Addition {
        crd: "datastores.kamaji.clastix.io",
        path: "status.takenNames",
        reason: "a tenant that asks for a name of another one is refused by the API server",
    },
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.addons.kubeProxy.configurationJSONPatches",
        reason: "nested and rootless nodes need other conntrack settings, others another mode; has an annotation twin",
    },
    Addition {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.dataStoreSelector",
        reason: "the operator chooses among DataStores, by labels and room; has an annotation twin",
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

/// A field with more validation rules in our CRD. They follow the Go operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoreRules {
    /// Name of the CustomResourceDefinition.
    pub crd: &'static str,
    /// Path of the field, from the root of the object.
    pub path: &'static str,
    /// The rules that only our field has, each with the message of its violation.
    pub rules: &'static [(&'static str, &'static str)],
    /// Why they are there.
    pub reason: &'static str,
}

/// Rules of a name on a datastore, whatever its driver; an empty one stands for none. What the drivers refuse besides is
/// a condition of the tenant.
pub(super) const DATA_STORE_NAME: [(&str, &str); 4] = [
    (
        "!self.contains('/')",
        "the name must not contain '/', which would reach the keys of another tenant; choose another name",
    ),
    (
        r"!self.matches('\\p{Cc}')",
        "the name must not contain a control character, which could reach the keys of another tenant; choose another name",
    ),
    (
        "!(self in ['root', '.', '..'])",
        "the name must not be root, which is the administrator of a datastore, nor '.' or '..', which are relative \
         paths; choose another name",
    ),
    ("bytes(self).size() <= 200", "the name must not be longer than 200 bytes; choose a shorter name"),
];

/// Validation rules beyond the Go operator's.
pub const RULES: &[MoreRules] = &[
    MoreRules {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.dataStoreSchema",
        rules: &DATA_STORE_NAME,
        reason: "a name that reaches beyond the tenant is refused before anything is made; the Go operator takes it",
    },
    MoreRules {
        crd: "tenantcontrolplanes.kamaji.clastix.io",
        path: "spec.dataStoreUsername",
        rules: &DATA_STORE_NAME,
        reason: "a name that reaches beyond the tenant is refused before anything is made; the Go operator takes it",
    },
];

/// CustomResourceDefinitions beyond the Go operator's.
pub const KINDS: &[&str] = &["etcdclusters.kamaji.clastix.io"];
