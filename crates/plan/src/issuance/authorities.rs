//! The three roots of a tenant: its authority, the front-proxy authority and the service-account key.
//!
//! Losing one of them kills the tenant, so they are made once, when the tenant is new, and again only when asked.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract::keys;
use kamaji_pki::{
    KeyAlgorithm, Profile, Usage,
    check::{self, Expected},
};

use super::{AUTHORITY_LIFETIME, BACKDATE, Moment, value};
use crate::control_plane::names::TenantSecret;

/// Default algorithm of a new tenant's certificates.
pub const DEFAULT_ALGORITHM: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

/// Algorithm of service-account keys: consumers of the tokens outside the tenant expect RS256.
pub const SERVICE_ACCOUNT_ALGORITHM: KeyAlgorithm = KeyAlgorithm::Rsa2048;

/// Keys of certificate and private key in an authority's Secret.
pub fn pair_keys(secret: TenantSecret) -> (&'static str, &'static str) {
    match secret {
        TenantSecret::FrontProxyCa => (keys::FRONT_PROXY_CA_CERT, keys::FRONT_PROXY_CA_KEY),
        _ => (keys::CA_CERT, keys::CA_KEY),
    }
}

/// What an authority's certificate says (kubeadm v1beta4).
pub fn profile(secret: TenantSecret, now: Timestamp) -> Profile {
    let name = if secret == TenantSecret::FrontProxyCa { "front-proxy-ca" } else { "kubernetes" };
    let not_before = now.saturating_sub(BACKDATE).unwrap_or(now);
    Profile {
        common_name: name.to_owned(),
        organizations: Vec::new(),
        dns_names: vec![name.to_owned()],
        ip_addresses: Vec::new(),
        usage: Usage::Authority,
        not_before,
        not_after: now.saturating_add(AUTHORITY_LIFETIME).unwrap_or(now),
    }
}

/// What is wrong with a root that exists, as sentences; empty when it can be used.
///
/// An authority near its end is no fault here: replacing it is the owner's decision.
pub fn faults(which: TenantSecret, secret: &Secret, moment: &Moment) -> Vec<String> {
    let violations = if which == TenantSecret::ServiceAccount {
        check::service_account_pair(value(secret, keys::SA_PUBLIC), value(secret, keys::SA_PRIVATE))
    } else {
        let (certificate, key) = pair_keys(which);
        let expected = Expected::new(Usage::Authority);
        let no_margin = jiff::SignedDuration::ZERO;
        check::pair(value(secret, certificate), value(secret, key), &expected, moment.now, no_margin)
    };
    violations.iter().map(ToString::to_string).collect()
}
