//! The tenant's Secrets: their names, labels and keys (docs/reference/compatibility.md, "Objects").

/// Name of the ConfigMap with kubeadm's configuration.
pub fn kubeadm_config(tenant: &str) -> String {
    format!("{tenant}-kubeadmconfig")
}

/// Name of the ConfigMap with the API server's egress selector.
pub fn egress_selector(tenant: &str) -> String {
    format!("{tenant}-konnectivity-egress-selector-configuration")
}

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
            Self::Ca => "ca",
            Self::FrontProxyCa => "front-proxy-ca-certificate",
            Self::ServiceAccount => "sa-certificate",
            Self::ApiServer => "api-server-certificate",
            Self::KubeletClient => "api-server-kubelet-client-certificate",
            Self::FrontProxyClient => "front-proxy-client-certificate",
            Self::AdminKubeconfig => "admin-kubeconfig",
            Self::ControllerManagerKubeconfig => "controller-manager-kubeconfig",
            Self::SchedulerKubeconfig => "scheduler-kubeconfig",
            Self::DatastoreConfig => "datastore-config",
            Self::DatastoreCertificate => "datastore-certificate",
            Self::KonnectivityCertificate => "konnectivity-certificate",
            Self::KonnectivityKubeconfig => "konnectivity-kubeconfig",
        }
    }

    /// Name of the Secret of `tenant`.
    pub fn name(self, tenant: &str) -> String {
        format!("{tenant}-{}", self.component())
    }

    /// Value of the certificate-lifecycle label, for those that expire.
    pub fn lifecycle(self) -> Option<&'static str> {
        match self {
            Self::ApiServer
            | Self::KubeletClient
            | Self::FrontProxyClient
            | Self::DatastoreCertificate
            | Self::KonnectivityCertificate => Some("x509"),
            Self::AdminKubeconfig
            | Self::ControllerManagerKubeconfig
            | Self::SchedulerKubeconfig
            | Self::KonnectivityKubeconfig => Some("kubeconfig"),
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
