//! Private keys: generated, or read in any of the three PEM forms that Kubernetes accepts.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use der::Decode;
use der::asn1::ObjectIdentifier;
use der::oid::db::{rfc5912, rfc8410};
use pkcs8::PrivateKeyInfoRef;
use rustls_pki_types::pem::SectionKind;
use zeroize::Zeroizing;

use crate::{Error, KeyAlgorithm, pem_block};

/// A private key that can sign, together with the PEM bytes it came from or was written as.
///
/// The bytes of a key that was read are kept as they are: writing it again changes nothing, whatever form it had.
/// `Debug` shows the algorithm only.
pub struct PrivateKey {
    algorithm: KeyAlgorithm,
    signer: Signer,
    pem: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
}

enum Signer {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl PrivateKey {
    /// A new key from the system's random source.
    ///
    /// RSA-2048 takes in the order of a hundred milliseconds of CPU, RSA-4096 up to seconds, ECDSA microseconds: call
    /// it from a blocking thread for RSA.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let rsa = |size| generate_rsa(algorithm, size);
        match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcdsaP256 => generate_ecdsa(algorithm, &ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyAlgorithm::EcdsaP384 => generate_ecdsa(algorithm, &ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }

    /// Reads the first private key of PEM input: PKCS#1 `RSA PRIVATE KEY`, SEC1 `EC PRIVATE KEY` or PKCS#8
    /// `PRIVATE KEY`. Other blocks, such as `EC PARAMETERS`, are skipped.
    ///
    /// Fails on input without a key, on an encrypted or malformed key, and on algorithms other than [`KeyAlgorithm`]'s
    /// (for example Ed25519, ECDSA on P-521, RSA of 1024 or 8192 bits).
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        // Encryption shows in the label or in a header, which make the block unknown or malformed.
        let unless_encrypted = |error| {
            let encrypted = pem.windows(9).any(|word| word == b"ENCRYPTED");
            if encrypted { Error::EncryptedKey } else { error }
        };
        for block in pem_block::blocks(pem, "private key") {
            let block = block.map_err(unless_encrypted)?;
            let signer = match block.kind {
                SectionKind::RsaPrivateKey => {
                    RsaKeyPair::from_der(&block.content).map(Signer::Rsa).map_err(malformed)?
                }
                SectionKind::EcPrivateKey => read_sec1(&block.content)?,
                SectionKind::PrivateKey => read_pkcs8(&block.content)?,
                _ => continue,
            };
            return Self::new(signer, pem.to_vec());
        }
        let labels = "RSA PRIVATE KEY, EC PRIVATE KEY or PRIVATE KEY";
        Err(unless_encrypted(Error::NoBlock { what: "private key", labels }))
    }

    /// The key as PEM: the bytes it was read from, or for a generated key the form kubeadm writes, which is PKCS#1
    /// `RSA PRIVATE KEY` or SEC1 `EC PRIVATE KEY`.
    pub fn to_pem(&self) -> Vec<u8> {
        self.pem.to_vec()
    }

    /// The public half as PKIX PEM with the label `PUBLIC KEY`, as kubeadm writes `sa.pub`.
    pub fn public_key_pem(&self) -> Vec<u8> {
        pem_block::encode("PUBLIC KEY", &self.public_key)
    }

    /// The algorithm of this key.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public half as the DER of a `SubjectPublicKeyInfo`.
    pub(crate) fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    /// A signature over `message` with the algorithm that [`crate::signature::signing_algorithm`] names.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| Error::Sign)?;
                Ok(signature)
            }
            Signer::Ecdsa(key) => Ok(key.sign(&random, message).map_err(|_| Error::Sign)?.as_ref().to_vec()),
        }
    }

    fn new(signer: Signer, pem: Vec<u8>) -> Result<Self, Error> {
        let pem = Zeroizing::new(pem);
        let (algorithm, public_key) = match &signer {
            Signer::Rsa(key) => {
                let bytes = key.public_modulus_len();
                let algorithm = KeyAlgorithm::rsa_with_modulus(bytes)
                    .ok_or_else(|| Error::UnsupportedKey { found: format!("RSA-{}", bytes * 8) })?;
                (algorithm, key.public_key().as_der())
            }
            Signer::Ecdsa(key) => {
                let algorithm = if *key.algorithm() == ECDSA_P256_SHA256_ASN1_SIGNING {
                    KeyAlgorithm::EcdsaP256
                } else {
                    KeyAlgorithm::EcdsaP384
                };
                (algorithm, key.public_key().as_der())
            }
        };
        let public_key = public_key.map_err(malformed)?.as_ref().to_vec();
        Ok(Self { algorithm, signer, pem, public_key })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A certificate and its private key, both PEM, as they lie in a Secret. `Debug` hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// The certificate, possibly followed by its chain.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairPem")
            .field("certificate", &String::from_utf8_lossy(&self.certificate))
            .finish_non_exhaustive()
    }
}

