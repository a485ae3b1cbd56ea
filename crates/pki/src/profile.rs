//! What a certificate is asked to hold, and its encoding as kubeadm and Go's `crypto/x509` write it.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use der::asn1::{
    Any, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, PrintableStringRef, UtcTime, Utf8StringRef,
};
use der::oid::AssociatedOid;
use der::oid::db::{rfc4519, rfc5280};
use der::{DateTime, Encode};
use jiff::Timestamp;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
use x509_cert::time::{Time, Validity};

use crate::Error;

/// What a certificate may be used for; decides its key usages and basic constraints.
///
/// Every usage that kubeadm knows has digitalSignature and keyEncipherment, whatever the key's algorithm, as kubeadm
/// v1beta4 writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// CA:TRUE with keyCertSign. The common name is also a DNS name of the certificate.
    Authority,
    /// CA:TRUE with keyCertSign and nothing else, clientAuth and a path length of 0: signs client certificates, and no
    /// further authority. No counterpart in kubeadm.
    ClientAuthority,
    /// CA:FALSE with serverAuth.
    Server,
    /// CA:FALSE with clientAuth.
    Client,
    /// CA:FALSE with serverAuth and clientAuth: the server and peer certificates of etcd.
    ServerAndClient,
}

impl Usage {
    /// Whether the certificate is presented by a server.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::ServerAndClient)
    }

    /// Whether the certificate is presented by a client.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::ServerAndClient)
    }

    const fn is_authority(self) -> bool {
        matches!(self, Self::Authority | Self::ClientAuthority)
    }

    fn key_usage(self) -> KeyUsage {
        let end_entity = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment;
        KeyUsage(match self {
            Self::Authority => end_entity | KeyUsages::KeyCertSign,
            Self::ClientAuthority => KeyUsages::KeyCertSign.into(),
            Self::Server | Self::Client | Self::ServerAndClient => end_entity,
        })
    }

    fn purposes(self) -> Vec<ObjectIdentifier> {
        let client = self.is_client() || self == Self::ClientAuthority;
        let server = self.is_server().then_some(rfc5280::ID_KP_SERVER_AUTH);
        server.into_iter().chain(client.then_some(rfc5280::ID_KP_CLIENT_AUTH)).collect()
    }
}

/// A request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Subject CN; for a client certificate the user name in Kubernetes. Must not be empty.
    pub common_name: String,
    /// Subject O, any number; for a client certificate the groups in Kubernetes.
    pub organizations: Vec<String>,
    /// DNS names of the subject alternative name, in this order, before the addresses.
    pub dns_names: Vec<String>,
    /// IP addresses of the subject alternative name, in this order.
    pub ip_addresses: Vec<IpAddr>,
    /// What the certificate may be used for.
    pub usage: Usage,
    /// First moment of validity; fractions of a second are dropped.
    pub not_before: Timestamp,
    /// Last moment of validity; fractions of a second are dropped.
    pub not_after: Timestamp,
}

impl Profile {
    pub(crate) fn validity(&self) -> Result<Validity, Error> {
        if self.common_name.is_empty() {
            return Err(self.refused("the common name must not be empty"));
        }
        if self.not_after <= self.not_before {
            return Err(self.refused(&format!(
                "it would end at {}, which is not after its start at {}",
                self.not_after, self.not_before
            )));
        }
        Ok(Validity::new(time(self.not_before)?, time(self.not_after)?))
    }

    /// The DER of the subject in the order of Go's `pkix.Name`: all organizations in one set, then the common name.
    pub(crate) fn subject(&self) -> Result<Vec<u8>, Error> {
        let encode = || {
            let mut organizations = RelativeDistinguishedName::default();
            for organization in &self.organizations {
                let attribute = attribute(rfc4519::ORGANIZATION_NAME, organization)?;
                // A name given twice is one group.
                if !organizations.iter().any(|present| *present == attribute) {
                    organizations.insert(attribute)?;
                }
            }
            let mut subject = RdnSequence::default();
            if !organizations.is_empty() {
                subject.push(organizations);
            }
            let common_name = attribute(rfc4519::COMMON_NAME, &self.common_name)?;
            subject.push(RelativeDistinguishedName::try_from(vec![common_name])?);
            subject.to_der()
        };
        encode().map_err(|source| Error::Encode { field: "subject", source })
    }

