//! The DataStore that tenants name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::{
    DataStore, DataStoreSpec,
    contract::keys,
    data_store::{CertificateAuthority, ClientCertificate, ContentRef, Driver, SecretReference, TlsConfig},
};

use super::{
    metadata::owner,
    names::{self, EtcdSecret},
    resolved::Resolved,
};

/// The DataStore of the EtcdCluster's name, once etcd asks its clients who they are.
///
/// `voters` is the number of members that vote. While the cluster grows, `live` keeps its endpoints: each change rolls
/// the pods of every tenant, so it is made once.
pub fn data_store(resolved: &Resolved, voters: usize, live: Option<&DataStore>) -> DataStore {
    let reference = |secret: EtcdSecret, key: &str| ContentRef {
        secret_reference: Some(SecretReference {
            name: Some(secret.name(&resolved.name)),
            namespace: Some(resolved.namespace.clone()),
            key_path: key.to_owned(),
        }),
        ..ContentRef::default()
    };
    DataStore {
        metadata: ObjectMeta {
            name: Some(resolved.name.clone()),
            labels: Some(names::labels(&resolved.name)),
            owner_references: Some(vec![owner(resolved)]),
            ..ObjectMeta::default()
        },
        spec: DataStoreSpec {
            driver: Driver::Etcd,
            endpoints: endpoints(resolved, voters, live),

            tls_config: Some(TlsConfig {
                certificate_authority: CertificateAuthority {
                    certificate: reference(EtcdSecret::Ca, keys::CA_CERT),
                    private_key: Some(reference(EtcdSecret::Ca, keys::CA_KEY)),
                },
                client_certificate: Some(ClientCertificate {
                    certificate: reference(EtcdSecret::Root, keys::TLS_CERT),
                    private_key: reference(EtcdSecret::Root, keys::TLS_KEY),
                }),
            }),
            ..DataStoreSpec::default()
        },
        status: None,
    }
}

fn endpoints(resolved: &Resolved, voters: usize, live: Option<&DataStore>) -> Vec<String> {
    let wanted = usize::try_from(resolved.replicas).unwrap_or_default();
    let listed = live.map_or(0, |live| live.spec.endpoints.len());
    // Never fewer than there were: a member that is being replaced comes back under its name.
    let count = if voters >= wanted { wanted } else { listed.clamp(1, wanted) };
    resolved.addresses.iter().take(count).map(|address| address.client.clone()).collect()
}
