use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kamaji_api::contract::annotations;
use kamaji_pki::{PrivateKey, self_signed};

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn moment() -> Moment {
    Moment { now: "2026-06-01T00:00:00Z".parse().unwrap(), renew_before: DAY }
}

fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()
}

/// Certificate of `key`, and both.
fn authority(name: &str, key: &PrivateKey) -> Authority {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let profile = Profile {
        common_name: name.to_owned(),
        organizations: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        usage: Usage::Authority,
        not_before: start,
        not_after: start + SignedDuration::from_hours(87_600),
    };
    Authority::from_pem(&self_signed(&profile, key).unwrap(), &key.to_pem()).unwrap()
}

/// A datastore whose bundle is `certificates` and which signs with `key`.
fn bundle(certificates: &[&Authority], key: &PrivateKey) -> Authority {
    let pems: Vec<u8> = certificates.iter().flat_map(|authority| authority.certificate_pem()).copied().collect();
    Authority::from_pem(&pems, &key.to_pem()).unwrap()
}

fn request(stores: &[&Authority], live: Option<&Secret>, moment: &Moment) -> Option<ClientRequest> {
    let authorities: Vec<StoreAuthority<'_>> = stores.iter().copied().map(StoreAuthority::from).collect();
    let (primary, others) = authorities.split_first().unwrap();
    missing("tenant", primary, others, KeyAlgorithm::EcdsaP256, live, moment).unwrap()
}

fn reasons(stores: &[&Authority], live: &Secret) -> Vec<String> {
    request(stores, Some(live), &moment()).map(|request| request.reasons).unwrap_or_default()
}

fn issued(stores: &[&Authority]) -> Secret {
    let request = request(stores, None, &moment()).unwrap();
    assert_eq!(request.reasons, ["the Secret is missing"]);
    let (primary, others) = stores.split_first().unwrap();
    let pair = chain::issue(&request.profile, request.algorithm, primary, others).unwrap();
    Secret { data: Some(certificate_data(request, pair)), ..Secret::default() }
}

fn certificates(secret: &Secret) -> Vec<Certificate> {
    Certificate::bundle_from_pem(value(secret, keys::DATASTORE_CERT)).unwrap()
}

#[test]
fn on_one_datastore_the_certificate_stays_until_something_is_wrong_with_it() {
    let (key, other) = (key(), key());
    let store = authority("etcd", &key);
    let live = issued(&[&store]);
    assert_eq!(value(&live, keys::CA_CERT), store.certificate_pem());
    assert_eq!(certificates(&live).len(), 1);
    assert_eq!(reasons(&[&store], &live), Vec::<String>::new());

    let late = Moment { now: moment().now + LEAF_LIFETIME - DAY, renew_before: DAY };
    let due = request(&[&store], Some(&live), &late).unwrap().reasons;
    assert_eq!(due, ["the certificate is due for renewal: it ends at 2027-06-01T00:00:00Z"]);

    let replaced = authority("etcd", &other);
    assert_eq!(
        reasons(&[&replaced], &live),
        [
            "the certificate is not signed by the current authority \"etcd\"",
            "the datastore has another certificate authority",
        ]
    );
    let mut asked = live.clone();
    asked.metadata.annotations = Some(BTreeMap::from([(annotations::ROTATE.to_owned(), String::new())]));
    assert_eq!(reasons(&[&store], &asked), ["a rotation was asked for"]);
    let mut bare = live;
    bare.data.as_mut().unwrap().remove(keys::DATASTORE_KEY);
    assert_eq!(reasons(&[&store], &bare), ["the private key is missing"]);
}

#[test]
fn datastores_of_one_authority_need_no_chain_and_no_other_certificate() {
    let key = key();
    let (store, renewed) = (authority("etcd", &key), authority("etcd", &key));
    let live = issued(&[&store]);
    assert_eq!(reasons(&[&store, &store, &store], &live), Vec::<String>::new());
    assert_eq!(issued(&[&store, &store]).data.unwrap()[keys::CA_CERT].0, store.certificate_pem());

    // Another certificate of the same key is one more to trust, and no more to sign.
    assert_eq!(reasons(&[&store, &renewed], &live), ["the datastores have other certificate authorities"]);
    let both = issued(&[&store, &renewed]);
    assert_eq!(certificates(&both).len(), 1);
    assert_eq!(value(&both, keys::CA_CERT), [store.certificate_pem(), renewed.certificate_pem()].concat());
    assert_eq!(reasons(&[&store, &renewed], &both), Vec::<String>::new());
}

