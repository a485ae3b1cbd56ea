use std::process::Command;

use jiff::{SignedDuration, Timestamp, ToSpan};

use super::*;
use crate::{
    Certificate,
    check::{self, Expected},
};

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn profile(common_name: &str, usage: Usage) -> Profile {
    Profile {
        common_name: common_name.to_owned(),
        organizations: vec![],
        dns_names: vec![],
        ip_addresses: vec![],
        usage,
        not_before: now().checked_sub(1.hour()).unwrap(),
        not_after: now().checked_add(48.hours()).unwrap(),
    }
}

fn authority_with(key: PrivateKey, usage: Usage, common_name: &str) -> Authority {
    let pem = crate::self_signed(&profile(common_name, usage), &key).unwrap();
    Authority::with_key(pem, key).unwrap()
}

fn authority(common_name: &str) -> Authority {
    authority_with(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap(), Usage::Authority, common_name)
}

fn chain(primary: &Authority, others: &[&Authority]) -> KeyPairPem {
    issue(&profile("tenant", Usage::Client), KeyAlgorithm::EcdsaP256, primary, others).unwrap()
}

fn violations_at(pair: &KeyPairPem, authorities: &[&Authority], now: Timestamp) -> Vec<String> {
    let authorities: Vec<&Certificate> = authorities.iter().map(|authority| authority.certificate()).collect();
    let expected = Expected { common_name: Some("tenant"), ..Expected::new(Usage::Client) };
    let day = SignedDuration::from_hours(24);
    let violations = check::chain(&pair.certificate, &pair.key, &expected, &authorities, now, day);
    violations.iter().map(ToString::to_string).collect()
}

fn violations(pair: &KeyPairPem, authorities: &[&Authority]) -> Vec<String> {
    violations_at(pair, authorities, now())
}

