//! Reading certificates.

use std::net::IpAddr;

use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::oid::AssociatedOid;
use der::oid::db::{rfc4519, rfc5280, rfc5912};
use der::{Decode, Encode, Sequence, Tag};
use jiff::Timestamp;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use rustls_pki_types::pem::SectionKind;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::asn1::{SignedCertificate, TbsCertificate};
use crate::{Error, KeyAlgorithm, PrivateKey, pem_block, signature};

/// A certificate, parsed once into the facts that decisions are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    signed_part: Vec<u8>,
    signature_algorithm: ObjectIdentifier,
    signature: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    key_algorithm: Option<KeyAlgorithm>,
    not_before: Timestamp,
    not_after: Timestamp,
    common_name: String,
    organizations: Vec<String>,
    extensions: Extensions,
}

/// The extensions that we understand; others are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Extensions {
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    authority: bool,
    path_length: Option<u8>,
    may_sign: Option<bool>,
    purposes: Option<Vec<ObjectIdentifier>>,
    key_id: Option<Vec<u8>>,
}

/// An RSA public key (RFC 8017, appendix A.1.1).
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    #[allow(dead_code, reason = "the second field of the ASN.1 type")]
    exponent: UintRef<'a>,
}

impl Certificate {
    /// The first certificate of PEM input; blocks of other kinds are skipped.
    ///
    /// Fails on input that is not PEM, holds no `CERTIFICATE` block, or holds one that is not a certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::all_from_pem(pem).next().unwrap_or(Err(Error::NoBlock { what: "certificate", labels: "CERTIFICATE" }))
    }

    /// Every certificate of PEM input in its order, at least one: a trust bundle, or a certificate with its chain.
    ///
    /// Fails as [`Certificate::from_pem`] does, also when only a later certificate is malformed.
    pub fn bundle_from_pem(pem: &[u8]) -> Result<Vec<Self>, Error> {
        let certificates = Self::all_from_pem(pem).collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(Error::NoBlock { what: "certificate", labels: "CERTIFICATE" });
        }
        Ok(certificates)
    }

    pub(crate) fn all_from_pem(pem: &[u8]) -> impl Iterator<Item = Result<Self, Error>> {
        pem_block::blocks(pem, "certificate").filter_map(|block| match block {
            Ok(block) if block.kind == SectionKind::Certificate => Some(Self::from_der(&block.content)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// A certificate in DER.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, Error> {
        let malformed = |part| move |source| Error::MalformedCertificate { part, source };
        let certificate = SignedCertificate::from_der(der).map_err(malformed("frame"))?;
        let signed_part = certificate.tbs_certificate.to_der().map_err(malformed("frame"))?;
        let tbs = TbsCertificate::from_der(&signed_part).map_err(malformed("signed part"))?;
        if certificate.signature_algorithm != tbs.signature {
            return Err(Error::SignatureAlgorithms);
        }
        let signature =
            certificate.signature.as_bytes().ok_or_else(|| der::ErrorKind::Length { tag: Tag::BitString }.into());
        let raw = |value: AnyRef<'_>, part| value.to_der().map_err(malformed(part));
        let subject = raw(tbs.subject, "subject")?;
        let public_key = raw(tbs.subject_public_key_info, "public key")?;
        let name = Name::from_der(&subject).map_err(malformed("subject"))?;
        let mut organizations = texts(&name, rfc4519::ORGANIZATION_NAME);
        organizations.shrink_to_fit();
        Ok(Self {
            signature_algorithm: certificate.signature_algorithm.oid,
            signature: signature.map_err(malformed("signature"))?.to_vec(),
            issuer: raw(tbs.issuer, "issuer")?,
            key_algorithm: key_algorithm(&public_key).map_err(malformed("public key"))?,
            not_before: timestamp(tbs.validity.not_before),
            not_after: timestamp(tbs.validity.not_after),
            common_name: texts(&name, rfc4519::COMMON_NAME).pop().unwrap_or_default(),
            organizations,
            extensions: Extensions::read(&tbs.extensions.unwrap_or_default())?,
            subject,
            public_key,
            signed_part,
        })
    }

    /// Subject CN, the last one if there are several, as Go reads it; empty when there is none.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Every subject O, in the certificate's order.
    pub fn organizations(&self) -> &[String] {
        &self.organizations
    }

    /// The DNS names of the subject alternative name, in the certificate's order.
    pub fn dns_names(&self) -> &[String] {
        &self.extensions.dns_names
    }

    /// The IP addresses of the subject alternative name, in the certificate's order.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.extensions.ip_addresses
    }

    /// First moment of validity, to the second.
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last moment of validity, to the second. A certificate that never ends (`99991231235959Z`) gives
    /// [`Timestamp::MAX`].
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it may sign certificates: CA:TRUE, and keyCertSign if it has a key usage at all.
    pub fn is_authority(&self) -> bool {
        self.extensions.authority && self.extensions.may_sign.unwrap_or(true)
    }

    /// Whether it may sign certificates of further authorities: as [`Certificate::is_authority`], and its path length is
    /// not 0.
    pub fn may_sign_authorities(&self) -> bool {
        self.is_authority() && self.extensions.path_length != Some(0)
    }

    /// Whether what one of the two signs counts as signed by the other: they have the same subject and the same key.
    pub fn is_same_signer(&self, other: &Self) -> bool {
        self.subject == other.subject && self.public_key == other.public_key
    }

    /// Whether a server accepts it from a client: it has clientAuth or anyExtendedKeyUsage, or limits nothing.
    pub fn has_client_auth(&self) -> bool {
        self.extensions.permits(rfc5280::ID_KP_CLIENT_AUTH)
    }

    /// Whether a client accepts it from a server: it has serverAuth or anyExtendedKeyUsage, or limits nothing.
    pub fn has_server_auth(&self) -> bool {
        self.extensions.permits(rfc5280::ID_KP_SERVER_AUTH)
    }

    /// Whether `authority` is an authority, is named as the issuer, and its key made the signature. Time is not looked
    /// at, and only this one step of a chain is.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        authority.is_authority()
            && authority.subject == self.issuer
            && SubjectPublicKeyInfoRef::from_der(&authority.public_key).is_ok_and(|key| {
                signature::verifies(self.signature_algorithm, &key, &self.signed_part, &self.signature)
            })
    }

    /// Whether the certificate was made for the public half of `key`.
    pub fn matches_key(&self, key: &PrivateKey) -> bool {
        self.public_key == key.public_key_der()
    }

    /// The algorithm of its public key; none when kubeadm cannot be asked for it (Ed25519, ECDSA on P-521, RSA of
    /// other sizes).
    pub const fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        self.key_algorithm
    }

    /// The part that the signature is over, as it stands in the certificate.
    #[cfg(test)]
    pub(crate) fn signed_part(&self) -> &[u8] {
        &self.signed_part
    }

    /// The subject as it stands in the certificate.
    pub(crate) fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The subject key identifier.
    pub(crate) fn key_id(&self) -> Option<&[u8]> {
        self.extensions.key_id.as_deref()
    }
}

