//! What can be wrong with keys and certificates.

use crate::KeyAlgorithm;

/// A key or certificate that cannot be read, or a certificate that cannot be made.
///
/// No message and no source holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input has a PEM block that cannot be decoded.
    ///
    /// The PEM parser's own account is dropped on purpose: it quotes the text it failed on, which may be a key.
    #[error("the {what} is not valid PEM; store it as a PEM block with matching BEGIN and END lines")]
    Pem {
        /// What was being read, for example `certificate`.
        what: &'static str,
    },
    /// The input is PEM, or nothing at all, but holds no block of the wanted kind.
    #[error("there is no {what} in the given bytes; store it as a PEM block with the label {labels}")]
    NoBlock {
        /// What was being read.
        what: &'static str,
        /// The labels that would have been accepted.
        labels: &'static str,
    },
    /// The private key is protected by a passphrase.
    #[error("the private key is encrypted; store it without a passphrase")]
    EncryptedKey,
    /// The private key has the right label, but its content is malformed or weaker than 2048 bits.
    #[error(
        "the private key cannot be read: {reason}; store an RSA key of at least 2048 bits, or an ECDSA key on P-256 or P-384"
    )]
    MalformedKey {
        /// What the cryptographic library found.
        reason: String,
    },
    /// The private key is of an algorithm that kubeadm cannot be asked for.
    #[error(
        "private keys of the kind {found} are not supported; use one of RSA-2048, RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384"
    )]
    UnsupportedKey {
        /// The kind of key, for example `ECDSA-P521`.
        found: String,
    },
    /// The public key cannot be read.
    #[error("the public key cannot be read; store it as a PEM block with the label PUBLIC KEY")]
    MalformedPublicKey {
        /// The decoder's account.
        #[source]
        source: der::Error,
    },
    /// The certificate is not valid DER, or one of its parts is not.
    #[error("the {part} of the certificate cannot be read; replace the certificate")]
    MalformedCertificate {
        /// The part at fault, for example `subject alternative name`.
        part: &'static str,
        /// The decoder's account.
        #[source]
        source: der::Error,
    },
    /// The certificate names one signature algorithm inside and another one outside its signed part.
    #[error("the certificate names two different signature algorithms; replace the certificate")]
    SignatureAlgorithms,
    /// The certificate given as an authority may not sign certificates.
    #[error(
        "the certificate {common_name:?} is not a certificate authority; give one with CA:TRUE and the key usage keyCertSign"
    )]
    NotAnAuthority {
        /// Its common name.
        common_name: String,
    },
    /// The certificate and the private key do not belong together.
    #[error(
        "the private key does not belong to the certificate {common_name:?}; give the key that the certificate was made for"
    )]
    KeyMismatch {
        /// The certificate's common name.
        common_name: String,
    },
    /// Of several certificates none belongs to the private key.
    #[error("the private key belongs to none of the {count} certificates; add the one that it was made for")]
    KeyWithoutCertificate {
        /// How many there are.
        count: usize,
    },
    /// An authority that may sign no other is to be one of several that accept a certificate.
    #[error(
        "the certificate authority {common_name:?} has a path length of 0, so that no certificate can be made that it and \
         another authority both accept; replace it by one without that limit, or use one authority for all of them"
    )]
    PathLength {
        /// Its common name.
        common_name: String,
    },
    /// The profile asks for a certificate that cannot exist.
    #[error("no certificate can be made for {common_name:?}: {reason}")]
    Profile {
        /// The common name asked for.
        common_name: String,
        /// Which field is wrong and what it must hold.
        reason: String,
    },
    /// The profile holds a value that DER cannot carry.
    #[error("the {field} of the certificate cannot be encoded")]
    Encode {
        /// The field at fault.
        field: &'static str,
        /// The encoder's account.
        #[source]
        source: der::Error,
    },
    /// The cryptographic library failed to make a key.
    #[error("no {algorithm} key could be generated; the system's random source failed")]
    Generate {
        /// The algorithm asked for.
        algorithm: KeyAlgorithm,
    },
    /// The cryptographic library failed to sign.
    #[error("the certificate could not be signed; the cryptographic library refused the key")]
    Sign,
}

impl Error {
    /// A stable word for metrics and log fields.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Pem { .. } | Self::NoBlock { .. } => "pem",
            Self::EncryptedKey | Self::MalformedKey { .. } | Self::UnsupportedKey { .. } => "private_key",
            Self::MalformedPublicKey { .. } => "public_key",
            Self::MalformedCertificate { .. } | Self::SignatureAlgorithms => "certificate",
            Self::NotAnAuthority { .. }
            | Self::KeyMismatch { .. }
            | Self::KeyWithoutCertificate { .. }
            | Self::PathLength { .. } => "authority",
            Self::Profile { .. } | Self::Encode { .. } => "profile",
            Self::Generate { .. } | Self::Sign => "crypto",
        }
    }
}
