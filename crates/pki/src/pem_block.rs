//! Finding the right block in PEM input, and writing one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::Error;

/// One block of PEM input. The content is wiped when dropped: it may be a private key.
pub(crate) struct Block {
    pub(crate) kind: SectionKind,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

/// The blocks of `input` in their order. Text around them and blocks with unknown labels are skipped, as Go's
/// `encoding/pem` and its callers do.
pub(crate) fn blocks(input: &[u8], what: &'static str) -> impl Iterator<Item = Result<Block, Error>> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(input).map(move |block| match block {
        Ok((kind, content)) => Ok(Block { kind, content: Zeroizing::new(content) }),
        // The parser's account quotes the line it failed on, which may be a key.
        Err(_) => Err(Error::Pem { what }),
    })
}

/// One block as Go's `encoding/pem` writes it: lines of 64 characters, each ended by a line feed.
pub(crate) fn encode(label: &str, content: &[u8]) -> Vec<u8> {
    // 48 bytes make 64 characters.
    let body: String = content.chunks(48).map(|line| STANDARD.encode(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_line_breaks_that_go_writes() {
        let text = String::from_utf8(encode("CERTIFICATE", &[0; 49])).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!((lines[1].len(), lines[2].len(), lines[4]), (64, 4, ""));
    }

    #[test]
    fn skips_text_and_unknown_blocks_and_reads_any_line_break() {
        let input = b"Bag Attributes\r\n  friendlyName: x\r\n-----BEGIN DH PARAMETERS-----\nAAEC\n-----END DH PARAMETERS-----\n\
            -----BEGIN PUBLIC KEY-----\r\nAA\r\n\r\nEC\r\n-----END PUBLIC KEY-----\r\ntrailing";
        let found: Vec<Block> = blocks(input, "test").collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].content.as_slice()), (SectionKind::PublicKey, &[0, 1, 2][..]));
    }
}
