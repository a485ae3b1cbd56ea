use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_pki::Certificate;
use serde_json::json;

use super::super::{
    issuance::{Authorities, authority, reasons, secret, sign},
    names::EtcdSecret,
    resolve::Resolved,
    stateful_set::files,
};
use super::resolved;
use crate::issuance::value;

struct Fixture {
    resolved: Resolved,
    authorities: Authorities,
    now: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        let resolved = resolved(&json!({}));
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let make = |which| secret(&resolved, which, authority(&resolved, which, now).unwrap());
        let authorities = Authorities::read(&make(EtcdSecret::Ca), &make(EtcdSecret::PeerCa)).unwrap();
        Self { resolved, authorities, now }
    }

    fn sign(&self, which: EtcdSecret) -> Secret {
        secret(&self.resolved, which, sign(&self.resolved, which, &self.authorities, self.now).unwrap())
    }

    fn reasons(&self, which: EtcdSecret, live: &Secret, days: i64) -> Vec<String> {
        let now = self.now + SignedDuration::from_hours(24 * days);
        reasons(&self.resolved, which, Some(live), &self.authorities, now)
    }
}

#[test]
fn are_replaced_when_a_third_of_their_life_is_left() {
    let fixture = Fixture::new();
    for which in [EtcdSecret::Member, EtcdSecret::Root] {
        let live = fixture.sign(which);
        assert_eq!(fixture.reasons(which, &live, 243), Vec::<String>::new());
        let due = fixture.reasons(which, &live, 244);
        assert!(due[0].contains("due for renewal"), "{due:?}");
    }
}

#[test]
fn name_every_member_that_there_can_be() {
    let fixture = Fixture::new();
    let member = fixture.sign(EtcdSecret::Member);
    let server = Certificate::from_pem(value(&member, files::SERVER_CERT)).unwrap();
    for name in ["localhost", "etcd-default-2.etcd-default.kamaji-system.svc", "etcd-default.kamaji-system.svc"] {
        assert!(server.dns_names().iter().any(|present| present == name), "{name}");
    }
    assert!(server.has_client_auth() && server.has_server_auth());
}

#[test]
fn of_clients_are_none_of_a_peer() {
    let fixture = Fixture::new();
    let member = fixture.sign(EtcdSecret::Member);
    let peer = Certificate::from_pem(value(&member, files::PEER_CERT)).unwrap();
    assert!(peer.is_signed_by(fixture.authorities.peer_ca.certificate()));
    assert!(!peer.is_signed_by(fixture.authorities.ca.certificate()));
    let root = fixture.sign(EtcdSecret::Root);
    let root = Certificate::from_pem(value(&root, "tls.crt")).unwrap();
    assert!(!root.is_signed_by(fixture.authorities.peer_ca.certificate()));
    assert_eq!((root.common_name(), root.has_server_auth()), ("root", false));
}

#[test]
fn of_another_authority_are_replaced() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let found = fixture.reasons(EtcdSecret::Member, &other.sign(EtcdSecret::Member), 0);
    assert!(found.iter().any(|reason| reason.starts_with("server: the certificate is not signed")), "{found:?}");
    assert!(found.contains(&"peer-ca.crt is not the current authority".to_owned()), "{found:?}");
    assert_eq!(
        reasons(&fixture.resolved, EtcdSecret::Root, None, &fixture.authorities, fixture.now),
        ["the Secret is missing"]
    );
}

#[test]
fn authorities_are_reported_a_year_before_their_end() {
    let fixture = Fixture::new();
    let in_days = |days: i64| fixture.now + SignedDuration::from_hours(24 * days);
    assert_eq!(fixture.authorities.ends_soon(in_days(3284)), None);
    assert!(fixture.authorities.ends_soon(in_days(3286)).is_some());
}
