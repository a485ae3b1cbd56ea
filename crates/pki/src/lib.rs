//! X.509 certificates, private keys, kubeconfig identities and checksums: bytes in, bytes out.
//!
//! Nothing here performs I/O or reads a clock: the caller passes PEM bytes and a [`jiff::Timestamp`]. What a certificate
//! holds follows kubeadm (`docs/reference/compatibility.md`, "Certificates"), so that a certificate written here and one
//! written by kubeadm for the same request differ in serial number and signature only.

mod algorithm;
mod asn1;
mod authority;
#[cfg(test)]
mod captured;
mod certificate;
pub mod chain;
pub mod check;
pub mod checksum;
mod error;
pub mod kubeconfig;
mod pem_block;
mod private_key;
mod profile;
mod signature;
pub mod trust_anchor;

pub use algorithm::{KeyAlgorithm, UnknownKeyAlgorithm};
pub use authority::{Authority, self_signed};
pub use certificate::Certificate;
pub use error::Error;
pub use private_key::{KeyPairPem, PrivateKey};
pub use profile::{Profile, Usage};
