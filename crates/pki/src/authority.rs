//! Making certificates: self-signed authorities, and whatever an authority issues.

use aws_lc_rs::rand;
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode};
use pkcs8::spki::SubjectPublicKeyInfoRef;

use crate::asn1::{SignedCertificate, TbsCertificate, Version};
use crate::certificate::Certificate;
use crate::signature::signing_algorithm;
use crate::{Error, PrivateKey, Profile, pem_block};

/// A certificate for `profile`, signed with its own key, as PEM.
///
/// Fails when the profile cannot be encoded: an empty common name, a validity that ends before it starts, a DNS name
/// that is not ASCII.
pub fn self_signed(profile: &Profile, key: &PrivateKey) -> Result<Vec<u8>, Error> {
    let subject = profile.subject()?;
    sign(profile, key, &Signer { name: &subject, key_id: None, key }, random_serial()?)
}

/// A certificate authority with its private key: signs certificates for others.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    pem: Vec<u8>,
    key: PrivateKey,
}

impl Authority {
    /// Reads an authority from PEM; of several certificates the first one that belongs to the key counts. So a bundle
    /// may hold the authorities before and after a rotation, in any order, and the key says which one signs.
    ///
    /// Fails when either part cannot be read, when the certificate may not sign certificates (CA:FALSE, or a key usage
    /// without keyCertSign), and when the key belongs to another certificate. What follows the certificate that counts
    /// is not looked at.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, Error> {
        let first = Certificate::from_pem(cert)?;
        let key = PrivateKey::from_pem(key)?;
        let certificate = if first.matches_key(&key) { first } else { later(&first, cert, &key)? };
        if !certificate.is_authority() {
            return Err(Error::NotAnAuthority { common_name: certificate.common_name().to_owned() });
        }
        Ok(Self { pem: cert.to_vec(), certificate, key })
    }

    /// The authority of `key`, whose certificate is the first of `pem`.
    pub(crate) fn with_key(pem: Vec<u8>, key: PrivateKey) -> Result<Self, Error> {
        Ok(Self { certificate: Certificate::from_pem(&pem)?, pem, key })
    }

    /// A certificate for `profile` and the public half of `key`, signed by this authority, as PEM.
    ///
    /// The validity is the profile's alone: it may outlive the authority's, as with kubeadm.
    pub fn issue(&self, profile: &Profile, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        self.issue_with_serial(profile, key, random_serial()?)
    }

    /// The authority's certificate in the PEM bytes it was read from, with whatever else they hold.
    pub fn certificate_pem(&self) -> &[u8] {
        &self.pem
    }

    /// The authority's certificate, parsed.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn issue_with_serial(&self, profile: &Profile, key: &PrivateKey, serial: u64) -> Result<Vec<u8>, Error> {
        let signer = Signer { name: self.certificate.subject_der(), key_id: self.certificate.key_id(), key: &self.key };
        sign(profile, key, &signer, serial)
    }
}

/// The certificate of `key` behind the `first` one of `pem`.
fn later(first: &Certificate, pem: &[u8], key: &PrivateKey) -> Result<Certificate, Error> {
    let mut count = 1;
    for certificate in Certificate::all_from_pem(pem).skip(1) {
        let certificate = certificate?;
        if certificate.matches_key(key) {
            return Ok(certificate);
        }
        count += 1;
    }
    let common_name = first.common_name().to_owned();
    Err(match (count, first.is_authority()) {
        (1, false) => Error::NotAnAuthority { common_name },
        (1, true) => Error::KeyMismatch { common_name },
        (count, _) => Error::KeyWithoutCertificate { count },
    })
}

struct Signer<'a> {
    name: &'a [u8],
    key_id: Option<&'a [u8]>,
    key: &'a PrivateKey,
}

fn sign(profile: &Profile, key: &PrivateKey, signer: &Signer<'_>, serial: u64) -> Result<Vec<u8>, Error> {
    let failed = |field| move |source| Error::Encode { field, source };
    let validity = profile.validity()?;
    let subject = profile.subject()?;
    let serial = serial.to_der().map_err(failed("serial number"))?;
    let public_key = SubjectPublicKeyInfoRef::from_der(key.public_key_der())
        .map_err(|source| Error::MalformedPublicKey { source })?;
    let algorithm = signing_algorithm(signer.key.algorithm());
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: AnyRef::from_der(&serial).map_err(failed("serial number"))?,
        signature: algorithm,
        issuer: AnyRef::from_der(signer.name).map_err(failed("issuer"))?,
        validity,
        subject: AnyRef::from_der(&subject).map_err(failed("subject"))?,
        subject_public_key_info: AnyRef::from_der(key.public_key_der()).map_err(failed("public key"))?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(profile.extensions(&public_key, signer.key_id)?),
    };
    let tbs = tbs.to_der().map_err(failed("certificate"))?;
    let signature = signer.key.sign(&tbs)?;
    let certificate = SignedCertificate {
        tbs_certificate: AnyRef::from_der(&tbs).map_err(failed("certificate"))?,
        signature_algorithm: algorithm,
        signature: BitStringRef::from_bytes(&signature).map_err(failed("signature"))?,
    };
    Ok(pem_block::encode("CERTIFICATE", &certificate.to_der().map_err(failed("certificate"))?))
}

/// A serial number in [1, 2^63-2], kubeadm's range.
fn random_serial() -> Result<u64, Error> {
    loop {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).map_err(|_| Error::Sign)?;
        let serial = u64::from_be_bytes(bytes) >> 1;
        if (1..=(1 << 63) - 2).contains(&serial) {
            return Ok(serial);
        }
    }
}

#[cfg(test)]
mod tests;
