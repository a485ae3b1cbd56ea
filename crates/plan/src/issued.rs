//! The tenant's certificates and kubeconfigs, as far as later steps need to know them.

use std::collections::BTreeMap;

use kamaji_api::contract::{labels::template, secrets::TenantSecret};
use kamaji_pki::KeyAlgorithm;

/// What is known of one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretDigest {
    /// Its name.
    pub name: String,
    /// Its checksum annotation, which the status repeats.
    pub checksum: String,
    /// MD5 over the values that the pods read, sorted by key; a label of the pods. Empty where pods do not follow it.
    pub hash: String,
}

/// The outcome of the issue step: every certificate and kubeconfig is there and valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Key algorithm of the tenant's authority.
    pub algorithm: KeyAlgorithm,
    /// Digests by Secret.
    pub secrets: BTreeMap<TenantSecret, SecretDigest>,
}

impl Issued {
    /// Labels of the pods and the hashes that they hold (docs/reference/compatibility.md, "Pod template").
    pub fn pod_hashes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (template::API_SERVER, TenantSecret::ApiServer),
            (template::API_SERVER_KUBELET_CLIENT, TenantSecret::KubeletClient),
            (template::CA, TenantSecret::Ca),
            (template::CONTROLLER_MANAGER_KUBECONFIG, TenantSecret::ControllerManagerKubeconfig),
            (template::FRONT_PROXY_CA, TenantSecret::FrontProxyCa),
            (template::FRONT_PROXY_CLIENT, TenantSecret::FrontProxyClient),
            (template::SERVICE_ACCOUNT, TenantSecret::ServiceAccount),
            (template::SCHEDULER_KUBECONFIG, TenantSecret::SchedulerKubeconfig),
        ]
        .into_iter()
        .filter_map(|(label, secret)| Some((label, self.secrets.get(&secret)?.hash.as_str())))
    }

    /// The label with the hash of konnectivity-server's kubeconfig, which is read at start as well.
    ///
    /// `None` for one of the Go operator's: its certificate outlives the pods, which have no such label.
    pub fn konnectivity_hash(&self) -> Option<(&'static str, &str)> {
        let digest = self.secrets.get(&TenantSecret::KonnectivityKubeconfig)?;
        (!digest.hash.is_empty()).then_some((template::KONNECTIVITY_KUBECONFIG, digest.hash.as_str()))
    }
}
