//! The tenant's names and client certificate on its datastores (docs/reference/compatibility.md, "Datastore Secrets").
//!
//! kube-apiserver has one certificate and one trust bundle for every etcd that it uses. Where those trust different
//! authorities, the certificate comes with a chain that leads to each (see [`kamaji_pki::chain`]).
//!
//! # Rotation of a datastore's authority
//!
//! The certificate that belongs to the DataStore's private key signs; the others of its bundle are only trusted. A
//! tenant's certificate is good while the one that signs now has signed it, not while any of the bundle has: the key is
//! what says that the servers have moved. No request is refused in this order, each step after the tenants' pods have
//! followed the one before, and none on the way back:
//!
//! 1. The bundle becomes old and new, the key stays. The tenants trust both and still show the old.
//! 2. The servers trust both, and then show certificates of the new.
//! 3. The key becomes the new one. The tenants show the new.
//! 4. The servers and the bundle drop the old, in any order.
//!
//! Where the servers trust both from the start, the first and the third step may be one, with the servers' own
//! certificates after it. They must trust the new authority before the key becomes the new one in any case: new tenants
//! show it at once. A certificate that stayed because the bundle still has its authority would be replaced only in the
//! last step, when the servers may refuse it already.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::keys;
use kamaji_pki::{
    Authority, Certificate, Error, KeyAlgorithm, KeyPairPem, Profile, Usage, chain,
    check::{self, Expected, Violation},
};

use super::{BACKDATE, Data, LEAF_LIFETIME, Moment, algorithm_after, rotation_requested, value};
use crate::resolved::StoreIdentity;

/// The datastore's authority, as its DataStore gives it.
#[derive(Clone, Copy, Debug)]
pub struct StoreAuthority<'a> {
    /// The certificate that signs, parsed.
    pub certificate: &'a Certificate,
    /// All that is trusted, in PEM: this certificate, and others during a rotation.
    pub pem: &'a [u8],
}

impl<'a> From<&'a Authority> for StoreAuthority<'a> {
    fn from(authority: &'a Authority) -> Self {
        Self { certificate: authority.certificate(), pem: authority.certificate_pem() }
    }
}

/// A client certificate to issue, and why.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    /// Why, each a sentence.
    pub reasons: Vec<String>,
    /// What the certificate says.
    pub profile: Profile,
    /// Algorithm of the new key.
    pub algorithm: KeyAlgorithm,
    /// What the tenant is to trust beside it, in PEM.
    pub trust_bundle: Vec<u8>,
}

/// Schema and user that a datastore-config Secret records; `None` when either is missing.
pub fn recorded_identity(config: &Secret) -> Option<StoreIdentity> {
    let text = |key: &str| {
        let text = String::from_utf8(value(config, key).to_vec()).ok()?;
        (!text.is_empty()).then_some(text)
    };
    Some(StoreIdentity { schema: text(keys::DB_SCHEMA)?, user: text(keys::DB_USER)? })
}

/// The client certificate that has to be issued; `None` when the one that exists can stay.
///
/// `primary` is the authority of the tenant's datastore, `others` are those of its overrides in the specification's
/// order. All of them must be known: a certificate for some of them is refused by the rest. [`chain::issue`] makes what
/// is asked for, with the same authorities in the same order.
///
/// # Errors
/// When the bundle of one of several datastores is not PEM.
pub fn missing(
    user: &str,
    primary: &StoreAuthority<'_>,
    others: &[StoreAuthority<'_>],
    tenant_algorithm: KeyAlgorithm,
    live: Option<&Secret>,
    moment: &Moment,
) -> Result<Option<ClientRequest>, Error> {
    let bundles: Vec<&[u8]> = others.iter().map(|other| other.pem).collect();
    let trust_bundle = chain::trust_bundle(primary.pem, &bundles)?;
    let reasons = match live {
        None => vec!["the Secret is missing".to_owned()],
        Some(secret) => {
            let violations = violations(user, primary.certificate, others, secret, moment);
            let mut reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
            if value(secret, keys::CA_CERT) != trust_bundle {
                let several = trust_bundle != primary.pem;
                let sentence = if several {
                    "the datastores have other certificate authorities"
                } else {
                    "the datastore has another certificate authority"
                };
                reasons.push(sentence.to_owned());
            }
            if rotation_requested(secret) {
                reasons.push("a rotation was asked for".to_owned());
            }
            reasons
        }
    };
    if reasons.is_empty() {
        return Ok(None);
    }
    let old_key = live.map(|secret| value(secret, keys::DATASTORE_KEY)).unwrap_or_default();
    let now = moment.now;
    Ok(Some(ClientRequest {
        reasons,
        profile: Profile {
            // etcd takes the common name for the user; any organization would be a right that nobody needs.
            common_name: user.to_owned(),
            organizations: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usage: Usage::Client,
            not_before: now.saturating_sub(BACKDATE).unwrap_or(now),
            not_after: now.saturating_add(LEAF_LIFETIME).unwrap_or(now),
        },
        algorithm: algorithm_after(old_key, tenant_algorithm),
        trust_bundle,
    }))
}

fn violations(
    user: &str,
    primary: &Certificate,
    others: &[StoreAuthority<'_>],
    secret: &Secret,
    moment: &Moment,
) -> Vec<Violation> {
    let (certificate, key) = (value(secret, keys::DATASTORE_CERT), value(secret, keys::DATASTORE_KEY));
    let expected = Expected { common_name: Some(user), ..Expected::new(Usage::Client) };
    let (now, renew_before) = (moment.now, moment.renew_before);
    if others.iter().all(|other| other.certificate.is_same_signer(primary)) {
        let expected = Expected { authority: Some(primary), ..expected };
        return check::pair(certificate, key, &expected, now, renew_before);
    }
    let authorities: Vec<&Certificate> =
        [primary].into_iter().chain(others.iter().map(|other| other.certificate)).collect();
    check::chain(certificate, key, &expected, &authorities, now, renew_before)
}

/// Data of the datastore-certificate Secret, with the certificate that was made for `request`.
pub fn certificate_data(request: ClientRequest, pair: KeyPairPem) -> Data {
    [(keys::CA_CERT, request.trust_bundle), (keys::DATASTORE_CERT, pair.certificate), (keys::DATASTORE_KEY, pair.key)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value)))
        .collect()
}

#[cfg(test)]
mod tests;
