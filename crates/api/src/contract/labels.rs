//! Labels.

use std::collections::BTreeMap;

/// Marks everything that the operator writes; its value is [`PROJECT_VALUE`].
pub const PROJECT: &str = "kamaji.clastix.io/project";
/// Value of [`PROJECT`].
pub const PROJECT_VALUE: &str = "kamaji";
/// Name of the TenantControlPlane.
pub const NAME: &str = "kamaji.clastix.io/name";
/// What the object is for; see [`component`].
pub const COMPONENT: &str = "kamaji.clastix.io/component";
/// On Secrets whose expiry is watched; the value is [`LIFECYCLE_X509`] or [`LIFECYCLE_KUBECONFIG`].
pub const CERTIFICATE_LIFECYCLE: &str = "kamaji.clastix.io/certificate_lifecycle_controller";
/// Value of [`CERTIFICATE_LIFECYCLE`] of a Secret with a certificate.
pub const LIFECYCLE_X509: &str = "x509";
/// Value of [`CERTIFICATE_LIFECYCLE`] of a Secret with kubeconfigs.
pub const LIFECYCLE_KUBECONFIG: &str = "kubeconfig";
/// On a generated kubeconfig Secret: the KubeconfigGenerator.
pub const MANAGED_BY: &str = "kamaji.clastix.io/managed-by";
/// On a generated kubeconfig Secret: the TenantControlPlane.
pub const MANAGED_FOR: &str = "kamaji.clastix.io/managed-for";
/// On a migration Job: the TenantControlPlane's name.
pub const MIGRATION_TENANT_NAME: &str = "tcp.kamaji.clastix.io/name";
/// On a migration Job: the TenantControlPlane's namespace.
pub const MIGRATION_TENANT_NAMESPACE: &str = "tcp.kamaji.clastix.io/namespace";
/// Name of the EtcdCluster, on what runs it.
pub const ETCD_CLUSTER: &str = "kamaji.clastix.io/etcd-cluster";

/// Values of [`COMPONENT`], one per object of a tenant.
pub mod component {
    /// Service.
    pub const SERVICE: &str = "service";
    /// ConfigMap with the kubeadm configuration.
    pub const KUBEADM_CONFIG: &str = "kubeadmconfig";
    /// Certificate authority.
    pub const CA: &str = "ca";
    /// Front-proxy certificate authority.
    pub const FRONT_PROXY_CA: &str = "front-proxy-ca-certificate";
    /// Service-account key pair.
    pub const SA: &str = "sa-certificate";
    /// The API server's serving certificate.
    pub const API_SERVER: &str = "api-server-certificate";
    /// The API server's client certificate towards kubelets.
    pub const API_SERVER_KUBELET_CLIENT: &str = "api-server-kubelet-client-certificate";
    /// The aggregation layer's client certificate.
    pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client-certificate";
    /// Administrators' kubeconfigs.
    pub const ADMIN_KUBECONFIG: &str = "admin-kubeconfig";
    /// kube-controller-manager's kubeconfig.
    pub const CONTROLLER_MANAGER_KUBECONFIG: &str = "controller-manager-kubeconfig";
    /// kube-scheduler's kubeconfig.
    pub const SCHEDULER_KUBECONFIG: &str = "scheduler-kubeconfig";
    /// Datastore configuration.
    pub const DATASTORE_CONFIG: &str = "datastore-config";
    /// Datastore TLS material.
    pub const DATASTORE_CERTIFICATE: &str = "datastore-certificate";
    /// Egress selector configuration.
    pub const KONNECTIVITY_EGRESS: &str = "konnectivity-egress-selector-configuration";
    /// konnectivity-server's certificate.
    pub const KONNECTIVITY_CERTIFICATE: &str = "konnectivity-certificate";
    /// konnectivity-server's kubeconfig.
    pub const KONNECTIVITY_KUBECONFIG: &str = "konnectivity-kubeconfig";
    /// Copy of the owner's certificate authorities.
    pub const INTERNAL_CA: &str = "internal-ca-certificates";
    /// Deployment, and its pods.
    pub const DEPLOYMENT: &str = "deployment";
    /// Ingress.
    pub const INGRESS: &str = "ingress";
    /// TLSRoute of the API server.
    pub const GATEWAY: &str = "gateway_routes";
    /// TLSRoute of konnectivity-server.
    pub const KONNECTIVITY_GATEWAY: &str = "konnectivity_gateway_routes";
    /// Migration Job.
    pub const MIGRATE: &str = "migrate";
    /// CoreDNS, in the tenant cluster.
    pub const COREDNS: &str = "coredns";
    /// kube-proxy, in the tenant cluster.
    pub const KUBE_PROXY: &str = "kube-proxy";
    /// konnectivity agent, in the tenant cluster.
    pub const KONNECTIVITY_AGENT: &str = "konnectivity-agent";
    /// konnectivity agent's ServiceAccount, in the tenant cluster.
    pub const KONNECTIVITY_SA: &str = "konnectivity-sa";
    /// ClusterRoleBinding of konnectivity-server, in the tenant cluster.
    pub const KONNECTIVITY_CLUSTER_ROLE_BINDING: &str = "konnectivity-clusterrolebinding";
}

