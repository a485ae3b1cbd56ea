//! What can be wrong with the owner's ConfigMap.

use jiff::Timestamp;

/// Why a ConfigMap's certificates are not mounted. The sentence begins in the middle: [`Fault::of`] puts the ConfigMap
/// in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The ConfigMap is not there.
    #[error("it does not exist in the tenant's namespace; create it or name another")]
    Missing,
    /// It has no key.
    #[error("it is empty; give it keys with certificate authorities in PEM, or take the field away")]
    Empty,
    /// It has binary data.
    #[error("the key \"{key}\" is under binaryData; put certificates under data, in PEM")]
    Binary {
        /// The key.
        key: String,
    },
    /// A private key lies open in it.
    #[error(
        "the key \"{key}\" holds a private key, which does not belong in a ConfigMap and is never mounted; remove it \
         and replace that key, because whoever may read ConfigMaps has seen it"
    )]
    PrivateKey {
        /// The key.
        key: String,
    },
    /// A key's text is not certificates and nothing else.
    #[error("the key \"{key}\" cannot be used: {what}; correct the key or remove it")]
    Unfit {
        /// The key.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A certificate is no authority.
    #[error(
        "the key \"{key}\" has a certificate, \"{common_name}\", that is not a certificate authority; give the \
         certificate of the authority that signed it"
    )]
    NotAnAuthority {
        /// The key.
        key: String,
        /// Common name of the certificate.
        common_name: String,
    },
    /// An authority's time is over.
    #[error("the key \"{key}\" has a certificate authority, \"{common_name}\", that expired at {ended}; remove it")]
    Expired {
        /// The key.
        key: String,
        /// Common name of the authority.
        common_name: String,
        /// When.
        ended: Timestamp,
    },
    /// Nothing that large can be written as a ConfigMap.
    #[error("its certificates have {size} bytes, and a ConfigMap holds 1048576 at most; remove some")]
    TooLarge {
        /// Size of all certificates as they would be written.
        size: usize,
    },
}

impl Fault {
    /// The sentence, with the ConfigMap in front.
    pub fn of(&self, config_map: &str) -> String {
        format!("the ConfigMap \"{config_map}\" cannot be used: {self}")
    }

    /// CamelCase word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "InternalCANotFound",
            Self::Empty
            | Self::Binary { .. }
            | Self::PrivateKey { .. }
            | Self::Unfit { .. }
            | Self::NotAnAuthority { .. }
            | Self::Expired { .. }
            | Self::TooLarge { .. } => "InternalCAInvalid",
        }
    }

    /// A short, fixed word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Binary { .. } => "binary",
            Self::PrivateKey { .. } => "private_key",
            Self::Unfit { .. } => "pem",
            Self::NotAnAuthority { .. } => "authority",
            Self::Expired { .. } => "expired",
            Self::TooLarge { .. } => "size",
        }
    }
}