    /// The extensions in the order in which Go's `crypto/x509` writes them.
    ///
    /// `authority_key_id` is the signer's subject key identifier, none for a self-signed certificate.
    pub(crate) fn extensions(
        &self,
        public_key: &SubjectPublicKeyInfoRef<'_>,
        authority_key_id: Option<&[u8]>,
    ) -> Result<Vec<Extension>, Error> {
        let encode = || {
            let mut extensions = vec![extension(true, &self.usage.key_usage())?];
            let purposes = self.usage.purposes();
            if !purposes.is_empty() {
                extensions.push(extension(false, &ExtendedKeyUsage(purposes))?);
            }
            let path_len_constraint = (self.usage == Usage::ClientAuthority).then_some(0);
            let ca = self.usage.is_authority();
            extensions.push(extension(true, &BasicConstraints { ca, path_len_constraint })?);
            if ca {
                extensions.push(extension(false, &SubjectKeyIdentifier(OctetString::new(key_id(public_key))?))?);
            }
            if let Some(id) = authority_key_id {
                let id = AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(id)?), ..Default::default() };
                extensions.push(extension(false, &id)?);
            }
            Ok(extensions)
        };
        let mut extensions = encode().map_err(|source| Error::Encode { field: "key usage", source })?;
        let names = self.alternative_names()?;
        if !names.is_empty() {
            extensions.push(
                extension(false, &SubjectAltName(names))
                    .map_err(|source| Error::Encode { field: "subject alternative name", source })?,
            );
        }
        Ok(extensions)
    }

    fn alternative_names(&self) -> Result<Vec<GeneralName>, Error> {
        let mut dns_names: Vec<&str> = self.dns_names.iter().map(String::as_str).collect();
        if self.usage == Usage::Authority && !dns_names.contains(&self.common_name.as_str()) {
            dns_names.insert(0, &self.common_name);
        }
        let mut names = Vec::with_capacity(dns_names.len() + self.ip_addresses.len());
        for name in dns_names {
            let encoded = Ia5String::new(name).ok().filter(|_| !name.is_empty());
            let Some(encoded) = encoded else {
                return Err(self.refused(&format!(
                    "the DNS name {name:?} must be ASCII and not empty; write international names in their xn-- form"
                )));
            };
            names.push(GeneralName::DnsName(encoded));
        }
        for address in &self.ip_addresses {
            // Go stores an IPv4 address in four bytes, however it was written.
            names.push(GeneralName::from(address.to_canonical()));
        }
        Ok(names)
    }

    fn refused(&self, reason: &str) -> Error {
        Error::Profile { common_name: self.common_name.clone(), reason: reason.to_owned() }
    }
}

fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// PrintableString where the value allows it, else UTF8String, as Go's `encoding/asn1` chooses.
fn attribute(oid: der::asn1::ObjectIdentifier, value: &str) -> der::Result<AttributeTypeAndValue> {
    let value = match PrintableStringRef::new(value) {
        Ok(printable) => Any::encode_from(&printable)?,
        Err(_) => Any::encode_from(&Utf8StringRef::new(value)?)?,
    };
    Ok(AttributeTypeAndValue { oid, value })
}

/// The subject key identifier: the leftmost 160 bits of the SHA-256 of the public key (RFC 7093, method 1), as Go does
/// since 1.25.
fn key_id(public_key: &SubjectPublicKeyInfoRef<'_>) -> Vec<u8> {
    digest(&SHA256, public_key.subject_public_key.raw_bytes()).as_ref().iter().take(20).copied().collect()
}

/// UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5).
fn time(moment: Timestamp) -> Result<Time, Error> {
    let encode = || {
        let seconds = u64::try_from(moment.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
        let moment = DateTime::from_unix_duration(Duration::from_secs(seconds))?;
        Ok(match UtcTime::from_date_time(moment) {
            Ok(short) => Time::UtcTime(short),
            Err(_) => Time::GeneralTime(GeneralizedTime::from_date_time(moment)),
        })
    };
    encode().map_err(|source: der::Error| Error::Encode { field: "validity", source })
}
