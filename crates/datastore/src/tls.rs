//! TLS material of a DataStore, checked before anything is dialled.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::Error;
use crate::connection::Tls;

/// Settings of a client that trusts the DataStore's authority only, and shows its client certificate, if it has one.
///
/// # Errors
/// [`Error::InvalidTls`] with the field when a PEM block cannot be used or the key is not the certificate's.
pub(crate) fn session(tls: &Tls) -> Result<ClientConfig, Error> {
    const CA: &str = "spec.tlsConfig.certificateAuthority.certificate";
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(CA, &tls.ca)? {
        roots.add(certificate).map_err(|error| invalid(CA, format!("it is no certificate ({error})")))?;
    }
    let session = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("spec.tlsConfig", error.to_string()))?
        .with_root_certificates(roots);
    Ok(match &tls.client {
        None => session.with_no_client_auth(),
        Some((certificate, key)) => {
            let pair = Arc::new(pair(certificate, key, &provider)?);
            session.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
        }
    })
}

fn invalid(field: &'static str, detail: impl Into<String>) -> Error {
    Error::InvalidTls { field, detail: detail.into() }
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(field, format!("it is not valid PEM ({error}); give CERTIFICATE blocks")))?;
    if certificates.is_empty() {
        return Err(invalid(field, "it holds no CERTIFICATE block; give at least one certificate in PEM"));
    }
    Ok(certificates)
}

fn pair(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    const CERTIFICATE: &str = "spec.tlsConfig.clientCertificate.certificate";
    const KEY: &str = "spec.tlsConfig.clientCertificate.privateKey";
    let chain = certificates(CERTIFICATE, certificate)?;
    // The library's words about a key are not repeated: they could quote it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| invalid(KEY, "it holds no private key in PEM; give a PKCS#8, PKCS#1 or SEC1 block"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid(KEY, "it does not belong to spec.tlsConfig.clientCertificate.certificate; give the two of one pair")
        }
        rustls::Error::InvalidCertificate(error) => {
            invalid(CERTIFICATE, format!("it is no certificate ({error}); give CERTIFICATE blocks"))
        }
        _ => invalid(KEY, "its kind is not supported; give an RSA, ECDSA or Ed25519 key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    fn pair() -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["etcd".into()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    fn settings(ca: Vec<u8>, client: Option<(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig, Error> {
        session(&Tls { ca, client })
    }

    #[test]
    fn takes_a_matching_pair() {
        let (ca, _) = pair();
        settings(ca.clone(), Some(pair())).unwrap();
        settings([ca.clone(), ca.clone()].concat(), None).unwrap();
    }

    #[test]
    fn refuses_unusable_pem_and_names_the_field() {
        let (ca, key) = pair();
        let (certificate, own_key) = pair();
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        for (ca, client, field) in [
            (Vec::new(), None, "certificateAuthority.certificate"),
            (b"not pem".to_vec(), None, "certificateAuthority.certificate"),
            (key.clone(), None, "certificateAuthority.certificate"),
            (garbage.clone(), None, "certificateAuthority.certificate"),
            (ca.clone(), Some((b"x".to_vec(), own_key.clone())), "clientCertificate.certificate"),
            (ca.clone(), Some((garbage, own_key.clone())), "clientCertificate.certificate"),
            (ca.clone(), Some((certificate.clone(), b"x".to_vec())), "clientCertificate.privateKey"),
            (ca.clone(), Some((certificate.clone(), certificate.clone())), "clientCertificate.privateKey"),
            (ca.clone(), Some((certificate.clone(), key.clone())), "clientCertificate.privateKey"),
        ] {
            let error = settings(ca, client).unwrap_err();
            assert_eq!(error.category(), "tls");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
