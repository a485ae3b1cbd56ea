//! Names of objects, derived from the names of what they belong to.
//!
//! `tenant` is always the TenantControlPlane's name; the objects are in its namespace unless said otherwise.

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
    /// The Secret with the certificate authority.
    ca = "-ca",
    /// The Secret with the front-proxy certificate authority.
    front_proxy_ca = "-front-proxy-ca-certificate",
    /// The Secret with the service-account key pair.
    sa = "-sa-certificate",
    /// The Secret with the API server's serving certificate.
    api_server = "-api-server-certificate",
    /// The Secret with the API server's client certificate towards kubelets.
    api_server_kubelet_client = "-api-server-kubelet-client-certificate",
    /// The Secret with the aggregation layer's client certificate.
    front_proxy_client = "-front-proxy-client-certificate",
    /// The Secret with the administrators' kubeconfigs.
    admin_kubeconfig = "-admin-kubeconfig",
    /// The Secret with kube-controller-manager's kubeconfig.
    controller_manager_kubeconfig = "-controller-manager-kubeconfig",
    /// The Secret with kube-scheduler's kubeconfig.
    scheduler_kubeconfig = "-scheduler-kubeconfig",
    /// The Secret with the datastore configuration.
    datastore_config = "-datastore-config",
    /// The Secret with the datastore TLS material.
    datastore_certificate = "-datastore-certificate",
    /// The ConfigMap with the egress selector configuration.
    konnectivity_egress = "-konnectivity-egress-selector-configuration",
    /// The Secret with konnectivity-server's certificate.
    konnectivity_certificate = "-konnectivity-certificate",
    /// The Secret with konnectivity-server's kubeconfig.
    konnectivity_kubeconfig = "-konnectivity-kubeconfig",
}

/// The Secret that a KubeconfigGenerator writes for a tenant.
pub fn generated_kubeconfig(tenant: &str, generator: &str) -> String {
    format!("{tenant}-{generator}")
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
            (ca("t"), "t-ca"),
            (front_proxy_ca("t"), "t-front-proxy-ca-certificate"),
            (sa("t"), "t-sa-certificate"),
            (api_server("t"), "t-api-server-certificate"),
            (api_server_kubelet_client("t"), "t-api-server-kubelet-client-certificate"),
            (front_proxy_client("t"), "t-front-proxy-client-certificate"),
            (admin_kubeconfig("t"), "t-admin-kubeconfig"),
            (controller_manager_kubeconfig("t"), "t-controller-manager-kubeconfig"),
            (scheduler_kubeconfig("t"), "t-scheduler-kubeconfig"),
            (datastore_config("t"), "t-datastore-config"),
            (datastore_certificate("t"), "t-datastore-certificate"),
            (konnectivity_egress("t"), "t-konnectivity-egress-selector-configuration"),
            (konnectivity_certificate("t"), "t-konnectivity-certificate"),
            (konnectivity_kubeconfig("t"), "t-konnectivity-kubeconfig"),
            (generated_kubeconfig("t", "ops"), "t-ops"),
            (migration_job("0b6e"), "migrate-0b6e"),
            (service_host("t", "ns"), "t.ns.svc"),
            (namespaced("ns", "t"), "ns/t"),
        ];
        for (name, expected) in names {
            assert_eq!(name, expected);
        }
    }
}