/// Labels of the pod template whose change rolls the pods: checksums of Secrets, and the DataStore's name.
pub mod template {
    /// Checksum of the API server's serving certificate.
    pub const API_SERVER: &str = "component.kamaji.clastix.io/api-server-certificate";
    /// Checksum of the API server's client certificate towards kubelets.
    pub const API_SERVER_KUBELET_CLIENT: &str = "component.kamaji.clastix.io/api-server-kubelet-client-certificate";
    /// Checksum of the certificate authority.
    pub const CA: &str = "component.kamaji.clastix.io/ca";
    /// Checksum of kube-controller-manager's kubeconfig.
    pub const CONTROLLER_MANAGER_KUBECONFIG: &str = "component.kamaji.clastix.io/controller-manager-kubeconfig";
    /// Checksum of the front-proxy certificate authority.
    pub const FRONT_PROXY_CA: &str = "component.kamaji.clastix.io/front-proxy-ca-certificate";
    /// Checksum of the aggregation layer's client certificate.
    pub const FRONT_PROXY_CLIENT: &str = "component.kamaji.clastix.io/front-proxy-client-certificate";
    /// Checksum of the service-account key pair.
    pub const SERVICE_ACCOUNT: &str = "component.kamaji.clastix.io/service-account";
    /// Checksum of kube-scheduler's kubeconfig.
    pub const SCHEDULER_KUBECONFIG: &str = "component.kamaji.clastix.io/scheduler-kubeconfig";
    /// Checksum of konnectivity-server's kubeconfig; not on pods that the Go operator wrote.
    pub const KONNECTIVITY_KUBECONFIG: &str = "component.kamaji.clastix.io/konnectivity-kubeconfig";
    /// The DataStore's name.
    pub const DATASTORE: &str = "component.kamaji.clastix.io/datastore";
}

/// The three labels of every object of a tenant. `tenant` is the TenantControlPlane's name, `component` one of
/// [`component`].
pub fn of(tenant: &str, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (PROJECT.to_owned(), PROJECT_VALUE.to_owned()),
        (NAME.to_owned(), tenant.to_owned()),
        (COMPONENT.to_owned(), component.to_owned()),
    ])
}

/// The labels that select a tenant's pods: the Deployment's and the Service's selector, which cannot change.
pub fn pod_selector(tenant: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME.to_owned(), tenant.to_owned())])
}

/// [`pod_selector`] as text, for the scale subresource.
pub fn pod_selector_text(tenant: &str) -> String {
    format!("{NAME}={tenant}")
}
