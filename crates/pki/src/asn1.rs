//! The ASN.1 frame of a certificate (RFC 5280, section 4.1), for reading and for writing.
//!
//! Names and keys stay undecoded here: an issuer must be repeated in the bytes that its own certificate uses, because
//! chains are matched by those bytes.

use der::asn1::{AnyRef, BitStringRef};
use der::{Enumerated, Sequence};
use pkcs8::spki::AlgorithmIdentifierRef;
use x509_cert::ext::Extension;
use x509_cert::time::Validity;

/// The version of a certificate; extensions need the third.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enumerated)]
#[asn1(type = "INTEGER")]
#[repr(u8)]
pub(crate) enum Version {
    #[default]
    V1 = 0,
    V2 = 1,
    V3 = 2,
}

/// The signed part of a certificate.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", default = "Default::default")]
    pub(crate) version: Version,
    pub(crate) serial_number: AnyRef<'a>,
    pub(crate) signature: AlgorithmIdentifierRef<'a>,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) validity: Validity,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) subject_public_key_info: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) issuer_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) subject_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<Vec<Extension>>,
}

/// A certificate whose signed part is left as it is, so that a signature is checked over the original bytes.
#[derive(Clone, Debug, Sequence)]
pub(crate) struct SignedCertificate<'a> {
    pub(crate) tbs_certificate: AnyRef<'a>,
    pub(crate) signature_algorithm: AlgorithmIdentifierRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
}
