//! Carries out requests: makes keys and has them signed. CPU only, no I/O.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::keys;
use kamaji_pki::{Authority, Error, KeyAlgorithm, KeyPairPem, PrivateKey, Profile, kubeconfig, self_signed};

use super::{Content, Data, Request, Signer, authorities, value};
use crate::control_plane::names::TenantSecret;

/// The two authorities of a tenant, with their keys.
#[derive(Debug)]
pub struct Signers {
    ca: Authority,
    front_proxy_ca: Authority,
}

impl Signers {
    /// Reads both from their Secrets.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn new(ca: &Secret, front_proxy_ca: &Secret) -> Result<Self, Error> {
        let read = |which: TenantSecret, secret: &Secret| {
            let (certificate, key) = authorities::pair_keys(which);
            Authority::from_pem(value(secret, certificate), value(secret, key))
        };
        Ok(Self { ca: read(TenantSecret::Ca, ca)?, front_proxy_ca: read(TenantSecret::FrontProxyCa, front_proxy_ca)? })
    }

    fn of(&self, signer: Signer) -> &Authority {
        match signer {
            Signer::Ca => &self.ca,
            Signer::FrontProxyCa => &self.front_proxy_ca,
        }
    }
}

/// The data of the Secret that `request` asks for.
///
/// # Errors
/// When a key cannot be made or a certificate cannot be signed.
pub fn data(request: &Request, signers: &Signers) -> Result<Data, Error> {
    let mut data = Data::new();
    let mut put = |key: &str, bytes: Vec<u8>| {
        data.insert(key.to_owned(), ByteString(bytes));
    };
    for content in &request.content {
        match content {
            Content::Keep { key, value } => put(key, value.0.clone()),
            Content::Certificate { certificate_key, private_key_key, profile, signer, algorithm } => {
                let pair = pair(profile, signers.of(*signer), *algorithm)?;
                put(certificate_key, pair.certificate);
                put(private_key_key, pair.key);
            }
            Content::Kubeconfig { key, cluster_name, server, profile, algorithm } => {
                let identity = kubeconfig::Identity {
                    cluster_name: cluster_name.clone(),
                    user_name: profile.common_name.clone(),
                    server: server.clone(),
                    authority_pem: signers.ca.certificate_pem().to_vec(),
                    client: pair(profile, &signers.ca, *algorithm)?,
                };
                put(key, kubeconfig::render(&identity));
            }
        }
    }
    Ok(data)
}

/// The data of a root's Secret, whose private key is `key`.
///
/// # Errors
/// When the certificate cannot be signed.
pub fn root(which: TenantSecret, profile: &Profile, key: &PrivateKey) -> Result<Data, Error> {
    let entries: Vec<(&str, Vec<u8>)> = match which {
        TenantSecret::ServiceAccount => {
            vec![(keys::SA_PUBLIC, key.public_key_pem()), (keys::SA_PRIVATE, key.to_pem())]
        }
        TenantSecret::FrontProxyCa => {
            vec![(keys::FRONT_PROXY_CA_CERT, self_signed(profile, key)?), (keys::FRONT_PROXY_CA_KEY, key.to_pem())]
        }
        _ => {
            // Cluster API reads the authority under the tls keys.
            let certificate = self_signed(profile, key)?;
            vec![
                (keys::CA_CERT, certificate.clone()),
                (keys::CA_KEY, key.to_pem()),
                (keys::TLS_CERT, certificate),
                (keys::TLS_KEY, key.to_pem()),
            ]
        }
    };
    Ok(entries.into_iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes))).collect())
}

/// A new key and its certificate.
///
/// # Errors
/// When the key cannot be made or the certificate cannot be signed.
pub fn pair(profile: &Profile, authority: &Authority, algorithm: KeyAlgorithm) -> Result<KeyPairPem, Error> {
    let key = PrivateKey::generate(algorithm)?;
    Ok(KeyPairPem { certificate: authority.issue(profile, &key)?, key: key.to_pem() })
}
