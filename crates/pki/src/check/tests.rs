use std::path::Path;

use jiff::ToSpan;

use super::*;
use crate::captured::Secret;
use crate::{Authority, KeyAlgorithm, Profile, self_signed};

const DAY: SignedDuration = SignedDuration::from_hours(24);

struct World {
    authority: Authority,
    now: Timestamp,
    key: PrivateKey,
}

impl World {
    fn new() -> Self {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        Self {
            authority: authority("kubernetes", now),
            now,
            key: PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap(),
        }
    }

    fn server(&self) -> Profile {
        Profile {
            common_name: "kube-apiserver".to_owned(),
            organizations: vec!["one".to_owned(), "two".to_owned()],
            dns_names: vec!["localhost".to_owned()],
            ip_addresses: vec!["10.0.0.7".parse().unwrap()],
            usage: Usage::Server,
            not_before: self.now.checked_sub(1.hour()).unwrap(),
            not_after: self.now.checked_add(48.hours()).unwrap(),
        }
    }

    fn issue(&self, profile: &Profile) -> Vec<u8> {
        self.authority.issue(profile, &self.key).unwrap()
    }

    fn violations(&self, profile: &Profile, expected: &Expected<'_>) -> Vec<String> {
        sentences(&pair(&self.issue(profile), &self.key.to_pem(), expected, self.now, DAY))
    }
}

fn authority(common_name: &str, now: Timestamp) -> Authority {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let profile = Profile {
        common_name: common_name.to_owned(),
        organizations: vec![],
        dns_names: vec![],
        ip_addresses: vec![],
        usage: Usage::Authority,
        not_before: now,
        not_after: now.checked_add((24 * 3650).hours()).unwrap(),
    };
    Authority::from_pem(&self_signed(&profile, &key).unwrap(), &key.to_pem()).unwrap()
}

