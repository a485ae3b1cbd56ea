//! From the owner's ConfigMap to the files that pods mount.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_pki::trust_anchor::{self, Unfit};

use super::{copy, fault::Fault};

/// Names of files that stand beside the owner's in the three directories. Only `ca.crt` does today; the others are what
/// a reader would take for the tenant's own.
const RESERVED: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

/// What a ConfigMap may hold, in bytes (Kubernetes, `MaxSecretSize`).
const LARGEST: usize = 1 << 20;

/// Certificate authorities that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// One file per key of the owner's ConfigMap, with nothing but certificates: comments and line lengths are gone, so
    /// what means the same is the same.
    files: BTreeMap<String, String>,
}

impl Authorities {
    /// Files by name.
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// Name of the copy. The same files give the same name, whatever the order of keys, comments and line breaks.
    pub fn copy(&self, tenant: &str) -> String {
        copy::name(tenant, &self.files)
    }
}

/// Checks the owner's ConfigMap.
///
/// # Errors
/// The first fault, in the order of keys; a private key before all else.
pub fn read(config_map: &ConfigMap, now: Timestamp) -> Result<Authorities, Fault> {
    let nothing = BTreeMap::new();
    let data = config_map.data.as_ref().unwrap_or(&nothing);
    let binary = config_map.binary_data.iter().flatten();
    for (key, bytes) in binary.clone() {
        if trust_anchor::has_private_key(&String::from_utf8_lossy(&bytes.0)) {
            return Err(Fault::PrivateKey { key: key.clone() });
        }
    }
    if let Some((key, _)) = data.iter().find(|(_, text)| trust_anchor::has_private_key(text)) {
        return Err(Fault::PrivateKey { key: key.clone() });
    }
    if let Some((key, _)) = binary.min_by_key(|(key, _)| *key) {
        return Err(Fault::Binary { key: key.clone() });
    }
    if data.is_empty() {
        return Err(Fault::Empty);
    }
    let mut files = BTreeMap::new();
    for (key, text) in data {
        files.insert(file_name(key, data), certificates(key, text, now)?);
    }
    let size = files.values().map(String::len).sum();
    if size > LARGEST {
        return Err(Fault::TooLarge { size });
    }
    Ok(Authorities { files })
}

fn certificates(key: &str, text: &str, now: Timestamp) -> Result<String, Fault> {
    let key = || key.to_owned();
    let anchors = trust_anchor::read(text).map_err(|unfit| match unfit {
        Unfit::PrivateKey => Fault::PrivateKey { key: key() },
        other @ (Unfit::Foreign { .. } | Unfit::Nothing | Unfit::Broken { .. } | Unfit::Unreadable { .. }) => {
            Fault::Unfit { key: key(), what: other.to_string() }
        }
    })?;
    for anchor in &anchors {
        let (certificate, common_name) = (&anchor.certificate, anchor.certificate.common_name().to_owned());
        if !certificate.is_authority() {
            return Err(Fault::NotAnAuthority { key: key(), common_name });
        }
        if certificate.not_after() < now {
            return Err(Fault::Expired { key: key(), common_name, ended: certificate.not_after() });
        }
    }
    Ok(anchors.into_iter().map(|anchor| anchor.pem).collect())
}

/// A key that is called like a file of ours gets another name, one that no other key has.
fn file_name(key: &str, data: &BTreeMap<String, String>) -> String {
    if !RESERVED.contains(&key) {
        return key.to_owned();
    }
    let mut name = format!("internal-{key}");
    while data.contains_key(&name) {
        name.insert_str(0, "internal-");
    }
    name
}

#[cfg(test)]
mod tests {
    use kamaji_pki::{Authority, KeyAlgorithm, PrivateKey, Profile, Usage, self_signed};
    use serde_json::json;

    use super::*;

    fn certificate(name: &str, usage: Usage, ends: &str) -> String {
        let profile = Profile {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usage,
            not_before: Timestamp::UNIX_EPOCH,
            not_after: ends.parse().unwrap(),
        };
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let pem = if usage == Usage::Authority {
            self_signed(&profile, &key).unwrap()
        } else {
            let root = self_signed(&Profile { usage: Usage::Authority, ..profile.clone() }, &key).unwrap();
            Authority::from_pem(&root, key.to_pem().as_ref()).unwrap().issue(&profile, &key).unwrap()
        };
        String::from_utf8(pem).unwrap()
    }

