//! The three roots of a tenant: its authority, the front-proxy authority and the service-account key.
//!
//! Losing one of them kills the tenant, so they are made once, when the tenant is new, and again only when asked.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract::keys;
use kamaji_pki::{
    Certificate, KeyAlgorithm, Profile, Usage,
    check::{self, Expected},
};

use super::{AUTHORITY_LIFETIME, BACKDATE, Moment, value};
use crate::{control_plane::names::TenantSecret, trouble::Trouble};

/// How long before the end of an authority its owner is told. Leaves that it signs end with it, whatever they say.
const TOLD_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

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
        let no_margin = SignedDuration::ZERO;
        check::pair(value(secret, certificate), value(secret, key), &expected, moment.now, no_margin)
    };
    violations.iter().map(ToString::to_string).collect()
}

/// What to tell the owner of an authority that ends within a month, or within the renewal threshold where that is
/// longer; `None` while there is time, and for what is no certificate.
///
/// Nothing is done about it: every node and client trusts the old one.
pub fn ending(which: TenantSecret, secret: &Secret, moment: &Moment) -> Option<Trouble> {
    if which == TenantSecret::ServiceAccount {
        return None;
    }
    let (certificate, _) = pair_keys(which);
    let end = Certificate::from_pem(value(secret, certificate)).ok()?.not_after();
    let told_before = TOLD_BEFORE.max(moment.renew_before);
    if end > moment.now.saturating_add(told_before).unwrap_or(Timestamp::MAX) {
        return None;
    }
    let name = secret.metadata.name.clone().unwrap_or_default();
    let consequence = match which {
        TenantSecret::FrontProxyCa => "aggregated API servers refuse the tenant's requests after that",
        _ => "nobody can use the tenant after that",
    };
    let message = format!(
        "The certificate authority in Secret {name} ends at {end}, and {consequence}; annotate the Secret with \
         certs.kamaji.clastix.io/rotate=\"\" to have a new one made, and give it to the nodes and clients of the tenant."
    );
    Some(Trouble::new("CertificateAuthorityExpiring", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::{Data, mint};
    use kamaji_pki::PrivateKey;

    fn secret(which: TenantSecret, made: Timestamp) -> Secret {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let data: Data = mint::root(which, &profile(which, made), &key).unwrap();
        let mut secret = Secret { data: Some(data), ..Secret::default() };
        secret.metadata.name = Some(which.name("one"));
        secret
    }

    fn told(which: TenantSecret, days_left: i64, renew_before_days: i64) -> Option<Trouble> {
        let made: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        let now = made + AUTHORITY_LIFETIME - days(days_left);
        ending(which, &secret(which, made), &Moment { now, renew_before: days(renew_before_days) })
    }

    #[test]
    fn tells_of_an_authority_that_ends_within_a_month() {
        for which in [TenantSecret::Ca, TenantSecret::FrontProxyCa] {
            assert_eq!(told(which, 31, 1), None);
            let trouble = told(which, 29, 1).unwrap();
            assert_eq!(trouble.reason, "CertificateAuthorityExpiring");
            let way_out = "annotate the Secret with certs.kamaji.clastix.io/rotate=\"\"";
            assert!(trouble.message.contains(&which.name("one")), "{}", trouble.message);
            assert!(trouble.message.contains(way_out), "{}", trouble.message);
        }
    }

    #[test]
    fn tells_earlier_when_certificates_are_to_be_renewed_earlier() {
        assert_eq!(told(TenantSecret::Ca, 91, 90), None);
        assert!(told(TenantSecret::Ca, 89, 90).is_some());
    }

    #[test]
    fn a_service_account_key_does_not_end() {
        assert_eq!(told(TenantSecret::ServiceAccount, 1, 90), None);
    }
}
