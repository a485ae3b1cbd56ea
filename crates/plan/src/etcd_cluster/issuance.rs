//! Which certificates of an EtcdCluster are due, and why.
//!
//! The two authorities are made once: whoever minted them anew would lock every tenant out. What they sign is replaced
//! when a third of its life is left; etcd and the operator read it again at the next handshake, so nothing restarts.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::keys;
use kamaji_pki::{
    Authority, Certificate, Error, KeyAlgorithm, PrivateKey, Profile, Usage,
    check::{self, Expected},
    self_signed,
};

use super::{
    metadata::metadata,
    names::{self, EtcdSecret},
    resolved::Resolved,
    stateful_set::files,
};
use crate::issuance::{AUTHORITY_LIFETIME, BACKDATE, Data, LEAF_LIFETIME, mint, value};

/// Algorithm of every key.
pub const ALGORITHM: KeyAlgorithm = KeyAlgorithm::EcdsaP256;
/// Signed certificates are replaced this long before their end: a third of their life.
pub const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(LEAF_LIFETIME.as_hours() / 3);
/// An authority is reported this long before its end.
pub const AUTHORITY_WARNING: SignedDuration = SignedDuration::from_hours(24 * 365);
/// etcd's administrator: the common name of a client certificate is its login.
pub const ROOT_USER: &str = "root";

/// The Secrets that authorities sign, in the order in which they are made.
pub const SIGNED: [EtcdSecret; 2] = [EtcdSecret::Member, EtcdSecret::Root];

/// Both authorities of an EtcdCluster.
#[derive(Debug)]
pub struct Authorities {
    /// For servers and clients.
    pub ca: Authority,
    /// For members among each other.
    pub peer_ca: Authority,
}

impl Authorities {
    /// Reads both from their Secrets.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn read(ca: &Secret, peer_ca: &Secret) -> Result<Self, Error> {
        let read = |secret| Authority::from_pem(value(secret, keys::CA_CERT), value(secret, keys::CA_KEY));
        Ok(Self { ca: read(ca)?, peer_ca: read(peer_ca)? })
    }

    /// The first end of the two, if it is near.
    pub fn ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.ca.certificate().not_after().min(self.peer_ca.certificate().not_after());
        (first <= now.saturating_add(AUTHORITY_WARNING).ok()?).then_some(first)
    }
}

/// Data of a new authority's Secret. `which` is [`EtcdSecret::Ca`] or [`EtcdSecret::PeerCa`].
///
/// # Errors
/// When a key cannot be made.
pub fn authority(resolved: &Resolved, which: EtcdSecret, now: Timestamp) -> Result<Data, Error> {
    let key = PrivateKey::generate(ALGORITHM)?;
    let profile = Profile {
        usage: Usage::Authority,
        not_after: now.saturating_add(AUTHORITY_LIFETIME).unwrap_or(now),
        ..client(which.name(&resolved.name), now)
    };
    Ok(data([(keys::CA_CERT, self_signed(&profile, &key)?), (keys::CA_KEY, key.to_pem())]))
}

/// Why a signed Secret has to be written anew, each a sentence; empty when its content may stay.
pub fn reasons(
    resolved: &Resolved,
    which: EtcdSecret,
    live: Option<&Secret>,
    authorities: &Authorities,
    now: Timestamp,
) -> Vec<String> {
    let Some(secret) = live else { return vec!["the Secret is missing".to_owned()] };
    let mut reasons: Vec<String> = Vec::new();
    let mut pair = |what: &str, profile: &Profile, authority: &Certificate, certificate: &str, key: &str| {
        let expected = Expected {
            dns_names: &profile.dns_names,
            ip_addresses: &profile.ip_addresses,
            common_name: Some(&profile.common_name),
            authority: Some(authority),
            ..Expected::new(profile.usage)
        };
        let violations = check::pair(value(secret, certificate), value(secret, key), &expected, now, RENEW_BEFORE);
        reasons.extend(violations.iter().map(|violation| format!("{what}: {violation}")));
    };
    let (ca, peer_ca) = (authorities.ca.certificate(), authorities.peer_ca.certificate());
    if which == EtcdSecret::Root {
        pair(ROOT_USER, &client(ROOT_USER.to_owned(), now), ca, keys::TLS_CERT, keys::TLS_KEY);
        return reasons;
    }
    pair("server", &server(resolved, now), ca, files::SERVER_CERT, files::SERVER_KEY);
    pair("peer", &peer(resolved, now), peer_ca, files::PEER_CERT, files::PEER_KEY);
    for (key, authority) in [(files::CA, &authorities.ca), (files::PEER_CA, &authorities.peer_ca)] {
        if value(secret, key) != authority.certificate_pem() {
            reasons.push(format!("{key} is not the current authority"));
        }
    }
    reasons
}