impl Extensions {
    fn read(extensions: &[Extension]) -> Result<Self, Error> {
        let mut read = Self::default();
        for extension in extensions {
            match extension.extn_id {
                BasicConstraints::OID => {
                    let constraints = decode::<BasicConstraints>(extension, "basic constraints")?;
                    (read.authority, read.path_length) = (constraints.ca, constraints.path_len_constraint);
                }
                KeyUsage::OID => read.may_sign = Some(decode::<KeyUsage>(extension, "key usage")?.key_cert_sign()),
                ExtendedKeyUsage::OID => {
                    read.purposes = Some(decode::<ExtendedKeyUsage>(extension, "extended key usage")?.0);
                }
                SubjectKeyIdentifier::OID => {
                    let id = decode::<SubjectKeyIdentifier>(extension, "subject key identifier")?;
                    read.key_id = Some(id.0.as_bytes().to_vec());
                }
                SubjectAltName::OID => {
                    for name in decode::<SubjectAltName>(extension, "subject alternative name")?.0 {
                        match name {
                            GeneralName::DnsName(name) => read.dns_names.push(name.as_str().to_owned()),
                            GeneralName::IpAddress(octets) => read.ip_addresses.extend(address(octets.as_bytes())),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    fn permits(&self, purpose: ObjectIdentifier) -> bool {
        self.purposes
            .as_ref()
            .is_none_or(|purposes| purposes.contains(&purpose) || purposes.contains(&rfc5280::ANY_EXTENDED_KEY_USAGE))
    }
}

fn decode<'a, T: Decode<'a, Error = der::Error>>(extension: &'a Extension, part: &'static str) -> Result<T, Error> {
    T::from_der(extension.extn_value.as_bytes()).map_err(|source| Error::MalformedCertificate { part, source })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
        .map(|address| address.to_canonical())
}

/// The values of one attribute, as far as they are text.
fn texts(name: &Name, attribute: ObjectIdentifier) -> Vec<String> {
    name.iter()
        .filter(|part| part.oid == attribute)
        .filter_map(|part| text(part.value.header().tag(), part.value.value()))
        .collect()
}

fn text(tag: Tag, bytes: &[u8]) -> Option<String> {
    match tag {
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes));
            Some(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    }
}

/// Years that jiff's range does not hold are as good as its end.
fn timestamp(time: Time) -> Timestamp {
    i64::try_from(time.to_unix_duration().as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or(Timestamp::MAX)
}

fn key_algorithm(public_key: &[u8]) -> der::Result<Option<KeyAlgorithm>> {
    let key = SubjectPublicKeyInfoRef::from_der(public_key)?;
    Ok(match key.algorithm.oid {
        rfc5912::RSA_ENCRYPTION => {
            let rsa = RsaPublicKey::from_der(key.subject_public_key.raw_bytes())?;
            usize::try_from(rsa.modulus.len()).ok().and_then(KeyAlgorithm::rsa_with_modulus)
        }
        rfc5912::ID_EC_PUBLIC_KEY => match key.algorithm.parameters_oid() {
            Ok(rfc5912::SECP_256_R_1) => Some(KeyAlgorithm::EcdsaP256),
            Ok(rfc5912::SECP_384_R_1) => Some(KeyAlgorithm::EcdsaP384),
            _ => None,
        },
        _ => None,
    })
}
