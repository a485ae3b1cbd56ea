//! The tenant's Secrets: their names, labels and keys (docs/reference/compatibility.md, "Objects").

use super::{
    keys,
    labels::{self, component},
};

/// One Secret of a tenant that the operator keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantSecret {
    /// The tenant's certificate authority.
    Ca,
    /// The authority of the aggregation layer's client certificate.
    FrontProxyCa,
    /// Key pair that signs service-account tokens.
    ServiceAccount,
    /// Serving certificate of kube-apiserver.
    ApiServer,
    /// kube-apiserver's client certificate for kubelets.
    KubeletClient,
    /// kube-apiserver's client certificate for aggregated API servers.
    FrontProxyClient,
    /// `admin.conf`, `super-admin.conf` and their in-cluster variants.
    AdminKubeconfig,
    /// kube-controller-manager's kubeconfig.
    ControllerManagerKubeconfig,
    /// kube-scheduler's kubeconfig.
    SchedulerKubeconfig,
    /// Schema, user and password on the datastore.
    DatastoreConfig,
    /// TLS material for the datastore.
    DatastoreCertificate,
    /// konnectivity-server's certificate.
    KonnectivityCertificate,
    /// konnectivity-server's kubeconfig.
    KonnectivityKubeconfig,
}

impl TenantSecret {
    /// Every Secret, in the order in which they are made.
    pub const ALL: [Self; 13] = [
        Self::Ca,
        Self::FrontProxyCa,
        Self::ServiceAccount,
        Self::ApiServer,
        Self::KubeletClient,
        Self::FrontProxyClient,
        Self::AdminKubeconfig,
        Self::ControllerManagerKubeconfig,
        Self::SchedulerKubeconfig,
        Self::DatastoreConfig,
        Self::DatastoreCertificate,
        Self::KonnectivityCertificate,
        Self::KonnectivityKubeconfig,
    ];

    /// The Secrets that hold keys which clients outside the pods trust: never minted anew for a running tenant.
    pub const ROOTS: [Self; 3] = [Self::Ca, Self::FrontProxyCa, Self::ServiceAccount];

    /// Value of the component label.
    pub fn component(self) -> &'static str {
        match self {
            Self::Ca => component::CA,
            Self::FrontProxyCa => component::FRONT_PROXY_CA,
            Self::ServiceAccount => component::SA,
            Self::ApiServer => component::API_SERVER,
            Self::KubeletClient => component::API_SERVER_KUBELET_CLIENT,
            Self::FrontProxyClient => component::FRONT_PROXY_CLIENT,
            Self::AdminKubeconfig => component::ADMIN_KUBECONFIG,
            Self::ControllerManagerKubeconfig => component::CONTROLLER_MANAGER_KUBECONFIG,
            Self::SchedulerKubeconfig => component::SCHEDULER_KUBECONFIG,
            Self::DatastoreConfig => component::DATASTORE_CONFIG,
            Self::DatastoreCertificate => component::DATASTORE_CERTIFICATE,
            Self::KonnectivityCertificate => component::KONNECTIVITY_CERTIFICATE,
            Self::KonnectivityKubeconfig => component::KONNECTIVITY_KUBECONFIG,
        }
    }

    /// Name of the Secret of `tenant`.
    pub fn name(self, tenant: &str) -> String {
        format!("{tenant}-{}", self.component())
    }

    /// Keys within its data.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Ca => &[keys::CA_CERT, keys::CA_KEY, keys::TLS_CERT, keys::TLS_KEY],
            Self::FrontProxyCa => &[keys::FRONT_PROXY_CA_CERT, keys::FRONT_PROXY_CA_KEY],
            Self::ServiceAccount => &[keys::SA_PUBLIC, keys::SA_PRIVATE],
            Self::ApiServer => &[keys::API_SERVER_CERT, keys::API_SERVER_KEY],
            Self::KubeletClient => &[keys::API_SERVER_KUBELET_CLIENT_CERT, keys::API_SERVER_KUBELET_CLIENT_KEY],
            Self::FrontProxyClient => &[keys::FRONT_PROXY_CLIENT_CERT, keys::FRONT_PROXY_CLIENT_KEY],
            Self::AdminKubeconfig => {
                &[keys::ADMIN_CONF, keys::ADMIN_SVC, keys::SUPER_ADMIN_CONF, keys::SUPER_ADMIN_SVC]
            }
            Self::ControllerManagerKubeconfig => &[keys::CONTROLLER_MANAGER_CONF],
            Self::SchedulerKubeconfig => &[keys::SCHEDULER_CONF],
            Self::DatastoreConfig => &[keys::DB_CONNECTION_STRING, keys::DB_PASSWORD, keys::DB_SCHEMA, keys::DB_USER],
            Self::DatastoreCertificate => &[keys::CA_CERT, keys::DATASTORE_CERT, keys::DATASTORE_KEY],
            Self::KonnectivityCertificate => &[keys::TLS_CERT, keys::TLS_KEY],
            Self::KonnectivityKubeconfig => &[keys::KONNECTIVITY_SERVER_CONF],
        }
    }

    /// Value of the certificate-lifecycle label, for those that expire.
    pub fn lifecycle(self) -> Option<&'static str> {
        match self {
            Self::ApiServer
            | Self::KubeletClient
            | Self::FrontProxyClient
            | Self::DatastoreCertificate
            | Self::KonnectivityCertificate => Some(labels::LIFECYCLE_X509),
            Self::AdminKubeconfig
            | Self::ControllerManagerKubeconfig
            | Self::SchedulerKubeconfig
            | Self::KonnectivityKubeconfig => Some(labels::LIFECYCLE_KUBECONFIG),
            Self::Ca | Self::FrontProxyCa | Self::ServiceAccount | Self::DatastoreConfig => None,
        }
    }

    /// The Secret's `type`.
    pub fn secret_type(self) -> &'static str {
        match self {
            Self::KonnectivityCertificate => "kubernetes.io/tls",
            _ => "Opaque",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_running_tenants_do_not_change() {
        let names: Vec<String> = TenantSecret::ALL.into_iter().map(|secret| secret.name("t")).collect();
        let expected = [
            "t-ca",
            "t-front-proxy-ca-certificate",
            "t-sa-certificate",
            "t-api-server-certificate",
            "t-api-server-kubelet-client-certificate",
            "t-front-proxy-client-certificate",
            "t-admin-kubeconfig",
            "t-controller-manager-kubeconfig",
            "t-scheduler-kubeconfig",
            "t-datastore-config",
            "t-datastore-certificate",
            "t-konnectivity-certificate",
            "t-konnectivity-kubeconfig",
        ];
        assert_eq!(names, expected);
    }
}
