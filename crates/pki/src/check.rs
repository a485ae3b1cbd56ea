//! Why a certificate must be issued again: an ordered chain of checks, each of which finds a named violation.
//!
//! The reasons are those of `docs/reference/compatibility.md`, "Certificates" and "Kubeconfigs"; people read them in
//! Events. Extra names in a certificate are no violation: removing a name from a spec issues nothing.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::pem::SectionKind;

use crate::{Certificate, PrivateKey, Usage, kubeconfig, pem_block};

/// What a certificate must hold.
///
/// Start from [`Expected::new`] and fill in what matters.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What the certificate must be usable for.
    pub usage: Usage,
    /// DNS names that must be present; compared without regard to case.
    pub dns_names: &'a [String],
    /// IP addresses that must be present; compared by value.
    pub ip_addresses: &'a [IpAddr],
    /// The common name; none accepts any.
    pub common_name: Option<&'a str>,
    /// The organizations, neither more nor fewer, in any order; none accepts any.
    pub organizations: Option<&'a [String]>,
    /// The authority that must have signed it; none accepts any.
    pub authority: Option<&'a Certificate>,
}

impl Expected<'_> {
    /// Expects a usage and nothing else.
    pub const fn new(usage: Usage) -> Self {
        Self { usage, dns_names: &[], ip_addresses: &[], common_name: None, organizations: None, authority: None }
    }
}

/// One reason to issue a certificate, or to write a kubeconfig, again. `Display` is a short sentence for an Event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The certificate, the key or the kubeconfig is absent or empty.
    #[error("the {what} is missing")]
    Missing {
        /// The part that is absent.
        what: &'static str,
    },
    /// A part cannot be read. The reason holds no key material.
    #[error("{reason}")]
    Unreadable {
        /// The sentence of the parser's error.
        reason: String,
    },
    /// The certificate was made for another key.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The validity starts in the future.
    #[error("the certificate is not valid before {not_before}")]
    NotYetValid {
        /// The start of its validity.
        not_before: Timestamp,
    },
    /// The validity has ended, or ends within the renewal period.
    #[error("the certificate is due for renewal: it ends at {not_after}")]
    Expiring {
        /// The end of its validity.
        not_after: Timestamp,
    },
    /// The expected authority has not signed it.
    #[error("the certificate is not signed by the current authority {authority:?}")]
    WrongAuthority {
        /// The common name of the expected authority.
        authority: String,
    },
    /// The key usages do not permit the expected usage.
    #[error("the certificate may not be used as {}", usage_name(*.usage))]
    WrongUsage {
        /// The expected usage.
        usage: Usage,
    },
    /// The common name is another one.
    #[error("the common name is {found:?} instead of {expected:?}")]
    WrongCommonName {
        /// The expected common name.
        expected: String,
        /// The common name of the certificate.
        found: String,
    },
    /// The organizations are other ones.
    #[error("the organizations are {found:?} instead of {expected:?}")]
    WrongOrganizations {
        /// The expected organizations.
        expected: Vec<String>,
        /// The organizations of the certificate.
        found: Vec<String>,
    },
    /// An expected DNS name or IP address is absent.
    #[error("the SAN {name} is missing")]
    MissingName {
        /// The name or address.
        name: String,
    },
    /// A kubeconfig points to another API server.
    #[error("the kubeconfig's server is {found:?} instead of {expected:?}")]
    WrongServer {
        /// The expected URL.
        expected: String,
        /// The kubeconfig's URL.
        found: String,
    },
    /// A kubeconfig trusts other authorities than the current ones.
    #[error("the kubeconfig does not embed the current certificate authority")]
    StaleAuthority,
    /// The service-account public key is not the public half of the private key.
    #[error("the service-account public key does not belong to the private key")]
    PublicKeyMismatch,
}

impl Violation {
    /// A stable word for metrics and log fields.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Unreadable { .. } => "unreadable",
            Self::KeyMismatch | Self::PublicKeyMismatch => "key_mismatch",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expiring { .. } => "expiring",
            Self::WrongAuthority { .. } | Self::StaleAuthority => "authority",
            Self::WrongUsage { .. } => "usage",
            Self::WrongCommonName { .. } | Self::WrongOrganizations { .. } => "identity",
            Self::MissingName { .. } => "name",
            Self::WrongServer { .. } => "server",
        }
    }
}