/// New data of a signed Secret.
///
/// # Errors
/// When a key cannot be made or a certificate cannot be signed.
pub fn sign(resolved: &Resolved, which: EtcdSecret, authorities: &Authorities, now: Timestamp) -> Result<Data, Error> {
    if which == EtcdSecret::Root {
        let root = mint::pair(&client(ROOT_USER.to_owned(), now), &authorities.ca, ALGORITHM)?;
        return Ok(data([(keys::TLS_CERT, root.certificate), (keys::TLS_KEY, root.key)]));
    }
    let server = mint::pair(&server(resolved, now), &authorities.ca, ALGORITHM)?;
    let peer = mint::pair(&peer(resolved, now), &authorities.peer_ca, ALGORITHM)?;
    Ok(data([
        (files::CA, authorities.ca.certificate_pem().to_vec()),
        (files::SERVER_CERT, server.certificate),
        (files::SERVER_KEY, server.key),
        (files::PEER_CA, authorities.peer_ca.certificate_pem().to_vec()),
        (files::PEER_CERT, peer.certificate),
        (files::PEER_KEY, peer.key),
    ]))
}

/// The Secret to write.
pub fn secret(resolved: &Resolved, which: EtcdSecret, data: Data) -> Secret {
    let kind = if which == EtcdSecret::Root { "kubernetes.io/tls" } else { "Opaque" };
    Secret {
        metadata: metadata(resolved, which.name(&resolved.name)),
        type_: Some(kind.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn client(common_name: String, now: Timestamp) -> Profile {
    Profile {
        common_name,
        organizations: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Client,
        not_before: now.saturating_sub(BACKDATE).unwrap_or(now),
        not_after: now.saturating_add(LEAF_LIFETIME).unwrap_or(now),
    }
}

/// etcd calls itself by its serving certificate, so that it is a client's as well.
fn server(resolved: &Resolved, now: Timestamp) -> Profile {
    let service = names::base(&resolved.name);
    let mut dns_names = vec!["localhost".to_owned()];
    dns_names.extend([service.clone(), format!("{service}.{}", resolved.namespace)]);
    dns_names.push(format!("{service}.{}.svc", resolved.namespace));
    dns_names.extend(member_names(resolved));
    Profile {
        dns_names,
        ip_addresses: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
        usage: Usage::ServerAndClient,
        ..client("etcd-server".to_owned(), now)
    }
}

fn peer(resolved: &Resolved, now: Timestamp) -> Profile {
    Profile {
        dns_names: member_names(resolved).collect(),
        ip_addresses: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
        usage: Usage::ServerAndClient,
        ..client("etcd-peer".to_owned(), now)
    }
}

/// Of every member that there can be, so that growing issues nothing.
fn member_names(resolved: &Resolved) -> impl Iterator<Item = String> {
    (0..names::MAX_MEMBERS)
        .flat_map(|ordinal| [resolved.pod(ordinal), names::host(&resolved.name, &resolved.namespace, ordinal)])
}

fn data<const N: usize>(entries: [(&str, Vec<u8>); N]) -> Data {
    entries.into_iter().map(|(key, bytes)| (key.to_owned(), ByteString(bytes))).collect()
}
