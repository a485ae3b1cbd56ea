//! Keys within the data of Secrets and ConfigMaps.

/// Certificate of the certificate authority.
pub const CA_CERT: &str = "ca.crt";
/// Key of the certificate authority.
pub const CA_KEY: &str = "ca.key";
/// Certificate of a `kubernetes.io/tls` Secret; on the CA Secret, a copy of [`CA_CERT`].
pub const TLS_CERT: &str = "tls.crt";
/// Key of a `kubernetes.io/tls` Secret; on the CA Secret, a copy of [`CA_KEY`].
pub const TLS_KEY: &str = "tls.key";
/// Certificate of the front-proxy certificate authority.
pub const FRONT_PROXY_CA_CERT: &str = "front-proxy-ca.crt";
/// Key of the front-proxy certificate authority.
pub const FRONT_PROXY_CA_KEY: &str = "front-proxy-ca.key";
/// Public service-account key.
pub const SA_PUBLIC: &str = "sa.pub";
/// Private service-account key.
pub const SA_PRIVATE: &str = "sa.key";
/// The API server's serving certificate.
pub const API_SERVER_CERT: &str = "apiserver.crt";
/// Its key.
pub const API_SERVER_KEY: &str = "apiserver.key";
/// The API server's client certificate towards kubelets.
pub const API_SERVER_KUBELET_CLIENT_CERT: &str = "apiserver-kubelet-client.crt";
/// Its key.
pub const API_SERVER_KUBELET_CLIENT_KEY: &str = "apiserver-kubelet-client.key";
/// The aggregation layer's client certificate.
pub const FRONT_PROXY_CLIENT_CERT: &str = "front-proxy-client.crt";
/// Its key.
pub const FRONT_PROXY_CLIENT_KEY: &str = "front-proxy-client.key";
/// Administrators' kubeconfig, by the tenant's endpoint.
pub const ADMIN_CONF: &str = "admin.conf";
/// Administrators' kubeconfig, by the Service's name.
pub const ADMIN_SVC: &str = "admin.svc";
/// Super-administrators' kubeconfig, by the tenant's endpoint.
pub const SUPER_ADMIN_CONF: &str = "super-admin.conf";
/// Super-administrators' kubeconfig, by the Service's name.
pub const SUPER_ADMIN_SVC: &str = "super-admin.svc";
/// kube-controller-manager's kubeconfig.
pub const CONTROLLER_MANAGER_CONF: &str = "controller-manager.conf";
/// kube-scheduler's kubeconfig.
pub const SCHEDULER_CONF: &str = "scheduler.conf";
/// konnectivity-server's kubeconfig.
pub const KONNECTIVITY_SERVER_CONF: &str = "konnectivity-server.conf";
/// The egress selector configuration.
pub const EGRESS_SELECTOR: &str = "egress-selector-configuration.yaml";
/// Datastore: first endpoint, empty for etcd.
pub const DB_CONNECTION_STRING: &str = "DB_CONNECTION_STRING";
/// Datastore: schema.
pub const DB_SCHEMA: &str = "DB_SCHEMA";
/// Datastore: user.
pub const DB_USER: &str = "DB_USER";
/// Datastore: password.
pub const DB_PASSWORD: &str = "DB_PASSWORD";
/// Datastore: client certificate.
pub const DATASTORE_CERT: &str = "server.crt";
/// Datastore: client key.
pub const DATASTORE_KEY: &str = "server.key";
/// kubeadm's InitConfiguration, JSON.
pub const INIT_CONFIGURATION: &str = "InitConfiguration";
/// kubeadm's ClusterConfiguration, JSON here, YAML in the tenant's `kubeadm-config`.
pub const CLUSTER_CONFIGURATION: &str = "ClusterConfiguration";
/// The kubeconfig in a Secret that a KubeconfigGenerator wrote.
pub const GENERATED_KUBECONFIG: &str = "value";