#[test]
fn one_signer_under_several_certificates_signs_the_certificate_itself() {
    let (a, key) = (authority("a"), PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let (one, renewed) =
        (authority_with(clone(&key), Usage::Authority, "b"), authority_with(key, Usage::Authority, "b"));
    assert_ne!(one.certificate(), renewed.certificate());
    for pair in [chain(&a, &[]), chain(&a, &[&a, &a])] {
        let certificates = Certificate::bundle_from_pem(&pair.certificate).unwrap();
        assert_eq!(certificates.len(), 1);
        assert!(certificates[0].is_signed_by(a.certificate()));
    }
    let pair = chain(&one, &[&renewed]);
    assert_eq!(Certificate::bundle_from_pem(&pair.certificate).unwrap().len(), 1);
    assert_eq!(violations(&pair, &[&one, &renewed]), Vec::<String>::new());
}

fn clone(key: &PrivateKey) -> PrivateKey {
    PrivateKey::from_pem(&key.to_pem()).unwrap()
}

#[test]
fn every_authority_accepts_the_certificate_through_one_of_its_own() {
    let (a, b, c) = (authority("a"), authority("b"), authority("c"));
    let pair = chain(&a, &[&b, &a, &c]);
    assert_eq!(violations(&pair, &[&a, &b, &c]), Vec::<String>::new());
    assert_eq!(
        violations(&pair, &[&a, &authority("b")]),
        ["the certificate is not signed by the current authority \"b\""]
    );

    let certificates = Certificate::bundle_from_pem(&pair.certificate).unwrap();
    let (leaf, between) = certificates.split_first().unwrap();
    assert!(leaf.common_name() == "tenant" && leaf.has_client_auth() && !leaf.is_authority());
    assert!(PrivateKey::from_pem(&pair.key).is_ok_and(|key| leaf.matches_key(&key)));
    assert_eq!(between.len(), 3);
    for (between, authority) in between.iter().zip([&a, &b, &c]) {
        assert!(between.is_signed_by(authority.certificate()) && leaf.is_signed_by(between));
        assert!(between.is_same_signer(&certificates[1]));
        assert_eq!(between.key_id(), certificates[1].key_id());
        assert_eq!(between.common_name(), "tenant client authority");
        assert!(between.has_client_auth() && !between.has_server_auth() && !between.may_sign_authorities());
        assert!(between.dns_names().is_empty());
        assert_eq!(between.not_after(), leaf.not_after());
    }
}

#[test]
fn a_plain_certificate_is_good_for_its_signer_only() {
    let (a, b) = (authority("a"), authority("b"));
    let plain = chain(&a, &[]);
    assert_eq!(violations(&plain, &[&a]), Vec::<String>::new());
    let lacking = ["the certificate is not signed by the current authority \"b\""];
    assert_eq!(violations(&plain, &[&a, &b]), lacking);
    assert_eq!(violations(&plain, &[&b, &a]), lacking);
}

#[test]
fn a_chain_without_the_certificate_of_one_authority_is_not_good_for_it() {
    let (a, b) = (authority("a"), authority("b"));
    let mut pair = chain(&a, &[&b]);
    let text = String::from_utf8(pair.certificate).unwrap();
    let last = text.rfind("-----BEGIN").unwrap();
    pair.certificate = text.as_bytes()[..last].to_vec();
    assert_eq!(violations(&pair, &[&a]), Vec::<String>::new());
    assert_eq!(violations(&pair, &[&a, &b]).len(), 1);
    pair.certificate =
        [&pair.certificate[..], b"-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"].concat();
    assert_eq!(violations(&pair, &[&a]), ["the frame of the certificate cannot be read; replace the certificate"]);
    pair.certificate = vec![];
    assert_eq!(violations(&pair, &[&a]), ["the certificate is missing"]);
}

#[test]
fn a_chain_is_due_once_and_with_its_shortest_certificate() {
    let (a, b) = (authority("a"), authority("b"));
    let later = now().checked_add(30.hours()).unwrap();
    let due = ["the certificate is due for renewal: it ends at 2026-06-03T00:00:00Z"];
    assert_eq!(violations_at(&chain(&a, &[&b]), &[&a, &b], later), due);

    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let middle = Authority::with_key(
        a.issue(&profile("middle", Usage::ClientAuthority), &key).unwrap(),
        PrivateKey::from_pem(&key.to_pem()).unwrap(),
    )
    .unwrap();
    let not_after = now().checked_add((24 * 30).hours()).unwrap();
    let leaf = Profile { not_after, ..profile("tenant", Usage::Client) };
    let certificate = [middle.issue(&leaf, &key).unwrap(), middle.certificate_pem().to_vec()].concat();
    let pair = KeyPairPem { certificate, key: key.to_pem() };
    assert_eq!(violations_at(&pair, &[&a], now()), Vec::<String>::new());
    assert_eq!(violations_at(&pair, &[&a], later), due);
}

#[test]
fn an_authority_that_may_sign_no_other_is_named() {
    let (a, key) = (authority("a"), PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    let narrow = authority_with(clone(&key), Usage::ClientAuthority, "narrow");
    let profile = profile("tenant", Usage::Client);
    for (primary, other) in [(&a, &narrow), (&narrow, &a)] {
        let error = issue(&profile, KeyAlgorithm::EcdsaP256, primary, &[other]).unwrap_err();
        assert!(
            error.to_string().starts_with("the certificate authority \"narrow\" has a path length of 0"),
            "{error}"
        );
        assert_eq!(error.category(), "authority");
    }
    assert!(issue(&profile, KeyAlgorithm::EcdsaP256, &narrow, &[&narrow]).is_ok());

    // The same signer got a certificate with the limit after the chain was made.
    let wide = authority_with(key, Usage::Authority, "narrow");
    let pair = chain(&a, &[&wide]);
    assert_eq!(violations(&pair, &[&a, &wide]), Vec::<String>::new());
    assert_eq!(violations(&pair, &[&a, &narrow]).len(), 1);
}

#[test]
fn a_trust_bundle_holds_every_certificate_once_and_the_first_text_as_it_is() {
    let (a, b) = (authority("a"), authority("b"));
    let (a, b) = (a.certificate_pem(), b.certificate_pem());
    let commented = [b"# ours\n", a.trim_ascii_end()].concat();
    assert_eq!(trust_bundle(&commented, &[]).unwrap(), commented);
    assert_eq!(trust_bundle(&commented, &[&commented, a]).unwrap(), commented);
    assert_eq!(trust_bundle(&commented, &[b, a, b]).unwrap(), [&commented, &b"\n"[..], b].concat());
    assert_eq!(trust_bundle(a, &[&[b, a].concat()]).unwrap(), [a, b].concat());
    assert_eq!(trust_bundle(b"no PEM", &[b"no PEM"]).unwrap(), b"no PEM");
    let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert!(matches!(trust_bundle(a, &[broken]), Err(Error::Pem { .. })));
}

/// A second opinion, where the command is there. It tries one of several certificates of the same name only, so each
/// authority's own is shown to it.
#[test]
fn openssl_accepts_the_chain_where_it_is_at_hand() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("chain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, pem: &[u8]| {
        std::fs::write(folder.join(name), pem).unwrap();
        folder.join(name)
    };
    let (a, b) = (authority("a"), authority("b"));
    let pair = chain(&a, &[&b]);
    let text = String::from_utf8(pair.certificate).unwrap();
    let certificates: Vec<&str> = text.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let leaf = write("leaf", certificates[0].as_bytes());
    for (index, authority, good) in [(1, &a, true), (2, &b, true), (1, &b, false)] {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslclient", "-attime"])
            .arg(now().as_second().to_string())
            .arg("-CAfile")
            .arg(write("ca", authority.certificate_pem()))
            .arg("-untrusted")
            .arg(write("between", certificates[index].as_bytes()))
            .arg(&leaf)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), good, "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::remove_dir_all(folder).unwrap();
}
