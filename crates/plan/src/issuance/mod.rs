//! Which certificates and kubeconfigs a tenant lacks, and why.
//!
//! Every reason is a sentence that ends up in an Event. What to write comes out as a request; [`mint`] carries it out,
//! and is the only part of this crate whose output differs from run to run, because it makes keys.

pub mod authorities;
pub mod datastore;
pub mod kubeconfigs;
pub mod leaves;
pub mod mint;
pub mod store_config;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::annotations;
use kamaji_pki::{KeyAlgorithm, PrivateKey, Profile};

use crate::{
    control_plane::{metadata, names::TenantSecret},
    issued::SecretDigest,
    resolved::Resolved,
};

/// Data of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Life of an authority (kubeadm v1beta4: 87600h).
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(87_600);
/// Life of everything that an authority signs (kubeadm v1beta4: 8760h).
pub const LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(8_760);
/// Certificates are valid from a little before now, for clocks that are behind.
pub const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Clock and renewal threshold of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the pass.
    pub now: Timestamp,
    /// How long before its end a certificate is replaced.
    pub renew_before: SignedDuration,
}

/// One Secret to write, with the reason for it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which Secret.
    pub secret: TenantSecret,
    /// Why, each a sentence; empty where the Secret's content stays.
    pub reasons: Vec<String>,
    /// Its content, key by key.
    pub content: Vec<Content>,
}

impl Request {
    /// Algorithms of the keys that are to be made.
    pub fn algorithms(&self) -> impl Iterator<Item = KeyAlgorithm> {
        self.content.iter().filter_map(|content| match content {
            Content::Keep { .. } => None,
            Content::Certificate { algorithm, .. } | Content::Kubeconfig { algorithm, .. } => Some(*algorithm),
        })
    }
}

/// One or two keys of a Secret.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes that are good as they are.
    Keep {
        /// Key in the Secret.
        key: &'static str,
        /// Value.
        value: ByteString,
    },
    /// A certificate and its private key.
    Certificate {
        /// Key of the certificate in the Secret.
        certificate_key: &'static str,
        /// Key of the private key in the Secret.
        private_key_key: &'static str,
        /// What the certificate says.
        profile: Profile,
        /// Who signs it.
        signer: Signer,
        /// Algorithm of the new key.
        algorithm: KeyAlgorithm,
    },
    /// A kubeconfig with a client certificate of its own.
    Kubeconfig {
        /// Key in the Secret.
        key: &'static str,
        /// Name of the cluster entry.
        cluster_name: String,
        /// URL of the API server.
        server: String,
        /// What the client certificate says; its common name is the user.
        profile: Profile,
        /// Algorithm of the new key.
        algorithm: KeyAlgorithm,
    },
}

/// Which of the tenant's authorities signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The tenant's authority.
    Ca,
    /// The front-proxy authority.
    FrontProxyCa,
}

/// Whether the Secret asks for a rotation: the annotation is there and empty.
pub fn rotation_requested(secret: &Secret) -> bool {
    let annotations = secret.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(annotations::ROTATE)).is_some_and(String::is_empty)
}

/// Bytes of one key; empty when it is absent.
pub fn value<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice()).unwrap_or_default()
}

/// Algorithm for a key that replaces `old`: the same, or the tenant's where there is no readable old one.
pub(crate) fn algorithm_after(old: &[u8], tenant: KeyAlgorithm) -> KeyAlgorithm {
    if old.is_empty() { tenant } else { PrivateKey::from_pem(old).map_or(tenant, |key| key.algorithm()) }
}

/// The Secret to write: `data` under our labels. A rotation that was asked for is recorded with its time.
pub fn secret(resolved: &Resolved, which: TenantSecret, data: Data, rotated_at: Option<Timestamp>) -> Secret {
    let mut metadata = metadata::owned(resolved, which.name(&resolved.name), which.component());
    if let Some(lifecycle) = which.lifecycle() {
        let label = kamaji_api::contract::labels::CERTIFICATE_LIFECYCLE.to_owned();
        metadata.labels.get_or_insert_default().insert(label, lifecycle.to_owned());
    }
    metadata::set_checksum(&mut metadata, checksum(&data));
    if let Some(at) = rotated_at {
        // Seconds are what the Go operator writes.
        let at = at.round(jiff::Unit::Second).unwrap_or(at);
        metadata.annotations.get_or_insert_default().insert(annotations::ROTATE.to_owned(), at.to_string());
    }
    Secret { metadata, type_: Some(which.secret_type().to_owned()), data: Some(data), ..Secret::default() }
}

/// Whether labels, owner and type of a live Secret are as [`secret`] writes them.
///
/// A Secret that is right is not touched at all, not even to take over its fields.
pub fn metadata_is_right(resolved: &Resolved, which: TenantSecret, live: &Secret) -> bool {
    let wanted = secret(resolved, which, Data::new(), None).metadata;
    let has_labels = wanted
        .labels
        .iter()
        .flatten()
        .all(|(key, value)| live.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value));
    let owned = live.metadata.owner_references.iter().flatten().any(|owner| owner.uid == resolved.uid);
    let annotated = live.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(annotations::CHECKSUM));
    has_labels && owned && annotated
}

/// Checksum of a Secret's data: MD5 over the values, sorted by key.
pub fn checksum(data: &Data) -> String {
    let values: BTreeMap<&str, &[u8]> = data.iter().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
    kamaji_pki::checksum::map(&values)
}

/// What later steps need to know of a Secret that exists.
pub fn digest(secret: &Secret) -> SecretDigest {
    // An API server gives no empty map back.
    let own = checksum(secret.data.as_ref().unwrap_or(&Data::new()));
    let annotations = secret.metadata.annotations.as_ref();
    let checksum = annotations.and_then(|annotations| annotations.get(annotations::CHECKSUM)).cloned();
    SecretDigest {
        name: secret.metadata.name.clone().unwrap_or_default(),
        hash: if kubeconfigs::is_go_operators_konnectivity(secret) { String::new() } else { own.clone() },
        checksum: checksum.unwrap_or(own),
    }
}
