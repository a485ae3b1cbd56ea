//! The tenant's names and client certificate on its datastore (docs/reference/compatibility.md, "Datastore Secrets").

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::keys;
use kamaji_pki::{
    Certificate, KeyAlgorithm, Profile, Usage,
    check::{self, Expected},
};

use super::{BACKDATE, Data, LEAF_LIFETIME, Moment, algorithm_after, rotation_requested, value};
use crate::resolve::{Store, StoreIdentity};

/// The datastore's authority, as its DataStore gives it.
#[derive(Clone, Copy, Debug)]
pub struct StoreAuthority<'a> {
    /// Parsed certificate.
    pub certificate: &'a Certificate,
    /// The same in PEM.
    pub pem: &'a [u8],
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
}

/// Data of the datastore-config Secret. On etcd the connection string is empty and the password unused.
pub fn config_data(store: &Store, password: String) -> Data {
    [
        (keys::DB_CONNECTION_STRING, String::new()),
        (keys::DB_PASSWORD, password),
        (keys::DB_SCHEMA, store.identity.schema.clone()),
        (keys::DB_USER, store.identity.user.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
    .collect()
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
pub fn missing(
    user: &str,
    authority: &StoreAuthority<'_>,
    tenant_algorithm: KeyAlgorithm,
    live: Option<&Secret>,
    moment: &Moment,
) -> Option<ClientRequest> {
    let reasons = match live {
        None => vec!["the Secret is missing".to_owned()],
        Some(secret) => {
            let expected = Expected {
                common_name: Some(user),
                authority: Some(authority.certificate),
                ..Expected::new(Usage::Client)
            };
            let (certificate, key) = (value(secret, keys::DATASTORE_CERT), value(secret, keys::DATASTORE_KEY));
            let violations = check::pair(certificate, key, &expected, moment.now, moment.renew_before);
            let mut reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
            if value(secret, keys::CA_CERT) != authority.pem {
                reasons.push("the datastore has another certificate authority".to_owned());
            }
            if rotation_requested(secret) {
                reasons.push("a rotation was asked for".to_owned());
            }
            reasons
        }
    };
    if reasons.is_empty() {
        return None;
    }
    let old_key = live.map(|secret| value(secret, keys::DATASTORE_KEY)).unwrap_or_default();
    let now = moment.now;
    Some(ClientRequest {
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
    })
}

/// Data of the datastore-certificate Secret.
pub fn certificate_data(authority_pem: &[u8], pair: kamaji_pki::KeyPairPem) -> Data {
    [(keys::CA_CERT, authority_pem.to_vec()), (keys::DATASTORE_CERT, pair.certificate), (keys::DATASTORE_KEY, pair.key)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value)))
        .collect()
}
