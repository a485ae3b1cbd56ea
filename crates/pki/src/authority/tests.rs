use std::net::IpAddr;
use std::path::Path;

use der::Decode;
use jiff::{Timestamp, ToSpan};

use super::*;
use crate::{KeyAlgorithm, Usage};

fn fixture(path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn profile(usage: Usage) -> Profile {
    let not_before: Timestamp = "2026-01-01T00:00:00.75Z".parse().unwrap();
    Profile {
        common_name: "kube-apiserver".to_owned(),
        organizations: vec![],
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: vec!["::ffff:10.0.0.1".parse().unwrap()],
        usage,
        not_before,
        not_after: not_before.checked_add((24 * 365).hours()).unwrap(),
    }
}

fn authority(algorithm: KeyAlgorithm) -> Authority {
    let key = PrivateKey::generate(algorithm).unwrap();
    let request = Profile {
        common_name: "kubernetes".to_owned(),
        dns_names: vec![],
        ip_addresses: vec![],
        ..profile(Usage::Authority)
    };
    Authority::from_pem(&self_signed(&request, &key).unwrap(), &key.to_pem()).unwrap()
}

/// The request that must have led to this certificate, and its serial number.
fn request_of(certificate: &Certificate, pem: &[u8]) -> (Profile, u64) {
    let usage = match (certificate.is_authority(), certificate.has_server_auth(), certificate.has_client_auth()) {
        (true, ..) => Usage::Authority,
        (_, true, true) => Usage::ServerAndClient,
        (_, true, false) => Usage::Server,
        _ => Usage::Client,
    };
    let block = pem_block::blocks(pem, "certificate").next().unwrap().unwrap();
    let frame = SignedCertificate::from_der(&block.content).unwrap();
    let tbs: TbsCertificate<'_> = frame.tbs_certificate.decode_as().unwrap();
    let profile = Profile {
        common_name: certificate.common_name().to_owned(),
        organizations: certificate.organizations().to_vec(),
        dns_names: certificate.dns_names().to_vec(),
        ip_addresses: certificate.ip_addresses().to_vec(),
        usage,
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    };
    (profile, tbs.serial_number.decode_as().unwrap())
}

/// Signs the same request again and compares: everything for RSA, whose signatures are deterministic, else everything
/// but the signature.
fn assert_reproduced(cert: &[u8], key: &[u8], authority: Option<&Authority>) {
    let certificate = Certificate::from_pem(cert).unwrap();
    let key = PrivateKey::from_pem(key).unwrap();
    let (profile, serial) = request_of(&certificate, cert);
    let made = if let Some(authority) = authority {
        authority.issue_with_serial(&profile, &key, serial).unwrap()
    } else {
        let subject = profile.subject().unwrap();
        sign(&profile, &key, &Signer { name: &subject, key_id: None, key: &key }, serial).unwrap()
    };
    let again = Certificate::from_pem(&made).unwrap();
    assert_eq!(again.signed_part(), certificate.signed_part(), "{}", certificate.common_name());
    let signer = authority.map_or(&key, |authority| &authority.key);
    if matches!(signer.algorithm(), KeyAlgorithm::Rsa2048) {
        assert_eq!(String::from_utf8_lossy(&made), String::from_utf8_lossy(cert));
    }
}

#[test]
fn writes_the_bytes_that_kubeadm_writes_for_the_same_request() {
    for algorithm in ["rsa-2048", "ecdsa-p256", "ecdsa-p384"] {
        let read = |name: &str| fixture(&format!("kubeadm/{algorithm}/{name}"));
        let leaves = [
            ("ca", ["apiserver", "apiserver-kubelet-client"].as_slice()),
            ("front-proxy-ca", &["front-proxy-client"]),
            ("etcd/ca", &["etcd/server"]),
        ];
        for (authority, names) in leaves {
            let (cert, key) = (read(&format!("{authority}.crt")), read(&format!("{authority}.key")));
            assert_reproduced(&cert, &key, None);
            let authority = Authority::from_pem(&cert, &key).unwrap();
            for name in names {
                assert_reproduced(&read(&format!("{name}.crt")), &read(&format!("{name}.key")), Some(&authority));
            }
        }
        let admin = crate::kubeconfig::parse(&read("admin.conf")).unwrap();
        let authority = Authority::from_pem(&read("ca.crt"), &read("ca.key")).unwrap();
        assert_reproduced(&admin.client_certificate, &admin.client_key, Some(&authority));
    }
}

#[test]
fn chains_to_an_authority_whose_name_repeats_its_parts() {
    let authority = Authority::from_pem(&fixture("enterprise/ca.crt"), &fixture("enterprise/ca.key")).unwrap();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let leaf = Certificate::from_pem(&authority.issue(&profile(Usage::Server), &key).unwrap()).unwrap();
    assert!(leaf.is_signed_by(authority.certificate()));
    assert!(authority.certificate().is_signed_by(authority.certificate()));
    assert_eq!(authority.certificate_pem(), fixture("enterprise/ca.crt"));
}

#[test]
fn an_authority_carries_its_common_name_as_dns_name_once() {
    let authority = authority(KeyAlgorithm::EcdsaP256);
    let certificate = authority.certificate();
    assert_eq!(certificate.dns_names(), ["kubernetes"]);
    assert!(certificate.is_authority());
    assert!(certificate.is_signed_by(certificate));
}

#[test]
fn every_pairing_of_key_algorithms_verifies() {
    for signer in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let authority = authority(signer);
        for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let pem = authority.issue(&profile(Usage::ServerAndClient), &key).unwrap();
            let leaf = Certificate::from_pem(&pem).unwrap();
            assert!(leaf.is_signed_by(authority.certificate()), "{algorithm} signed by {signer}");
            assert!(leaf.matches_key(&key));
            assert_eq!(leaf.key_algorithm(), Some(algorithm));
            assert!(leaf.has_client_auth() && leaf.has_server_auth() && !leaf.is_authority());
        }
    }
}

