//! Certificates written by other software, read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test panics")]

use std::path::Path;

use jiff::Timestamp;
use kamaji_pki::{Certificate, KeyAlgorithm, PrivateKey};

fn fixture(path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn reads_the_facts_of_an_api_server_certificate() {
    let certificate = Certificate::from_pem(&fixture("kubeadm/ecdsa-p384/apiserver.crt")).unwrap();
    assert_eq!(certificate.common_name(), "kube-apiserver");
    assert!(certificate.organizations().is_empty());
    assert_eq!(
        certificate.dns_names(),
        [
            "full.example.com",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "node",
            "tenant.example.com",
        ]
    );
    let addresses: Vec<String> = certificate.ip_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.96.0.1", "10.77.0.1", "fd00::10", "10.1.2.3"]);
    assert_eq!(certificate.key_algorithm(), Some(KeyAlgorithm::EcdsaP384));
    assert!(certificate.has_server_auth() && !certificate.has_client_auth() && !certificate.is_authority());
    let key = PrivateKey::from_pem(&fixture("kubeadm/ecdsa-p384/apiserver.key")).unwrap();
    assert!(certificate.matches_key(&key));
    assert!(!certificate.matches_key(&PrivateKey::from_pem(&fixture("kubeadm/ecdsa-p384/ca.key")).unwrap()));
}

#[test]
fn knows_its_signer_among_others() {
    let read = |path| Certificate::from_pem(&fixture(path)).unwrap();
    let leaf = read("kubeadm/rsa-2048/apiserver.crt");
    assert!(leaf.is_signed_by(&read("kubeadm/rsa-2048/ca.crt")));
    // The same name with another key, and another name.
    assert!(!leaf.is_signed_by(&read("kubeadm/ecdsa-p256/ca.crt")));
    assert!(!leaf.is_signed_by(&read("kubeadm/rsa-2048/front-proxy-ca.crt")));
    assert!(!leaf.is_signed_by(&leaf));
}

#[test]
fn a_certificate_without_end_ends_with_time() {
    let certificate = Certificate::from_pem(&fixture("enterprise/never-ends.crt")).unwrap();
    assert_eq!(certificate.not_after(), Timestamp::MAX);
    assert!(certificate.is_signed_by(&certificate));
}

#[test]
fn reads_names_with_repeated_parts_and_umlauts() {
    let certificate = Certificate::from_pem(&fixture("enterprise/ca.crt")).unwrap();
    assert_eq!(certificate.common_name(), "Example Root");
    assert_eq!(certificate.organizations(), ["Müller & Söhne"]);
    assert!(certificate.is_authority());
}

#[test]
fn the_first_certificate_counts_and_a_bundle_has_all() {
    let (ca, leaf) = (fixture("kubeadm/rsa-2048/ca.crt"), fixture("kubeadm/rsa-2048/apiserver.crt"));
    let key = fixture("kubeadm/rsa-2048/apiserver.key");
    let chain = [b"# chain\r\n".to_vec(), key, leaf, ca].concat();
    assert_eq!(Certificate::from_pem(&chain).unwrap().common_name(), "kube-apiserver");
    let bundle = Certificate::bundle_from_pem(&chain).unwrap();
    assert_eq!(bundle.iter().map(Certificate::common_name).collect::<Vec<_>>(), ["kube-apiserver", "kubernetes"]);
}

#[test]
fn what_is_no_certificate_is_refused_with_a_sentence() {
    let key_as_certificate =
        String::from_utf8(fixture("keys/rsa-2048-pkcs1.pem")).unwrap().replace("RSA PRIVATE KEY", "CERTIFICATE");
    let cases: [(&[u8], &str); 4] = [
        (b"", "there is no certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "the certificate is not valid PEM"),
        (key_as_certificate.as_bytes(), "the frame of the certificate cannot be read; replace the certificate"),
        (&fixture("keys/rsa-2048-pkcs1.pem"), "there is no certificate"),
    ];
    for (pem, expected) in cases {
        let error = Certificate::from_pem(pem).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(Certificate::bundle_from_pem(pem).is_err());
    }
}