    fn authority(name: &str) -> String {
        certificate(name, Usage::Authority, "2040-01-01T00:00:00Z")
    }

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn of(data: &serde_json::Value) -> Result<Authorities, Fault> {
        let config_map = serde_json::from_value(json!({"metadata": {"name": "c"}, "data": data})).unwrap();
        read(&config_map, now())
    }

    #[test]
    fn files_hold_the_certificates_of_their_key_and_nothing_else() {
        let (a, b) = (authority("a"), authority("b"));
        let read = of(&json!({"one.pem": format!("# a\n{a}# b\n{b}"), "two": b})).unwrap();
        assert_eq!(read.files(), &[("one.pem".to_owned(), format!("{a}{b}")), ("two".to_owned(), b)].into());
    }

    #[test]
    fn what_means_the_same_has_the_same_name_and_a_change_has_another() {
        let (a, b) = (authority("a"), authority("b"));
        let name = |data: serde_json::Value| of(&data).unwrap().copy("t");
        let before = name(json!({"x": a, "y": b}));
        assert!(before.starts_with("t-internal-ca-"), "{before}");
        assert_eq!(name(json!({"y": format!("\n{b}\n\n"), "x": a.replace('\n', "\r\n")})), before);
        for other in
            [json!({"x": a}), json!({"x": b, "y": a}), json!({"x": a, "z": b}), json!({"x": a, "y": format!("{a}{b}")})]
        {
            assert_ne!(name(other), before);
        }
    }

    #[test]
    fn a_key_called_like_one_of_ours_is_renamed_and_shadows_nothing() {
        let (a, b, c) = (authority("a"), authority("b"), authority("c"));
        let read = of(&json!({"ca.crt": a, "internal-ca.crt": b, "tls.crt": c})).unwrap();
        let names: Vec<&str> = read.files().keys().map(String::as_str).collect();
        assert_eq!(names, ["internal-ca.crt", "internal-internal-ca.crt", "internal-tls.crt"]);
        assert_eq!(read.files()["internal-ca.crt"], b);
        assert_eq!(read.files()["internal-internal-ca.crt"], a);
    }

    #[test]
    fn every_fault_names_its_key() {
        let good = authority("good");
        let leaf = certificate("leaf", Usage::Server, "2040-01-01T00:00:00Z");
        let expired = certificate("old", Usage::Authority, "2029-12-31T23:59:59Z");
        let key = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
        for (bad, says) in [
            (key.to_owned(), "private key"),
            (format!("{good}{key}"), "private key"),
            ("hello".to_owned(), "no PEM block"),
            (String::new(), "no PEM block"),
            (good.replacen("\nM", "\n!", 1), "number 1 is broken PEM"),
            (format!("{good}{leaf}"), "\"leaf\", that is not a certificate authority"),
            (format!("{good}{expired}"), "\"old\", that expired at 2029-12-31T23:59:59Z"),
        ] {
            let fault = of(&json!({"a-good": good, "the-bad": bad, "z-good": good})).unwrap_err();
            let sentence = fault.of("c");
            assert!(sentence.contains(says) && sentence.contains("\"the-bad\""), "{sentence}");
            assert!(!sentence.contains("AA=="), "{sentence}");
            assert_eq!(fault.reason(), "InternalCAInvalid");
        }
    }

    #[test]
    fn a_private_key_is_told_before_any_other_fault() {
        let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        assert_eq!(of(&json!({"a": "hello", "z": key})), Err(Fault::PrivateKey { key: "z".to_owned() }));
    }

    #[test]
    fn a_map_without_text_is_refused() {
        assert_eq!(of(&json!({})), Err(Fault::Empty));
        assert_eq!(read(&ConfigMap::default(), now()), Err(Fault::Empty));
        let binary = json!({"metadata": {}, "data": {"a": authority("a")}, "binaryData": {"b": "AAEC"}});
        assert_eq!(read(&serde_json::from_value(binary).unwrap(), now()), Err(Fault::Binary { key: "b".to_owned() }));
    }

    #[test]
    fn an_authority_that_is_valid_in_the_future_only_is_accepted() {
        let later = certificate("later", Usage::Authority, "2050-01-01T00:00:00Z");
        let config_map = serde_json::from_value(json!({"metadata": {}, "data": {"a": later}})).unwrap();
        read(&config_map, "1960-01-01T00:00:00Z".parse().unwrap()).unwrap();
    }
}
