//! Names of objects, derived from the names of what they belong to.
//!
//! `tenant` is always the TenantControlPlane's name; the objects are in its namespace unless said otherwise. Secrets have
//! theirs in [`super::secrets`].

/// Defines one function per suffix: `<tenant><suffix>`.
macro_rules! suffixed {
    ($( $(#[$meta:meta])* $name:ident = $suffix:literal ),+ $(,)?) => {
        $( $(#[$meta])* pub fn $name(tenant: &str) -> String { format!(concat!("{}", $suffix), tenant) } )+
    };
}

suffixed! {
    /// The Service.
    service = "",
    /// The Deployment.
    deployment = "",
    /// The Ingress.
    ingress = "",
    /// The TLSRoute of the API server.
    tls_route = "",
    /// The TLSRoute of konnectivity-server.
    konnectivity_tls_route = "-konnectivity",
    /// The ConfigMap with the kubeadm configuration.
    kubeadm_config = "-kubeadmconfig",
    /// The ConfigMap with the egress selector configuration.
    konnectivity_egress = "-konnectivity-egress-selector-configuration",
}

/// The Secret that a KubeconfigGenerator writes for a tenant.
pub fn generated_kubeconfig(tenant: &str, generator: &str) -> String {
    format!("{tenant}-{generator}")
}

/// The immutable copy of the owner's certificate authorities; `hash` is of its content.
pub fn internal_ca(tenant: &str, hash: &str) -> String {
    format!("{tenant}-internal-ca-{hash}")
}

/// The migration Job, in the operator's namespace. `uid` is the TenantControlPlane's.
pub fn migration_job(uid: &str) -> String {
    format!("migrate-{uid}")
}

/// Host of the tenant's Service within the management cluster.
pub fn service_host(tenant: &str, namespace: &str) -> String {
    format!("{tenant}.{namespace}.svc")
}

/// A TenantControlPlane or another namespaced object, as status and logs name it.
pub fn namespaced(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_running_tenants_do_not_change() {
        let names = [
            (service("t"), "t"),
            (deployment("t"), "t"),
            (ingress("t"), "t"),
            (tls_route("t"), "t"),
            (konnectivity_tls_route("t"), "t-konnectivity"),
            (kubeadm_config("t"), "t-kubeadmconfig"),
            (konnectivity_egress("t"), "t-konnectivity-egress-selector-configuration"),
            (generated_kubeconfig("t", "ops"), "t-ops"),
            (internal_ca("t", "0b6e"), "t-internal-ca-0b6e"),
            (migration_job("0b6e"), "migrate-0b6e"),
            (service_host("t", "ns"), "t.ns.svc"),
            (namespaced("ns", "t"), "ns/t"),
        ];
        for (name, expected) in names {
            assert_eq!(name, expected);
        }
    }
}
