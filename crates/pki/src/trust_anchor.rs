//! Reading a text that is to hold certificate authorities and nothing else.
//!
//! Stricter than [`Certificate::bundle_from_pem`], which skips what it does not know: here a person wrote the text, and
//! what is skipped would be trusted by nobody without a word.

use aws_lc_rs::digest::{Context, SHA256};
use rustls_pki_types::pem::SectionKind;

use crate::{Certificate, Error, pem_block};

const BEGIN: &str = "-----BEGIN ";

/// One certificate of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// The certificate. Whether it is an authority, and in its time, is for the caller to say.
    pub certificate: Certificate,
    /// Its PEM block as Go writes it: no text around, no headers, lines of 64 characters.
    pub pem: String,
}

/// Why a text does not hold certificates and nothing else. No message quotes more of the text than a block's label.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is a private key, whole or in part.
    #[error("it holds a private key")]
    PrivateKey,
    /// There is a block that is no certificate.
    #[error("it holds a PEM block with the label \"{label}\", and only CERTIFICATE belongs here")]
    Foreign {
        /// Label of the block, at most 40 characters of it.
        label: String,
    },
    /// There is no PEM block at all.
    #[error("it holds no PEM block with the label CERTIFICATE")]
    Nothing,
    /// A block is cut off, indented or not base64.
    #[error("its certificate number {number} is broken PEM")]
    Broken {
        /// Which one, from 1.
        number: usize,
    },
    /// A block holds something that is no certificate.
    #[error("its certificate number {number} cannot be read")]
    Unreadable {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: Error,
    },
}

impl Unfit {
    /// A stable word for metrics and log fields.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::PrivateKey => "private_key",
            Self::Foreign { .. } | Self::Nothing | Self::Broken { .. } => "pem",
            Self::Unreadable { .. } => "certificate",
        }
    }
}

/// The certificates of `text` in their order, at least one. Text between the blocks is allowed, as a comment.
///
/// # Errors
/// At anything but certificates. A private key is told before all else.
pub fn read(text: &str) -> Result<Vec<TrustAnchor>, Unfit> {
    if has_private_key(text) {
        return Err(Unfit::PrivateKey);
    }
    let labels = labels(text);
    if let Some(label) = labels.iter().find(|label| **label != "CERTIFICATE") {
        return Err(Unfit::Foreign { label: label.chars().take(40).collect() });
    }
    let mut anchors = Vec::with_capacity(labels.len());
    for block in pem_block::blocks(text.as_bytes(), "certificate") {
        let number = anchors.len() + 1;
        let block =
            block.ok().filter(|block| block.kind == SectionKind::Certificate).ok_or(Unfit::Broken { number })?;
        let certificate =
            Certificate::from_der(&block.content).map_err(|source| Unfit::Unreadable { number, source })?;
        let pem = String::from_utf8_lossy(&pem_block::encode("CERTIFICATE", &block.content)).into_owned();
        anchors.push(TrustAnchor { certificate, pem });
    }
    match (labels.len(), anchors.len()) {
        (0, _) => Err(Unfit::Nothing),
        (wanted, read) if wanted != read => Err(Unfit::Broken { number: read + 1 }),
        _ => Ok(anchors),
    }
}

/// Whether a text holds a private key of any kind, or the rest of one.
pub fn has_private_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

/// The labels of all blocks that begin somewhere in `text`.
fn labels(text: &str) -> Vec<&str> {
    let begins = text.split(BEGIN).skip(1);
    begins.map(|rest| rest.split(['\r', '\n']).next().unwrap_or_default().trim_end().trim_end_matches('-')).collect()
}

/// A name for a set of texts by their keys: the first 16 hexadecimal digits of a SHA-256. What is called the same holds
/// the same.
pub fn fingerprint<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    use std::fmt::Write as _;

    let mut context = Context::new(&SHA256);
    for (key, text) in texts {
        for part in [key, text] {
            // The length in front keeps a key apart from its text.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    context.finish().as_ref().iter().take(8).fold(String::with_capacity(16), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{KeyAlgorithm, PrivateKey, Profile, Usage, self_signed};

    fn authority(name: &str) -> String {
        let profile = Profile {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usage: Usage::Authority,
            not_before: Timestamp::UNIX_EPOCH,
            not_after: "2040-01-01T00:00:00Z".parse().unwrap(),
        };
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        String::from_utf8(self_signed(&profile, &key).unwrap()).unwrap()
    }

    fn fault(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_certificate_and_drops_what_stands_between() {
        let (a, b) = (authority("a"), authority("b"));
        let anchors = read(&format!("# ours\n{a}\r\n\nnext one\n{}", b.replace('\n', "\r\n"))).unwrap();
        let names: Vec<&str> = anchors.iter().map(|anchor| anchor.certificate.common_name()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(anchors.into_iter().map(|anchor| anchor.pem).collect::<Vec<_>>(), [a, b]);
    }

    #[test]
    fn refuses_a_private_key_of_any_kind_wherever_it_stands() {
        for label in
            ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"]
        {
            let key = format!("-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
            for text in [key.clone(), format!("{}{key}", authority("a")), format!("-----END {label}-----")] {
                assert!(matches!(read(&text), Err(Unfit::PrivateKey)), "{text}");
            }
        }
    }

    #[test]
    fn refuses_broken_blocks_by_their_number() {
        let a = authority("a");
        let cut: String = a.lines().take(4).collect::<Vec<_>>().join("\n");
        let indented = format!("  {}", a.replace('\n', "\n  "));
        let scrambled = a.replacen("\nM", "\n!", 1);
        for broken in [cut, indented, scrambled] {
            assert_eq!(fault(&format!("{a}{broken}")), "its certificate number 2 is broken PEM", "{broken}");
            assert_eq!(fault(&broken), "its certificate number 1 is broken PEM", "{broken}");
        }
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
        assert_eq!(fault(&format!("{a}{no_certificate}")), "its certificate number 2 cannot be read");
    }

    #[test]
    fn refuses_what_holds_no_certificate() {
        for nothing in ["", "\n", "MIIB", "# comment"] {
            assert!(matches!(read(nothing), Err(Unfit::Nothing)), "{nothing}");
        }
        let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAEC\n-----END CERTIFICATE REQUEST-----\n";
        assert!(fault(request).contains("\"CERTIFICATE REQUEST\""));
        assert!(fault("-----BEGIN TRUSTED CERTIFICATE-----\n").contains("\"TRUSTED CERTIFICATE\""));
    }

    #[test]
    fn a_fingerprint_tells_keys_and_texts_apart() {
        let all = [vec![("a", "bc")], vec![("ab", "c")], vec![("a", "b"), ("c", "")], vec![]];
        let prints: std::collections::BTreeSet<String> = all.iter().cloned().map(fingerprint).collect();
        assert_eq!(prints.len(), all.len());
        assert!(prints.iter().all(|print| print.len() == 16));
    }
}
