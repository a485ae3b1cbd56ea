//! A TLS stack that is not ours accepts what we issue: rustls, mutual TLS, both directions in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test panics")]

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use kamaji_pki::{Authority, KeyAlgorithm, PrivateKey, Profile, Usage, chain, self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};

const ADDRESS: &str = "10.0.0.7";

fn profile(common_name: &str, usage: Usage) -> Profile {
    let now = Timestamp::now();
    Profile {
        common_name: common_name.to_owned(),
        organizations: vec!["kubeadm:cluster-admins".to_owned()],
        dns_names: vec![],
        ip_addresses: if usage.is_server() { vec![ADDRESS.parse().unwrap()] } else { vec![] },
        usage,
        not_before: now.checked_sub(5.minutes()).unwrap(),
        not_after: now.checked_add(1.hour()).unwrap(),
    }
}

fn authority(algorithm: KeyAlgorithm) -> Authority {
    let key = PrivateKey::generate(algorithm).unwrap();
    let pem = self_signed(&profile("kubernetes", Usage::Authority), &key).unwrap();
    Authority::from_pem(&pem, &key.to_pem()).unwrap()
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem()).unwrap()).unwrap();
    Arc::new(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn issue(authority: &Authority, usage: Usage, algorithm: KeyAlgorithm) -> Identity {
    let key = PrivateKey::generate(algorithm).unwrap();
    let pem = authority.issue(&profile("kubernetes-admin", usage), &key).unwrap();
    (vec![CertificateDer::from_pem_slice(&pem).unwrap()], PrivateKeyDer::from_pem_slice(&key.to_pem()).unwrap())
}

/// Runs a mutual TLS handshake; the authority is trusted by both sides.
fn handshake(authority: &Authority, server: Identity, client: Identity) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = roots(authority);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.0, server.1)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(client.0, client.1)?;
    let name = ServerName::from(ADDRESS.parse::<IpAddr>().unwrap());
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn rustls_accepts_both_sides_for_every_pairing_of_algorithms() {
    let algorithms = [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384];
    for signer in algorithms {
        let authority = authority(signer);
        for leaf in algorithms {
            let server = issue(&authority, Usage::Server, leaf);
            let client = issue(&authority, Usage::Client, leaf);
            handshake(&authority, server, client).unwrap_or_else(|error| panic!("{leaf} under {signer}: {error}"));
        }
    }
}

#[test]
fn rustls_accepts_one_certificate_for_both_sides_of_an_etcd_peer() {
    let authority = authority(KeyAlgorithm::EcdsaP256);
    let peer = || issue(&authority, Usage::ServerAndClient, KeyAlgorithm::EcdsaP256);
    handshake(&authority, peer(), peer()).unwrap();
}

#[test]
fn rustls_refuses_a_client_certificate_on_a_server() {
    let authority = authority(KeyAlgorithm::EcdsaP256);
    let client = || issue(&authority, Usage::Client, KeyAlgorithm::EcdsaP256);
    assert!(matches!(handshake(&authority, client(), client()), Err(Error::InvalidCertificate(_))));
}

#[test]
fn rustls_refuses_the_certificate_of_another_authority() {
    let (ours, theirs) = (authority(KeyAlgorithm::EcdsaP256), authority(KeyAlgorithm::EcdsaP256));
    let server = issue(&theirs, Usage::Server, KeyAlgorithm::EcdsaP256);
    let client = issue(&ours, Usage::Client, KeyAlgorithm::EcdsaP256);
    assert!(matches!(handshake(&ours, server, client), Err(Error::InvalidCertificate(_))));
}

#[test]
fn rustls_accepts_one_chain_on_servers_of_every_authority_and_on_no_other() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let authorities = [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384].map(authority);
        let [a, b, c] = &authorities;
        let pair = chain::issue(&profile("tenant", Usage::Client), algorithm, a, &[b, c]).unwrap();
        let client = || {
            let chain = CertificateDer::pem_slice_iter(&pair.certificate).collect::<Result<Vec<_>, _>>().unwrap();
            assert_eq!(chain.len(), 4);
            (chain, PrivateKeyDer::from_pem_slice(&pair.key).unwrap())
        };
        for trusted in &authorities {
            let server = issue(trusted, Usage::Server, KeyAlgorithm::EcdsaP256);
            handshake(trusted, server, client()).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        }
        let other = authority(KeyAlgorithm::EcdsaP256);
        let server = issue(&other, Usage::Server, KeyAlgorithm::EcdsaP256);
        assert!(matches!(handshake(&other, server, client()), Err(Error::InvalidCertificate(_))));
    }
}
