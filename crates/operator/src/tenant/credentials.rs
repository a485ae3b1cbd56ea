//! What proves each side of a tenant's connection to the other.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract::keys;
use kamaji_pki::kubeconfig;
use kube::ResourceExt as _;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::error::Error;

/// What the operator shows to a tenant's API server, and what the API server must show to it.
#[derive(Clone)]
pub struct Credentials {
    /// Secret with the tenant's authority, the only one that is trusted.
    pub authority: Arc<Secret>,
    /// Secret with kubeconfigs.
    pub kubeconfigs: Arc<Secret>,
    /// Key of the kubeconfig whose client certificate is shown.
    pub key: String,
}

impl Credentials {
    fn authority_pem(&self) -> &[u8] {
        value(&self.authority, keys::CA_CERT).unwrap_or_default()
    }

    fn kubeconfig(&self) -> Option<&[u8]> {
        value(&self.kubeconfigs, &self.key)
    }

    /// TLS settings: HTTP/2 only, the tenant's authority only.
    ///
    /// # Errors
    /// When a Secret does not hold what it should.
    pub(super) fn tls_config(&self) -> Result<ClientConfig, Error> {
        let secret = |secret: &Secret| secret.name_any();
        let bad_authority = |detail: String| Error::Credentials {
            what: "the authority in the key ca.crt",
            secret: secret(&self.authority),
            detail,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority_pem()) {
            let certificate = certificate.map_err(|error| bad_authority(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad_authority(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(bad_authority("it holds no certificate".to_owned()));
        }

        let (name, key) = (secret(&self.kubeconfigs), &self.key);
        let file = self.kubeconfig();
        let file = file.ok_or_else(|| Error::NoKubeconfig { secret: name.clone(), key: key.clone() })?;
        let identity = kubeconfig::parse(file).map_err(|source| Error::Kubeconfig {
            secret: name.clone(),
            key: key.clone(),
            source,
        })?;
        let bad_client = |detail: String| Error::Credentials {
            what: "the client certificate in a kubeconfig",
            secret: name.clone(),
            detail,
        };
        let chain = CertificateDer::pem_slice_iter(&identity.client_certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad_client(error.to_string()))?;
        let private_key =
            PrivateKeyDer::from_pem_slice(&identity.client_key).map_err(|error| bad_client(error.to_string()))?;

        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad_client(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private_key)
            .map_err(|error| bad_client(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A memory of sessions is for clients that connect often.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl PartialEq for Credentials {
    /// Compares what is shown and trusted, whatever else the Secrets hold.
    fn eq(&self, other: &Self) -> bool {
        self.authority_pem() == other.authority_pem() && self.kubeconfig() == other.kubeconfig()
    }
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use kamaji_testkit::certificate::Authority;

    use super::*;

    fn secret(name: &str, data: &[(&str, &str)]) -> Arc<Secret> {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        secret.metadata.name = Some(name.to_owned());
        Arc::new(secret)
    }

    fn credentials(authority: &str, kubeconfig: &str) -> Credentials {
        Credentials {
            authority: secret("one-ca", &[(keys::CA_CERT, authority)]),
            kubeconfigs: secret("one-admin-kubeconfig", &[(keys::SUPER_ADMIN_CONF, kubeconfig)]),
            key: keys::SUPER_ADMIN_CONF.to_owned(),
        }
    }

    fn refused(credentials: &Credentials) -> String {
        let error = credentials.tls_config().unwrap_err();
        assert_eq!(error.reason(), "TenantCredentials");
        error.to_string()
    }

    #[test]
    fn names_the_secret_that_cannot_be_used() {
        let authority = Authority::new("kubernetes").unwrap().certificate();
        assert_eq!(
            refused(&credentials("", "")),
            "the authority in the key ca.crt of the Secret one-ca cannot be used: it holds no certificate"
        );
        let mut elsewhere = credentials(&authority, "");
        elsewhere.key = "mine.conf".to_owned();
        let sentence = refused(&elsewhere);
        assert!(sentence.starts_with("the Secret one-admin-kubeconfig has no key mine.conf;"), "{sentence}");
        let sentence = refused(&credentials(&authority, "hunter2: ["));
        assert!(sentence.contains("the key super-admin.conf of the Secret one-admin-kubeconfig"), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }

    #[test]
    fn other_keys_of_the_secrets_are_no_other_credentials() {
        let one = credentials("authority", "kubeconfig");
        let mut other = one.clone();
        let mut more = other.kubeconfigs.as_ref().clone();
        more.data = more.data.map(|data| {
            data.into_iter().chain(BTreeMap::from([("admin.conf".to_owned(), ByteString::default())])).collect()
        });
        other.kubeconfigs = Arc::new(more);
        assert!(one == other);
        assert!(one != credentials("authority", "other"));
        assert!(one != credentials("other", "kubeconfig"));
    }
}
