//! Private keys in every form that Kubernetes accepts, and the ones that are refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test panics")]

use std::path::Path;

use kamaji_pki::{KeyAlgorithm, PrivateKey};

fn key(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(name).with_extension("pem");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_form_is_read_and_comes_back_with_the_same_bytes() {
    let cases = [
        ("rsa-2048-pkcs1", KeyAlgorithm::Rsa2048),
        ("rsa-2048-pkcs8", KeyAlgorithm::Rsa2048),
        ("ec-p256-sec1-with-parameters", KeyAlgorithm::EcdsaP256),
        ("ec-p256-pkcs8", KeyAlgorithm::EcdsaP256),
        ("ec-p384-sec1", KeyAlgorithm::EcdsaP384),
    ];
    for (name, algorithm) in cases {
        let pem = key(name);
        let read = PrivateKey::from_pem(&pem).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.algorithm(), algorithm);
        assert_eq!(read.to_pem(), pem, "{name}");
        let crlf = String::from_utf8(pem).unwrap().replace('\n', "\r\n");
        let read = PrivateKey::from_pem(crlf.as_bytes()).unwrap_or_else(|error| panic!("{name} with CRLF: {error}"));
        assert_eq!(read.to_pem(), crlf.as_bytes());
    }
}

#[test]
fn the_public_half_is_what_openssl_derives() {
    let read = PrivateKey::from_pem(&key("rsa-2048-pkcs1")).unwrap();
    assert_eq!(String::from_utf8(read.public_key_pem()), String::from_utf8(key("rsa-2048-public")));
}

#[test]
fn the_first_of_several_keys_counts() {
    let both = [key("ec-p384-sec1"), key("rsa-2048-pkcs1")].concat();
    assert_eq!(PrivateKey::from_pem(&both).unwrap().algorithm(), KeyAlgorithm::EcdsaP384);
}

#[test]
fn generated_keys_have_the_form_that_kubeadm_writes() {
    for algorithm in KeyAlgorithm::ALL {
        let made = PrivateKey::generate(algorithm).unwrap();
        let label = if algorithm.name().starts_with("RSA") { "RSA" } else { "EC" };
        let pem = String::from_utf8(made.to_pem()).unwrap();
        assert!(pem.starts_with(&format!("-----BEGIN {label} PRIVATE KEY-----\n")), "{algorithm}");
        assert!(pem.ends_with(&format!("-----END {label} PRIVATE KEY-----\n")), "{algorithm}");
        let read = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(read.algorithm(), algorithm);
        assert_eq!(read.public_key_pem(), made.public_key_pem());
    }
}

#[test]
fn refusals_say_what_was_found_and_what_to_store() {
    let cases = [
        ("ec-p521-sec1", "of the kind ECDSA-P521 are not supported; use one of RSA-2048"),
        ("ec-p521-pkcs8", "of the kind ECDSA-P521 are not supported"),
        ("ec-k256-sec1", "of the kind ECDSA on the curve 1.3.132.0.10 are not supported"),
        ("ed25519-pkcs8", "of the kind Ed25519 are not supported"),
        ("rsa-1024-pkcs1", "store an RSA key of at least 2048 bits"),
        ("rsa-2048-encrypted-pkcs1", "is encrypted; store it without a passphrase"),
        ("rsa-2048-encrypted-pkcs8", "is encrypted; store it without a passphrase"),
        ("rsa-2048-public", "there is no private key"),
    ];
    for (name, expected) in cases {
        let error = PrivateKey::from_pem(&key(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn damage_is_an_error_without_key_material() {
    let pem = String::from_utf8(key("rsa-2048-pkcs1")).unwrap();
    let middle = pem.lines().nth(5).unwrap();
    let cases = [
        pem.replace(middle, ""),
        pem.replace(middle, &"A".repeat(64)),
        pem.replace("RSA PRIVATE KEY", "EC PRIVATE KEY"),
        pem.replace("RSA PRIVATE KEY", "PRIVATE KEY"),
        pem.replace("END RSA", "END EC"),
        pem.replace('M', "!"),
        String::new(),
    ];
    for damaged in cases {
        let error = PrivateKey::from_pem(damaged.as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(pem.lines().filter(|line| line.len() == 64).all(|line| !shown.contains(line)), "{shown}");
    }
}

#[test]
fn debug_output_shows_the_algorithm_only() {
    let read = PrivateKey::from_pem(&key("rsa-2048-pkcs1")).unwrap();
    assert_eq!(format!("{read:?}"), "PrivateKey { algorithm: Rsa2048, .. }");
}