/// Everything that is wrong with a PEM pair, in the order of the checks; empty when it may stay.
///
/// Later checks need the parsed pair: a part that is missing or unreadable ends the chain. The pair is due when its end
/// is at or before `now + renew_before`; a period as long as the certificate's whole life makes it due at once, every
/// time.
pub fn pair(
    cert: &[u8],
    key: &[u8],
    expected: &Expected<'_>,
    now: Timestamp,
    renew_before: SignedDuration,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let certificate = read(cert, "certificate", &mut violations, Certificate::from_pem);
    let key = read(key, "private key", &mut violations, PrivateKey::from_pem);
    match (certificate, key) {
        (Some(certificate), Some(key)) => parsed_pair(&certificate, &key, expected, now, renew_before),
        _ => violations,
    }
}

/// As [`pair`], for a pair that is already parsed.
pub fn parsed_pair(
    certificate: &Certificate,
    key: &PrivateKey,
    expected: &Expected<'_>,
    now: Timestamp,
    renew_before: SignedDuration,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !certificate.matches_key(key) {
        violations.push(Violation::KeyMismatch);
    }
    validity(certificate, now, renew_before, &mut violations);
    if let Some(authority) = expected.authority.filter(|authority| !certificate.is_signed_by(authority)) {
        violations.push(Violation::WrongAuthority { authority: authority.common_name().to_owned() });
    }
    let usable = match expected.usage {
        Usage::Authority => certificate.is_authority(),
        Usage::ClientAuthority => certificate.is_authority() && certificate.has_client_auth(),
        Usage::Server => certificate.has_server_auth(),
        Usage::Client => certificate.has_client_auth(),
        Usage::ServerAndClient => certificate.has_server_auth() && certificate.has_client_auth(),
    };
    if !usable {
        violations.push(Violation::WrongUsage { usage: expected.usage });
    }
    identity(certificate, expected, &mut violations);
    names(certificate, expected, &mut violations);
    violations
}

/// As [`pair`], for a certificate that every one of `authorities` must accept: each has signed it, or has signed a
/// certificate after it that did, as [`crate::chain`] makes them. Those certificates must be in their time too.
/// `expected` names no authority then: it would have to have signed the certificate itself.
pub fn chain(
    cert: &[u8],
    key: &[u8],
    expected: &Expected<'_>,
    authorities: &[&Certificate],
    now: Timestamp,
    renew_before: SignedDuration,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let certificates = read(cert, "certificate", &mut violations, Certificate::bundle_from_pem);
    let key = read(key, "private key", &mut violations, PrivateKey::from_pem);
    let (Some(certificates), Some(key)) = (certificates, key) else { return violations };
    let Some((leaf, between)) = certificates.split_first() else { return violations };
    violations.extend(parsed_pair(leaf, &key, expected, now, renew_before));
    for authority in authorities.iter().filter(|authority| !leaf.is_signed_by(authority)) {
        let mut found = Vec::new();
        match last_to_end(leaf, between, authority) {
            Some(between) => validity(between, now, renew_before, &mut found),
            None => found.push(Violation::WrongAuthority { authority: authority.common_name().to_owned() }),
        }
        // They are made together and end together: once is enough.
        found.retain(|violation| !violations.contains(violation));
        violations.extend(found);
    }
    violations
}

/// Of the certificates `between` `leaf` and `authority`, one step from either, the one that is valid for longest.
fn last_to_end<'a>(leaf: &Certificate, between: &'a [Certificate], authority: &Certificate) -> Option<&'a Certificate> {
    let between = between.iter().filter(|between| leaf.is_signed_by(between) && between.is_signed_by(authority));
    between.filter(|_| authority.may_sign_authorities()).max_by_key(|between| between.not_after())
}

/// What a kubeconfig must hold.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedKubeconfig<'a> {
    /// The URL of the API server.
    pub server: &'a str,
    /// The embedded certificate authority, compared byte by byte.
    pub authority_pem: &'a [u8],
    /// The embedded client certificate.
    pub client: Expected<'a>,
}