#[test]
fn holds_what_the_profile_asked_for() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let request = Profile {
        organizations: vec!["system:masters".to_owned(), "kubeadm:cluster-admins".to_owned()],
        common_name: "jürgen".to_owned(),
        ..profile(Usage::Client)
    };
    let pem = authority(KeyAlgorithm::EcdsaP256).issue(&request, &key).unwrap();
    let leaf = Certificate::from_pem(&pem).unwrap();
    assert_eq!(leaf.common_name(), "jürgen");
    assert_eq!(leaf.organizations(), ["system:masters", "kubeadm:cluster-admins"]);
    assert_eq!(leaf.dns_names(), ["localhost"]);
    assert_eq!(leaf.ip_addresses(), [IpAddr::from([10, 0, 0, 1])]);
    assert_eq!(leaf.not_before(), "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(leaf.not_after(), "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    assert!(leaf.has_client_auth() && !leaf.has_server_auth());
}

#[test]
fn writes_the_subject_that_go_writes() {
    // asn1.Marshal(pkix.Name{...}.ToRDNSequence()), Go 1.26
    let cases: [(&str, &[&str], &str); 2] = [
        (
            "jane",
            &["zebra", "system:masters", "a@b", "kubeadm:cluster-admins", "zebra"],
            "30613150300a060355040a0c03614062300c060355040a13057a656272613015060355040a130e73797374656d3a6d617374657273\
             301d060355040a13166b75626561646d3a636c75737465722d61646d696e73310d300b060355040313046a616e65",
        ),
        ("jürgen & co*", &["x_y"], "3026310c300a060355040a0c03785f793116301406035504030c0d6ac3bc7267656e202620636f2a"),
    ];
    for (common_name, organizations, expected) in cases {
        let request = Profile {
            common_name: common_name.to_owned(),
            organizations: organizations.iter().map(ToString::to_string).collect(),
            ..profile(Usage::Client)
        };
        let expected: Vec<u8> = expected
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(request.subject().unwrap(), expected);
    }
}

#[test]
fn a_validity_past_2049_is_read_back() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let not_after: Timestamp = "2126-03-01T12:00:00Z".parse().unwrap();
    let request = Profile { not_after, ..profile(Usage::Authority) };
    let certificate = Certificate::from_pem(&self_signed(&request, &key).unwrap()).unwrap();
    assert_eq!(certificate.not_after(), not_after);
}

#[test]
fn serial_numbers_differ() {
    let mut serials: Vec<u64> = (0..64).map(|_| random_serial().unwrap()).collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 64);
    assert!(serials.iter().all(|serial| (1..=(1 << 63) - 2).contains(serial)));
}

#[test]
fn refuses_a_leaf_as_authority() {
    let error =
        Authority::from_pem(&fixture("kubeadm/rsa-2048/apiserver.crt"), &fixture("kubeadm/rsa-2048/apiserver.key"))
            .unwrap_err();
    assert!(error.to_string().contains("\"kube-apiserver\" is not a certificate authority"), "{error}");
}

