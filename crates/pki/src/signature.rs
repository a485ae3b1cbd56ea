//! Which signature algorithm goes with which key, for making and for checking signatures.

use aws_lc_rs::signature::{self as lc, UnparsedPublicKey, VerificationAlgorithm};
use der::asn1::{AnyRef, ObjectIdentifier};
use der::oid::db::{rfc5912, rfc8410};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::KeyAlgorithm;

/// The algorithm that Go's `x509.CreateCertificate` chooses for a key when the template names none.
pub(crate) fn signing_algorithm(key: KeyAlgorithm) -> AlgorithmIdentifierRef<'static> {
    match key {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            AlgorithmIdentifierRef { oid: rfc5912::SHA_256_WITH_RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) }
        }
        KeyAlgorithm::EcdsaP256 => AlgorithmIdentifierRef { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None },
        KeyAlgorithm::EcdsaP384 => AlgorithmIdentifierRef { oid: rfc5912::ECDSA_WITH_SHA_384, parameters: None },
    }
}

/// Whether `signature` over `message` was made by the private half of `public_key`.
///
/// Algorithms outside RSA PKCS#1 v1.5, ECDSA on P-256, P-384 and P-521, and Ed25519 count as not verified.
pub(crate) fn verifies(
    algorithm: ObjectIdentifier,
    public_key: &SubjectPublicKeyInfoRef<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some(verification) = verification_algorithm(algorithm, &public_key.algorithm) else { return false };
    let Some(key) = public_key.subject_public_key.as_bytes() else { return false };
    UnparsedPublicKey::new(verification, key).verify(message, signature).is_ok()
}

fn verification_algorithm(
    signature: ObjectIdentifier,
    key: &AlgorithmIdentifierRef<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let curve = key.parameters_oid().ok();
    let algorithm: &'static dyn VerificationAlgorithm = match key.oid {
        rfc5912::RSA_ENCRYPTION => match signature {
            rfc5912::SHA_256_WITH_RSA_ENCRYPTION => &lc::RSA_PKCS1_2048_8192_SHA256,
            rfc5912::SHA_384_WITH_RSA_ENCRYPTION => &lc::RSA_PKCS1_2048_8192_SHA384,
            rfc5912::SHA_512_WITH_RSA_ENCRYPTION => &lc::RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        },
        rfc5912::ID_EC_PUBLIC_KEY => match (curve?, signature) {
            (rfc5912::SECP_256_R_1, rfc5912::ECDSA_WITH_SHA_256) => &lc::ECDSA_P256_SHA256_ASN1,
            (rfc5912::SECP_256_R_1, rfc5912::ECDSA_WITH_SHA_384) => &lc::ECDSA_P256_SHA384_ASN1,
            (rfc5912::SECP_256_R_1, rfc5912::ECDSA_WITH_SHA_512) => &lc::ECDSA_P256_SHA512_ASN1,
            (rfc5912::SECP_384_R_1, rfc5912::ECDSA_WITH_SHA_256) => &lc::ECDSA_P384_SHA256_ASN1,
            (rfc5912::SECP_384_R_1, rfc5912::ECDSA_WITH_SHA_384) => &lc::ECDSA_P384_SHA384_ASN1,
            (rfc5912::SECP_384_R_1, rfc5912::ECDSA_WITH_SHA_512) => &lc::ECDSA_P384_SHA512_ASN1,
            (rfc5912::SECP_521_R_1, rfc5912::ECDSA_WITH_SHA_256) => &lc::ECDSA_P521_SHA256_ASN1,
            (rfc5912::SECP_521_R_1, rfc5912::ECDSA_WITH_SHA_384) => &lc::ECDSA_P521_SHA384_ASN1,
            (rfc5912::SECP_521_R_1, rfc5912::ECDSA_WITH_SHA_512) => &lc::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        },
        rfc8410::ID_ED_25519 if signature == rfc8410::ID_ED_25519 => &lc::ED25519,
        _ => return None,
    };
    Some(algorithm)
}
