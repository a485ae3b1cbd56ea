//! Checksums that are part of the contract: annotations, labels and status fields hold them.
//!
//! MD5 detects changes here and protects nothing (`docs/reference/compatibility.md`, "Checksum algorithms").

use std::collections::BTreeMap;
use std::fmt::Write;

use md5::{Digest, Md5};

/// MD5 over the values in the order of their keys, as lowercase hex. Keys are not part of it, and nothing separates the
/// values. An empty map gives `d41d8cd98f00b204e9800998ecf8427e`.
///
/// Takes the `data` of a Secret or of a ConfigMap.
pub fn map<K: Ord, V: AsRef<[u8]>>(data: &BTreeMap<K, V>) -> String {
    values(data.values())
}

/// As [`map`], for values that the caller gives in the order of their keys.
pub fn values<V: AsRef<[u8]>>(values_by_key: impl IntoIterator<Item = V>) -> String {
    let mut digest = Md5::new();
    for value in values_by_key {
        digest.update(value);
    }
    hex(digest)
}

/// MD5 over the elements in the given order, each followed by one NUL byte, as lowercase hex.
pub fn slice<T: AsRef<str>>(elements: &[T]) -> String {
    let mut digest = Md5::new();
    for element in elements {
        digest.update(element.as_ref());
        digest.update([0]);
    }
    hex(digest)
}

fn hex(digest: Md5) -> String {
    digest.finalize().iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_map_gives_the_md5_of_nothing() {
        assert_eq!(map(&BTreeMap::<String, Vec<u8>>::new()), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn a_map_counts_values_in_the_order_of_keys_and_no_keys() {
        let one = BTreeMap::from([("a", "hello "), ("b", "world")]);
        let other = BTreeMap::from([("x", "hello"), ("y", " world")]);
        assert_eq!(map(&one), "5eb63bbbe01eeed093cb22bb8f5acdc3");
        assert_eq!(map(&one), map(&other));
        assert_ne!(map(&one), map(&BTreeMap::from([("a", "world"), ("b", "hello ")])));
    }

    #[test]
    fn a_slice_separates_its_elements() {
        assert_ne!(slice(&["ab", "c"]), slice(&["a", "bc"]));
        // printf 'a\0b\0' | md5sum
        assert_eq!(slice(&["a", "b"]), "aa3a791e273bce9cf4a2a7caa9028b36");
    }

    #[test]
    fn gives_the_captured_annotations_when_they_are_at_hand() {
        for file in crate::captured::files() {
            let secrets = crate::captured::secrets(&file);
            // The annotation of a kubeconfig Secret is made of its inputs, not of its data.
            for secret in secrets.iter().filter(|secret| !secret.name.ends_with("-kubeconfig")) {
                // The CA's tls.crt and tls.key were filled in before or after its checksum was taken.
                let mut data = secret.data.clone();
                let all = map(&data);
                data.retain(|key, _| !key.starts_with("tls.") || secret.name.ends_with("-konnectivity-certificate"));
                assert!([all, map(&data)].contains(&secret.checksum), "{}", secret.name);
            }
        }
    }
}