/// Everything that is wrong with a kubeconfig, in the order of the checks; empty when it may stay.
///
/// A file that is missing or cannot be read ends the chain. The client pair is checked as [`pair`] does.
pub fn kubeconfig(
    file: &[u8],
    expected: &ExpectedKubeconfig<'_>,
    now: Timestamp,
    renew_before: SignedDuration,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some(parsed) = read(file, "kubeconfig", &mut violations, kubeconfig::parse) else { return violations };
    if parsed.server != expected.server {
        violations.push(Violation::WrongServer { expected: expected.server.to_owned(), found: parsed.server });
    }
    if parsed.authority_pem != expected.authority_pem {
        violations.push(Violation::StaleAuthority);
    }
    violations.extend(pair(&parsed.client_certificate, &parsed.client_key, &expected.client, now, renew_before));
    violations
}

/// What is wrong with the service-account key pair of kube-apiserver and kube-controller-manager; empty when it may
/// stay.
///
/// The public part may hold several keys, as kube-apiserver allows for a rotation; one of them must belong to the
/// private key.
pub fn service_account_pair(public: &[u8], private: &[u8]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let keys = read(public, "service-account public key", &mut violations, public_keys);
    let private = read(private, "service-account private key", &mut violations, PrivateKey::from_pem);
    if let (Some(keys), Some(private)) = (keys, private)
        && !keys.iter().any(|key| key == private.public_key_der())
    {
        violations.push(Violation::PublicKeyMismatch);
    }
    violations
}

fn public_keys(pem: &[u8]) -> Result<Vec<Vec<u8>>, crate::Error> {
    let mut keys = Vec::new();
    for block in pem_block::blocks(pem, "public key") {
        let block = block?;
        if block.kind == SectionKind::PublicKey {
            keys.push(block.content.to_vec());
        }
    }
    if keys.is_empty() {
        return Err(crate::Error::NoBlock { what: "public key", labels: "PUBLIC KEY" });
    }
    Ok(keys)
}

fn read<T, E: std::fmt::Display>(
    bytes: &[u8],
    what: &'static str,
    violations: &mut Vec<Violation>,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Option<T> {
    if bytes.is_empty() {
        violations.push(Violation::Missing { what });
        return None;
    }
    parse(bytes).map_err(|error| violations.push(Violation::Unreadable { reason: error.to_string() })).ok()
}

fn validity(certificate: &Certificate, now: Timestamp, renew_before: SignedDuration, violations: &mut Vec<Violation>) {
    if now < certificate.not_before() {
        violations.push(Violation::NotYetValid { not_before: certificate.not_before() });
    }
    let deadline = now.checked_add(renew_before).unwrap_or(Timestamp::MAX);
    if certificate.not_after() <= deadline {
        violations.push(Violation::Expiring { not_after: certificate.not_after() });
    }
}

fn identity(certificate: &Certificate, expected: &Expected<'_>, violations: &mut Vec<Violation>) {
    if let Some(expected) = expected.common_name.filter(|expected| *expected != certificate.common_name()) {
        violations.push(Violation::WrongCommonName {
            expected: expected.to_owned(),
            found: certificate.common_name().to_owned(),
        });
    }
    let found = certificate.organizations();
    if let Some(expected) = expected.organizations
        && !(expected.iter().all(|name| found.contains(name)) && found.iter().all(|name| expected.contains(name)))
    {
        violations.push(Violation::WrongOrganizations { expected: expected.to_vec(), found: found.to_vec() });
    }
}

fn names(certificate: &Certificate, expected: &Expected<'_>, violations: &mut Vec<Violation>) {
    let missing_names = expected
        .dns_names
        .iter()
        .filter(|name| !certificate.dns_names().iter().any(|present| present.eq_ignore_ascii_case(name)))
        .cloned();
    let missing_addresses = expected
        .ip_addresses
        .iter()
        .map(IpAddr::to_canonical)
        .filter(|address| !certificate.ip_addresses().contains(address))
        .map(|address| address.to_string());
    violations.extend(missing_names.chain(missing_addresses).map(|name| Violation::MissingName { name }));
}

const fn usage_name(usage: Usage) -> &'static str {
    match usage {
        Usage::Authority => "a certificate authority",
        Usage::ClientAuthority => "a certificate authority for clients",
        Usage::Server => "a server certificate",
        Usage::Client => "a client certificate",
        Usage::ServerAndClient => "both a server and a client certificate",
    }
}

#[cfg(test)]
mod tests;