#[test]
fn datastores_of_several_authorities_get_one_certificate_that_leads_to_each() {
    let keys_of = [key(), key(), key()];
    let [a, b, c] =
        [("a", &keys_of[0]), ("b", &keys_of[1]), ("c", &keys_of[2])].map(|(name, key)| authority(name, key));
    let live = issued(&[&a, &b, &b]);
    assert_eq!(value(&live, keys::CA_CERT), [a.certificate_pem(), b.certificate_pem()].concat());
    let certificates = certificates(&live);
    assert_eq!(certificates.len(), 3);
    assert_eq!(certificates[0].common_name(), "tenant");
    assert!(certificates[1].is_signed_by(a.certificate()) && certificates[2].is_signed_by(b.certificate()));
    assert_eq!(reasons(&[&a, &b, &b], &live), Vec::<String>::new());

    let others = "the datastores have other certificate authorities";
    let lacking = "the certificate is not signed by the current authority \"c\"";
    assert_eq!(reasons(&[&a, &b, &c], &live), [lacking, others]);
    assert_eq!(reasons(&[&a, &c], &live), [lacking, others]);
    let plain = issued(&[&a]);
    assert_eq!(reasons(&[&a, &c], &plain), [lacking, others]);
    // Without overrides the certificate is what it would have been without them before.
    assert_eq!(
        reasons(&[&a], &live),
        [
            "the certificate is not signed by the current authority \"a\"",
            "the datastore has another certificate authority",
        ]
    );
}

#[test]
fn a_chain_is_replaced_in_time() {
    let (a, b) = (authority("a", &key()), authority("b", &key()));
    let live = issued(&[&a, &b]);
    let late = Moment { now: moment().now + LEAF_LIFETIME - DAY, renew_before: DAY };
    let due = request(&[&a, &b], Some(&live), &late).unwrap().reasons;
    assert_eq!(due, ["the certificate is due for renewal: it ends at 2027-06-01T00:00:00Z"]);
}

#[test]
fn a_rotation_shows_the_servers_the_authority_of_the_key() {
    let (old_key, new_key) = (key(), key());
    let (old, new) = (authority("etcd", &old_key), authority("etcd", &new_key));
    let signed_by =
        |secret: &Secret, authority: &Authority| certificates(secret)[0].is_signed_by(authority.certificate());
    let other_bundle = "the datastore has another certificate authority";
    let other_signer = "the certificate is not signed by the current authority \"etcd\"";

    let before = issued(&[&old]);
    let both = bundle(&[&old, &new], &old_key);
    assert_eq!(reasons(&[&both], &before), [other_bundle]);
    let trusting = issued(&[&both]);
    assert!(signed_by(&trusting, &old));
    assert_eq!(value(&trusting, keys::CA_CERT), both.certificate_pem());

    // The key moves, with or without the order of the bundle.
    let moved = bundle(&[&old, &new], &new_key);
    assert_eq!(reasons(&[&moved], &trusting), [other_signer]);
    assert_eq!(reasons(&[&bundle(&[&new, &old], &new_key)], &trusting), [other_signer, other_bundle]);
    let showing = issued(&[&moved]);
    assert!(signed_by(&showing, &new));

    // The old one leaves, and the servers' certificates are those of the new one by now.
    assert_eq!(reasons(&[&new], &showing), [other_bundle]);
    assert!(signed_by(&issued(&[&new]), &new));
    // Back, before it has left.
    assert_eq!(reasons(&[&both], &showing), [other_signer]);
}

#[test]
fn a_rotation_of_one_of_several_datastores_is_followed_as_well() {
    let (old_key, new_key) = (key(), key());
    let (a, old, new) = (authority("a", &key()), authority("b", &old_key), authority("b", &new_key));
    let live = issued(&[&a, &bundle(&[&old, &new], &old_key)]);
    let moved = bundle(&[&old, &new], &new_key);
    assert_eq!(reasons(&[&a, &moved], &live), ["the certificate is not signed by the current authority \"b\""]);
    let live = issued(&[&a, &moved]);
    assert!(certificates(&live)[2].is_signed_by(new.certificate()));
    assert_eq!(reasons(&[&a, &moved], &live), Vec::<String>::new());
}

#[test]
fn a_bundle_that_is_not_pem_is_told_where_it_is_to_be_joined_with_another() {
    let (a, b) = (authority("a", &key()), authority("b", &key()));
    let broken = [a.certificate_pem(), b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"].concat();
    let primary = StoreAuthority { certificate: a.certificate(), pem: &broken };
    let ask =
        |others: &[StoreAuthority<'_>]| missing("tenant", &primary, others, KeyAlgorithm::EcdsaP256, None, &moment());
    assert_eq!(ask(&[]).unwrap().unwrap().trust_bundle, broken);
    assert!(matches!(ask(&[StoreAuthority::from(&b)]), Err(Error::Pem { .. })));
}
