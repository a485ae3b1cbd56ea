//! Certificates for the parts that tests start. Never for a product: one key algorithm, a fixed and long validity.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd, string::PrintableString,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate could not be made.
    #[error("no test certificate could be issued for {subject}")]
    Issue {
        /// Common name of the certificate.
        subject: String,
        /// What rcgen said.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM text holds no certificate or key.
    #[error("the PEM text of the {what} cannot be read")]
    Pem {
        /// `authority`, `client certificate` or `client key`.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates do not make up a TLS client.
    #[error("the certificates do not make up a TLS client")]
    Tls(#[source] rustls::Error),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Issue { .. } => "issue",
            Self::Pem { .. } => "pem",
            Self::Tls(_) => "tls",
        }
    }
}

/// A certificate and its private key (ECDSA P-256, PKCS#8), both PEM.
#[derive(Clone)]
pub struct Identity {
    /// `CERTIFICATE` block.
    pub certificate: String,
    /// `PRIVATE KEY` block.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A certificate authority that signs servers and clients.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.0.pem()).finish()
    }
}

impl Authority {
    /// A new self-signed authority with this common name.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        let issue = |source| Error::Issue { subject: common_name.to_owned(), source };
        let params = params(common_name, &[], &[]).map_err(issue)?;
        KeyPair::generate().and_then(|key| Self::self_signed(params, key)).map_err(issue)
    }

    /// An authority that a Go program or the operator made: whoever trusts that one trusts what this one signs. `key` is
    /// PEM.
    pub fn with_key(common_name: &str, key: &str) -> Result<Self, Error> {
        let issue = |source| Error::Issue { subject: common_name.to_owned(), source };
        let mut params = params(common_name, &[], &[]).map_err(issue)?;
        // An issuer is found by the bytes of its name, and Go's encoding of a plain text is not rcgen's.
        let name = PrintableString::try_from(common_name).map_err(issue)?;
        params.distinguished_name.push(DnType::CommonName, DnValue::PrintableString(name));
        KeyPair::from_pem(key).and_then(|key| Self::self_signed(params, key)).map_err(issue)
    }

    fn self_signed(mut params: CertificateParams, key: KeyPair) -> Result<Self, rcgen::Error> {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        CertifiedIssuer::self_signed(params, key).map(Self)
    }

    /// The authority's own certificate and key.
    pub fn identity(&self) -> Identity {
        Identity { certificate: self.0.pem(), key: self.0.key().serialize_pem() }
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server with these DNS names and IP addresses.
    ///
    /// It is good for clients too, as etcd's peers and its own gateway need it.
    pub fn server(&self, common_name: &str, names: &[&str]) -> Result<Identity, Error> {
        self.issue(
            common_name,
            &[],
            names,
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        )
    }

    /// A certificate for a client; to Kubernetes the common name is the user and the organizations are its groups.
    pub fn client(&self, common_name: &str, organizations: &[&str]) -> Result<Identity, Error> {
        self.issue(common_name, organizations, &[], vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        common_name: &str,
        organizations: &[&str],
        names: &[&str],
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Identity, Error> {
        let issue = |source| Error::Issue { subject: common_name.to_owned(), source };
        let mut params = params(common_name, organizations, names).map_err(issue)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(issue)?;
        let certificate = params.signed_by(&key, &self.0).map_err(issue)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(common_name: &str, organizations: &[&str], names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    Ok(params)
}

/// TLS settings of a client that trusts `authority` (PEM) only and shows `identity`, if any.
pub fn client_config(authority: &str, identity: Option<&Identity>) -> Result<Arc<rustls::ClientConfig>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|source| Error::Pem { what: "authority", source })?;
        roots.add(certificate).map_err(Error::Tls)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| Error::Pem { what: "client certificate", source })?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
                .map_err(|source| Error::Pem { what: "client key", source })?;
            builder.with_client_auth_cert(chain, key).map_err(Error::Tls)?
        }
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let authority = Authority::new("test").unwrap();
        let text = format!("{authority:?} {:?}", authority.client("root", &[]).unwrap());
        assert!(text.contains("BEGIN CERTIFICATE"));
        assert!(!text.contains("PRIVATE KEY"));
    }

    #[test]
    fn refuses_a_broken_client_key() {
        let authority = Authority::new("test").unwrap();
        let mut identity = authority.client("root", &[]).unwrap();
        identity.key = "nonsense".to_owned();
        let error = client_config(&authority.certificate(), Some(&identity)).unwrap_err();
        assert_eq!(error.category(), "pem");
    }
}