fn sentences(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pair_that_holds_everything_stays() {
    let world = World::new();
    let addresses = ["::ffff:10.0.0.7".parse().unwrap()];
    let (names, organizations) = (strings(&["LOCALHOST"]), strings(&["two", "one"]));
    let expected = Expected {
        dns_names: &names,
        ip_addresses: &addresses,
        common_name: Some("kube-apiserver"),
        organizations: Some(&organizations),
        authority: Some(world.authority.certificate()),
        ..Expected::new(Usage::Server)
    };
    assert_eq!(world.violations(&world.server(), &expected), Vec::<String>::new());
}

#[test]
fn names_every_violation_in_order() {
    let world = World::new();
    let other = authority("other", world.now);
    let addresses = ["10.0.0.7".parse().unwrap(), "fd00::1".parse().unwrap()];
    let (names, organizations) = (strings(&["localhost", "a.example.com"]), strings(&["one"]));
    let expected = Expected {
        dns_names: &names,
        ip_addresses: &addresses,
        common_name: Some("admin"),
        organizations: Some(&organizations),
        authority: Some(other.certificate()),
        ..Expected::new(Usage::Client)
    };
    let profile = Profile {
        not_before: world.now.checked_add(1.hour()).unwrap(),
        not_after: world.now.checked_add(2.hours()).unwrap(),
        ..world.server()
    };
    let other_key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let found = pair(&world.issue(&profile), &other_key.to_pem(), &expected, world.now, DAY);
    assert_eq!(
        sentences(&found),
        [
            "the private key does not belong to the certificate",
            "the certificate is not valid before 2026-06-01T01:00:00Z",
            "the certificate is due for renewal: it ends at 2026-06-01T02:00:00Z",
            "the certificate is not signed by the current authority \"other\"",
            "the certificate may not be used as a client certificate",
            "the common name is \"kube-apiserver\" instead of \"admin\"",
            "the organizations are [\"one\", \"two\"] instead of [\"one\"]",
            "the SAN a.example.com is missing",
            "the SAN fd00::1 is missing",
        ]
    );
}

#[test]
fn is_due_at_the_deadline_and_not_a_second_before() {
    let world = World::new();
    let (pem, key) = (world.issue(&world.server()), world.key.to_pem());
    let expected = Expected::new(Usage::Server);
    let at = |now: Timestamp| pair(&pem, &key, &expected, now, DAY);
    let deadline = world.now.checked_add(24.hours()).unwrap();
    assert_eq!(at(deadline.checked_sub(1.second()).unwrap()), []);
    assert!(matches!(at(deadline).as_slice(), [Violation::Expiring { .. }]));
    assert!(matches!(at(Timestamp::MAX).as_slice(), [Violation::Expiring { .. }]));
    assert!(matches!(at(Timestamp::MIN).as_slice(), [Violation::NotYetValid { .. }]));
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_wrong() {
    let world = World::new();
    let rotated = authority("kubernetes", world.now);
    let expected = Expected { authority: Some(rotated.certificate()), ..Expected::new(Usage::Server) };
    assert_eq!(
        world.violations(&world.server(), &expected),
        ["the certificate is not signed by the current authority \"kubernetes\""]
    );
}

#[test]
fn says_what_a_certificate_may_not_be_used_as() {
    let world = World::new();
    let issue = |usage| Profile { usage, ..world.server() };
    let cases = [
        (Usage::Server, Usage::Client, "a client certificate"),
        (Usage::Client, Usage::Server, "a server certificate"),
        (Usage::Client, Usage::ServerAndClient, "both a server and a client certificate"),
        (Usage::Server, Usage::Authority, "a certificate authority"),
    ];
    for (issued, expected, sentence) in cases {
        let found = world.violations(&issue(issued), &Expected::new(expected));
        assert_eq!(found, [format!("the certificate may not be used as {sentence}")]);
    }
    assert!(world.violations(&issue(Usage::ServerAndClient), &Expected::new(Usage::Client)).is_empty());
}

#[test]
fn absent_and_unreadable_parts_are_told_apart() {
    let world = World::new();
    let expected = Expected::new(Usage::Server);
    let check = |cert: &[u8], key: &[u8]| sentences(&pair(cert, key, &expected, world.now, DAY));
    let (pem, key) = (world.issue(&world.server()), world.key.to_pem());
    assert_eq!(check(b"", b""), ["the certificate is missing", "the private key is missing"]);
    assert_eq!(check(&pem, b""), ["the private key is missing"]);
    assert_eq!(
        check(b"x", &key),
        ["there is no certificate in the given bytes; store it as a PEM block with the label CERTIFICATE"]
    );
    assert_eq!(check(&key, &pem).len(), 2);
}

#[test]
fn a_service_account_pair_stays_while_its_private_key_is_among_the_public_ones() {
    let new = |algorithm| PrivateKey::generate(algorithm).unwrap();
    let (one, two) = (new(KeyAlgorithm::Rsa2048), new(KeyAlgorithm::EcdsaP256));
    let both = [one.public_key_pem(), two.public_key_pem()].concat();
    assert_eq!(service_account_pair(&one.public_key_pem(), &one.to_pem()), []);
    assert_eq!(service_account_pair(&both, &two.to_pem()), []);
    assert_eq!(service_account_pair(&two.public_key_pem(), &one.to_pem()), [Violation::PublicKeyMismatch]);
    assert_eq!(
        sentences(&service_account_pair(b"", b"")),
        ["the service-account public key is missing", "the service-account private key is missing"]
    );
    assert!(matches!(service_account_pair(&one.to_pem(), &one.to_pem()).as_slice(), [Violation::Unreadable { .. }]));
}

#[test]
fn a_kubeconfig_is_checked_with_its_client_certificate() {
    let world = World::new();
    let identity = kubeconfig::Identity {
        cluster_name: "tenant".to_owned(),
        user_name: "kubernetes-admin".to_owned(),
        server: "https://10.0.0.1:6443".to_owned(),
        authority_pem: world.authority.certificate_pem().to_vec(),
        client: crate::KeyPairPem {
            certificate: world.issue(&Profile { usage: Usage::Client, ..world.server() }),
            key: world.key.to_pem(),
        },
    };
    let file = kubeconfig::render(&identity);
    let good = ExpectedKubeconfig {
        server: "https://10.0.0.1:6443",
        authority_pem: world.authority.certificate_pem(),
        client: Expected { authority: Some(world.authority.certificate()), ..Expected::new(Usage::Client) },
    };
    assert_eq!(kubeconfig(&file, &good, world.now, DAY), []);

    let rotated = authority("kubernetes", world.now);
    let moved = ExpectedKubeconfig {
        server: "https://10.0.0.2:6443",
        authority_pem: rotated.certificate_pem(),
        client: Expected { authority: Some(rotated.certificate()), ..good.client },
    };
    assert_eq!(
        sentences(&kubeconfig(&file, &moved, world.now, DAY)),
        [
            "the kubeconfig's server is \"https://10.0.0.1:6443\" instead of \"https://10.0.0.2:6443\"",
            "the kubeconfig does not embed the current certificate authority",
            "the certificate is not signed by the current authority \"kubernetes\"",
        ]
    );
    assert_eq!(sentences(&kubeconfig(b"", &good, world.now, DAY)), ["the kubeconfig is missing"]);
}

#[test]
fn what_kubeadm_wrote_stays() {
    let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    for algorithm in ["rsa-2048", "ecdsa-p256", "ecdsa-p384"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeadm").join(algorithm);
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let ca = read("ca.crt");
        assert_eq!(pair(&ca, &read("ca.key"), &Expected::new(Usage::Authority), now, DAY), []);
        let authority = Certificate::from_pem(&ca).unwrap();
        let names = strings(&["kubernetes.default.svc.cluster.local", "full.example.com", "tenant.example.com"]);
        let addresses = ["10.96.0.1".parse().unwrap(), "fd00::10".parse().unwrap(), "10.1.2.3".parse().unwrap()];
        let expected = Expected {
            dns_names: &names,
            ip_addresses: &addresses,
            common_name: Some("kube-apiserver"),
            organizations: Some(&[]),
            authority: Some(&authority),
            ..Expected::new(Usage::Server)
        };
        assert_eq!(pair(&read("apiserver.crt"), &read("apiserver.key"), &expected, now, DAY), []);
        assert_eq!(service_account_pair(&read("sa.pub"), &read("sa.key")), []);
        let groups = strings(&["kubeadm:cluster-admins"]);
        let expected = ExpectedKubeconfig {
            server: "https://tenant.example.com:6443",
            authority_pem: &ca,
            client: Expected {
                common_name: Some("kubernetes-admin"),
                organizations: Some(&groups),
                authority: Some(&authority),
                ..Expected::new(Usage::Client)
            },
        };
        assert_eq!(kubeconfig(&read("admin.conf"), &expected, now, DAY), []);
    }
}

/// The checks that one captured Secret must pass.
fn check_captured(secret: &Secret, tenant_ca: &[u8], front_proxy_ca: &[u8], now: Timestamp) -> Vec<Violation> {
    let data = &secret.data;
    let signed_pair = |stem: &str, usage: Usage, signer: &[u8]| {
        let signer = Certificate::from_pem(signer).unwrap();
        let expected = Expected { authority: Some(&signer), ..Expected::new(usage) };
        pair(&data[&format!("{stem}.crt")], &data[&format!("{stem}.key")], &expected, now, DAY)
    };
    let name = |suffix: &str| secret.name.ends_with(suffix);
    if name("-kubeconfig") {
        let signer = Certificate::from_pem(tenant_ca).unwrap();
        let client = Expected { authority: Some(&signer), ..Expected::new(Usage::Client) };
        let check = |file: &Vec<u8>| {
            let server = kubeconfig::parse(file).unwrap().server;
            kubeconfig(file, &ExpectedKubeconfig { server: &server, authority_pem: tenant_ca, client }, now, DAY)
        };
        data.values().flat_map(check).collect()
    } else if name("-sa-certificate") {
        service_account_pair(&data["sa.pub"], &data["sa.key"])
    } else if name("-front-proxy-ca-certificate") {
        signed_pair("front-proxy-ca", Usage::Authority, front_proxy_ca)
    } else if name("-ca") {
        [signed_pair("ca", Usage::Authority, tenant_ca), signed_pair("tls", Usage::Authority, tenant_ca)].concat()
    } else if name("-api-server-certificate") {
        signed_pair("apiserver", Usage::Server, tenant_ca)
    } else if name("-api-server-kubelet-client-certificate") {
        signed_pair("apiserver-kubelet-client", Usage::Client, tenant_ca)
    } else if name("-front-proxy-client-certificate") {
        signed_pair("front-proxy-client", Usage::Client, front_proxy_ca)
    } else if name("-konnectivity-certificate") {
        signed_pair("tls", Usage::ServerAndClient, tenant_ca)
    } else if name("-datastore-certificate") && data.contains_key("server.crt") {
        signed_pair("server", Usage::Client, &data["ca.crt"])
    } else {
        assert!(name("-datastore-config") || name("-datastore-certificate"), "{}", secret.name);
        vec![]
    }
}

#[test]
fn the_captured_secrets_stay_when_they_are_at_hand() {
    let now: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
    for file in crate::captured::files() {
        let secrets = crate::captured::secrets(&file);
        let find = |key| secrets.iter().find_map(|secret: &Secret| secret.data.get(key)).unwrap();
        let tenant_ca = &secrets.iter().find(|secret| secret.name.ends_with("-ca")).unwrap().data["ca.crt"];
        for secret in &secrets {
            let found = check_captured(secret, tenant_ca, find("front-proxy-ca.crt"), now);
            assert_eq!(sentences(&found), Vec::<String>::new(), "{}", secret.name);
        }
    }
}