#[test]
fn refuses_an_authority_with_the_key_of_another() {
    let error =
        Authority::from_pem(&fixture("kubeadm/rsa-2048/ca.crt"), &fixture("kubeadm/ecdsa-p256/ca.key")).unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
}

#[test]
fn of_a_bundle_the_certificate_of_the_key_signs_wherever_it_stands() {
    let (old, new) = (authority(KeyAlgorithm::EcdsaP256), authority(KeyAlgorithm::EcdsaP384));
    let leaf = old.issue(&profile(Usage::Client), &new.key).unwrap();
    for bundle in [[&old.pem[..], &new.pem].concat(), [&new.pem[..], &old.pem].concat()] {
        for authority in [&old, &new] {
            let read = Authority::from_pem(&bundle, &authority.key.to_pem()).unwrap();
            assert_eq!(read.certificate(), authority.certificate());
            assert_eq!(read.certificate_pem(), bundle);
        }
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let error = Authority::from_pem(&bundle, &other.to_pem()).unwrap_err();
        assert!(error.to_string().starts_with("the private key belongs to none of the 2 certificates"), "{error}");
    }
    let error = Authority::from_pem(&[&old.pem[..], &leaf].concat(), &new.key.to_pem()).unwrap_err();
    assert!(matches!(error, Error::NotAnAuthority { .. }), "{error}");
    // What stands behind the one that counts was never read, and a bundle that worked goes on working.
    let rest = b"-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
    let authority = Authority::from_pem(&[&old.pem[..], rest].concat(), &old.key.to_pem()).unwrap();
    assert_eq!(authority.certificate(), old.certificate());
    assert!(Authority::from_pem(&[&old.pem[..], rest].concat(), &new.key.to_pem()).is_err());
}

#[test]
fn refuses_profiles_that_no_certificate_can_hold() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let base = profile(Usage::Server);
    let cases = [
        (Profile { common_name: String::new(), ..base.clone() }, "common name must not be empty"),
        (Profile { not_after: base.not_before, ..base.clone() }, "is not after its start"),
        (Profile { dns_names: vec!["münchen.example".to_owned()], ..base.clone() }, "must be ASCII"),
        (Profile { dns_names: vec![String::new()], ..base.clone() }, "must be ASCII and not empty"),
        (Profile { not_before: "1969-01-01T00:00:00Z".parse().unwrap(), ..base }, "validity of the certificate"),
    ];
    for (request, expected) in cases {
        let error = self_signed(&request, &key).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.category(), "profile");
    }
}

#[test]
fn writes_the_bytes_of_the_captured_certificates_when_they_are_at_hand() {
    for file in crate::captured::files() {
        let secrets = crate::captured::secrets(&file);
        let find = |suffix: &str| {
            let found = secrets.iter().find(|secret| secret.name.ends_with(suffix)).map(|secret| &secret.data);
            found.unwrap_or_else(|| panic!("{suffix} in {}", file.display()))
        };
        let (ca, front) = (find("-ca"), find("-front-proxy-ca-certificate"));
        assert_reproduced(&ca["ca.crt"], &ca["ca.key"], None);
        assert_reproduced(&front["front-proxy-ca.crt"], &front["front-proxy-ca.key"], None);
        let ca = Authority::from_pem(&ca["ca.crt"], &ca["ca.key"]).unwrap();
        let front = Authority::from_pem(&front["front-proxy-ca.crt"], &front["front-proxy-ca.key"]).unwrap();
        for (secret, name, authority) in [
            ("-api-server-certificate", "apiserver", &ca),
            ("-api-server-kubelet-client-certificate", "apiserver-kubelet-client", &ca),
            ("-front-proxy-client-certificate", "front-proxy-client", &front),
        ] {
            let data = find(secret);
            assert_reproduced(&data[&format!("{name}.crt")], &data[&format!("{name}.key")], Some(authority));
        }
        for data in secrets.iter().filter(|secret| secret.name.ends_with("-kubeconfig")).map(|secret| &secret.data) {
            // The konnectivity kubeconfig embeds a certificate of another make.
            for config in data.iter().filter(|(name, _)| !name.starts_with("konnectivity")).map(|(_, config)| config) {
                let config = crate::kubeconfig::parse(config).unwrap();
                assert_reproduced(&config.client_certificate, &config.client_key, Some(&ca));
            }
        }
    }
}