fn generate_rsa(algorithm: KeyAlgorithm, size: KeySize) -> Result<PrivateKey, Error> {
    let key = RsaKeyPair::generate(size).map_err(|_| Error::Generate { algorithm })?;
    let pem = encode_rsa(&key, algorithm)?;
    PrivateKey::new(Signer::Rsa(key), pem)
}

fn generate_ecdsa(algorithm: KeyAlgorithm, signing: &'static EcdsaSigningAlgorithm) -> Result<PrivateKey, Error> {
    let key = EcdsaKeyPair::generate(signing).map_err(|_| Error::Generate { algorithm })?;
    let pem = encode_ecdsa(&key, algorithm)?;
    PrivateKey::new(Signer::Ecdsa(key), pem)
}

/// The library writes PKCS#8, which wraps the PKCS#1 form.
fn encode_rsa(key: &RsaKeyPair, algorithm: KeyAlgorithm) -> Result<Vec<u8>, Error> {
    let pkcs8 = key.as_der().map_err(|_| Error::Generate { algorithm })?;
    let info = PrivateKeyInfoRef::from_der(pkcs8.as_ref()).map_err(malformed)?;
    Ok(pem_block::encode("RSA PRIVATE KEY", info.private_key.as_bytes()))
}

fn encode_ecdsa(key: &EcdsaKeyPair, algorithm: KeyAlgorithm) -> Result<Vec<u8>, Error> {
    let sec1 = key.private_key().as_der().map_err(|_| Error::Generate { algorithm })?;
    Ok(pem_block::encode("EC PRIVATE KEY", sec1.as_ref()))
}

fn read_sec1(content: &[u8]) -> Result<Signer, Error> {
    let key = sec1::EcPrivateKey::from_der(content).map_err(malformed)?;
    // A SEC1 key may leave out its curve; the length of the secret then tells it.
    let curve = key.parameters.and_then(sec1::EcParameters::named_curve).or(match key.private_key.len() {
        32 => Some(rfc5912::SECP_256_R_1),
        48 => Some(rfc5912::SECP_384_R_1),
        _ => None,
    });
    let signing = signing_for(curve)?;
    EcdsaKeyPair::from_private_key_der(signing, content).map(Signer::Ecdsa).map_err(malformed)
}

fn read_pkcs8(content: &[u8]) -> Result<Signer, Error> {
    let info = PrivateKeyInfoRef::from_der(content).map_err(malformed)?;
    match info.algorithm.oid {
        rfc5912::RSA_ENCRYPTION => RsaKeyPair::from_pkcs8(content).map(Signer::Rsa).map_err(malformed),
        rfc5912::ID_EC_PUBLIC_KEY => {
            let signing = signing_for(info.algorithm.parameters_oid().ok())?;
            EcdsaKeyPair::from_private_key_der(signing, content).map(Signer::Ecdsa).map_err(malformed)
        }
        rfc8410::ID_ED_25519 => Err(Error::UnsupportedKey { found: "Ed25519".to_owned() }),
        other => Err(Error::UnsupportedKey { found: other.to_string() }),
    }
}

fn signing_for(curve: Option<ObjectIdentifier>) -> Result<&'static EcdsaSigningAlgorithm, Error> {
    match curve {
        Some(rfc5912::SECP_256_R_1) => Ok(&ECDSA_P256_SHA256_ASN1_SIGNING),
        Some(rfc5912::SECP_384_R_1) => Ok(&ECDSA_P384_SHA384_ASN1_SIGNING),
        Some(rfc5912::SECP_521_R_1) => Err(Error::UnsupportedKey { found: "ECDSA-P521".to_owned() }),
        Some(other) => Err(Error::UnsupportedKey { found: format!("ECDSA on the curve {other}") }),
        None => Err(Error::UnsupportedKey { found: "ECDSA without a named curve".to_owned() }),
    }
}

/// The libraries' errors name a position or a rule, never a value of the key.
fn malformed(error: impl fmt::Display) -> Error {
    Error::MalformedKey { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Reads a key that kubeadm wrote and encodes it as a generated key is encoded.
    #[test]
    fn encodes_a_key_in_the_bytes_that_kubeadm_writes() {
        for algorithm in ["rsa-2048", "ecdsa-p256", "ecdsa-p384"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeadm").join(algorithm);
            let read = |name: &str| String::from_utf8(std::fs::read(folder.join(name)).unwrap()).unwrap();
            for name in ["sa.key", "ca.key", "apiserver.key"] {
                let pem = read(name);
                let encoded = match PrivateKey::from_pem(pem.as_bytes()).unwrap().signer {
                    Signer::Rsa(key) => encode_rsa(&key, KeyAlgorithm::Rsa2048),
                    Signer::Ecdsa(key) => encode_ecdsa(&key, KeyAlgorithm::EcdsaP256),
                };
                assert_eq!(String::from_utf8(encoded.unwrap()).unwrap(), pem, "{algorithm} {name}");
            }
            let key = PrivateKey::from_pem(read("sa.key").as_bytes()).unwrap();
            assert_eq!(String::from_utf8(key.public_key_pem()).unwrap(), read("sa.pub"), "{algorithm}");
        }
    }
}
