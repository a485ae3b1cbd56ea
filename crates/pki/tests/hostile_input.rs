//! Whatever lies in a Secret, reading it ends in a value or an error.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test panics")]

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kamaji_pki::check::{self, Expected, ExpectedKubeconfig};
use kamaji_pki::{Authority, Certificate, KeyPairPem, PrivateKey, Usage, kubeconfig};
use proptest::prelude::*;
use proptest::sample::Index;

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap()
}

fn fixtures() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just("kubeadm/rsa-2048/apiserver.crt"),
        Just("kubeadm/ecdsa-p256/ca.crt"),
        Just("enterprise/ca.crt"),
        Just("kubeadm/rsa-2048/apiserver.key"),
        Just("kubeadm/ecdsa-p256/ca.key"),
        Just("keys/ec-p256-pkcs8.pem"),
        Just("keys/rsa-2048-pkcs8.pem"),
        Just("kubeadm/rsa-2048/sa.pub"),
    ]
    .prop_map(fixture)
}

fn read_as_everything(bytes: &[u8]) {
    let _ = Certificate::from_pem(bytes);
    let _ = Certificate::bundle_from_pem(bytes);
    let _ = PrivateKey::from_pem(bytes);
    let _ = Authority::from_pem(bytes, bytes);
    let _ = kubeconfig::parse(bytes);
    let renew_before = SignedDuration::MAX;
    let client = Expected::new(Usage::Client);
    check::pair(bytes, bytes, &client, Timestamp::MAX, renew_before);
    check::service_account_pair(bytes, bytes);
    let expected = ExpectedKubeconfig { server: "", authority_pem: b"", client };
    check::kubeconfig(bytes, &expected, Timestamp::MIN, renew_before);
}

fn reframe(pem: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let block = pem::parse(pem).unwrap();
    let mut content = block.contents().to_vec();
    change(&mut content);
    pem::encode(&pem::Pem::new(block.tag(), content)).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        read_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_pem_content_never_panics(
        label in prop_oneof![
            Just("CERTIFICATE"), Just("PRIVATE KEY"), Just("RSA PRIVATE KEY"), Just("EC PRIVATE KEY"), Just("PUBLIC KEY"),
        ],
        content in any::<Vec<u8>>(),
    ) {
        read_as_everything(&pem::encode(&pem::Pem::new(label, content)).into_bytes());
    }

    #[test]
    fn a_changed_byte_never_panics(pem in fixtures(), at in any::<Index>(), byte in any::<u8>()) {
        read_as_everything(&reframe(&pem, |content| {
            let at = at.index(content.len());
            content[at] = byte;
        }));
    }

    #[test]
    fn a_cut_never_panics(pem in fixtures(), at in any::<Index>()) {
        read_as_everything(&reframe(&pem, |content| content.truncate(at.index(content.len()))));
        read_as_everything(&pem[..at.index(pem.len())]);
    }

    #[test]
    fn a_changed_bit_in_a_certificate_breaks_its_signature(at in any::<Index>(), bit in 0..8_u32) {
        let authority = Certificate::from_pem(&fixture("kubeadm/ecdsa-p256/ca.crt")).unwrap();
        let pem = fixture("kubeadm/ecdsa-p256/apiserver.crt");
        let changed = reframe(&pem, |content| {
            let at = at.index(content.len());
            content[at] ^= 1 << bit;
        });
        if let Ok(changed) = Certificate::from_pem(&changed) {
            prop_assert!(!changed.is_signed_by(&authority));
        }
    }

    #[test]
    fn any_identity_is_read_back(
        cluster_name in any::<String>(), user_name in any::<String>(), server in ".+",
        authority_pem in any::<Vec<u8>>(), certificate in any::<Vec<u8>>(), key in any::<Vec<u8>>(),
    ) {
        let written = kubeconfig::Identity {
            cluster_name, user_name, server, authority_pem, client: KeyPairPem { certificate, key },
        };
        let read = kubeconfig::parse(&kubeconfig::render(&written)).unwrap();
        prop_assert_eq!(read.cluster_name, written.cluster_name);
        prop_assert_eq!(read.user_name, written.user_name);
        prop_assert_eq!(read.server, written.server);
        prop_assert_eq!(read.authority_pem, written.authority_pem);
        prop_assert_eq!(read.client_certificate, written.client.certificate);
        prop_assert_eq!(read.client_key, written.client.key);
    }
}
