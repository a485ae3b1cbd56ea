//! One client certificate for servers that trust different authorities.
//!
//! A client that has one certificate to show cannot have one from each authority. So the certificate is signed by an
//! authority of its own, which each of the others has signed: the same name and the same key in one certificate for
//! each. They follow the client's certificate, and every server finds the one that leads to what it trusts. The key in
//! the middle signs this once and is gone.

use rustls_pki_types::pem::SectionKind;

use crate::{Authority, Error, KeyAlgorithm, KeyPairPem, PrivateKey, Profile, Usage, pem_block};

/// A new key and a certificate for `profile` that `primary` and every one of `others` accept.
///
/// Where all of them are one signer it is the certificate that [`Authority::issue`] makes. Else the certificates of the
/// authority in the middle follow it, `primary`'s first.
///
/// Fails as [`Authority::issue`] does, and when one of several authorities may not sign another.
pub fn issue(
    profile: &Profile,
    algorithm: KeyAlgorithm,
    primary: &Authority,
    others: &[&Authority],
) -> Result<KeyPairPem, Error> {
    let key = PrivateKey::generate(algorithm)?;
    let signers = signers(primary, others);
    let certificate = match signers.as_slice() {
        [only] => only.issue(profile, &key)?,
        several => issue_through(profile, &key, several)?,
    };
    Ok(KeyPairPem { certificate, key: key.to_pem() })
}

/// The first text as it is, and behind it the certificates of the `others` that are not in it: what trusts all of them.
///
/// Fails when a text that adds something is not PEM.
pub fn trust_bundle(primary: &[u8], others: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut bundle = primary.to_vec();
    let others: Vec<&[u8]> = others.iter().copied().filter(|other| *other != primary).collect();
    if others.is_empty() {
        return Ok(bundle);
    }
    let mut present = certificates(primary)?;
    for other in others {
        for certificate in certificates(other)? {
            if present.contains(&certificate) {
                continue;
            }
            if !bundle.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            bundle.extend(pem_block::encode("CERTIFICATE", &certificate));
            present.push(certificate);
        }
    }
    Ok(bundle)
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let blocks = pem_block::blocks(pem, "certificate").collect::<Result<Vec<_>, _>>()?;
    let certificates = blocks.iter().filter(|block| block.kind == SectionKind::Certificate);
    Ok(certificates.map(|block| block.content.to_vec()).collect())
}

fn signers<'a>(primary: &'a Authority, others: &[&'a Authority]) -> Vec<&'a Authority> {
    let mut signers = vec![primary];
    for other in others {
        if !signers.iter().any(|signer| signer.certificate().is_same_signer(other.certificate())) {
            signers.push(other);
        }
    }
    signers
}

fn issue_through(profile: &Profile, key: &PrivateKey, signers: &[&Authority]) -> Result<Vec<u8>, Error> {
    // It lives as long as the certificate that it signs, the only one.
    let middle = Profile {
        common_name: format!("{} client authority", profile.common_name),
        organizations: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::ClientAuthority,
        ..profile.clone()
    };
    let middle_key = PrivateKey::generate(key.algorithm())?;
    let mut certificates = Vec::new();
    for signer in signers {
        if !signer.certificate().may_sign_authorities() {
            return Err(Error::PathLength { common_name: signer.certificate().common_name().to_owned() });
        }
        certificates.extend(signer.issue(&middle, &middle_key)?);
    }
    let mut chain = Authority::with_key(certificates.clone(), middle_key)?.issue(profile, key)?;
    chain.extend(certificates);
    Ok(chain)
}

#[cfg(test)]
mod tests;
