//! Which keys belong to a tenant.

use crate::Tenant;

/// Below this key the owners of names are recorded, see `records`. Every tenant's keys begin with a slash, so no
/// permission on a schema reaches it.
const OWNERS: &str = "kamaji.clastix.io/owner";

/// A half-open range of keys, as etcd understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// First key.
    pub start: Vec<u8>,
    /// First key after the range.
    pub end: Vec<u8>,
}

/// What every key of a schema begins with.
pub(crate) fn prefix(schema: &str) -> String {
    format!("/{schema}/")
}

/// All keys of a schema: `/<schema>/` up to, not including, `/<schema>0`.
///
/// kube-apiserver is told `--etcd-prefix=/<schema>` and writes below `/<schema>/`; the closing slash keeps `a` out of
/// `aa`. `0` is the character after `/`, and the end is never open (CVE-2024-42480 was an open end).
pub(crate) fn of_schema(schema: &str) -> KeyRange {
    let start = prefix(schema).into_bytes();
    let end = format!("/{schema}0").into_bytes();
    KeyRange { start, end }
}

/// Where the owner of a tenant's schema is recorded, and where that of its user.
pub(crate) fn of_records(tenant: &Tenant) -> [String; 2] {
    [format!("{OWNERS}/schema/{}", tenant.schema), format!("{OWNERS}/user/{}", tenant.user)]
}

/// The range from `start` up to and including `last`.
pub(crate) fn up_to(start: &[u8], last: &[u8]) -> KeyRange {
    let mut end = last.to_vec();
    end.push(0);
    KeyRange { start: start.to_vec(), end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &KeyRange, key: &str) -> bool {
        range.start.as_slice() <= key.as_bytes() && key.as_bytes() < range.end.as_slice()
    }

    #[test]
    fn a_schema_owns_what_is_below_its_slash_and_nothing_else() {
        let range = of_schema("a");
        assert_eq!((range.start.as_slice(), range.end.as_slice()), (b"/a/".as_slice(), b"/a0".as_slice()));
        for key in ["/a/", "/a/registry/pods/x", "/a/\u{10ffff}"] {
            assert!(contains(&range, key), "{key:?}");
        }
        for key in ["/a", "/a0", "/a0/x", "/aa/x", "/a-b/x", "/a.b/x", "/A/x", "a/x", "/", "\0", "/b/", "/registry/x"] {
            assert!(!contains(&range, key), "{key:?}");
        }
    }

    #[test]
    fn two_schemas_never_share_a_key() {
        let names = ["a", "aa", "a0", "a.", "a-", "a b", "b", "ä", "8d2f", "8d2f-1"];
        for one in names {
            for other in names.iter().filter(|other| **other != one) {
                let (one, other) = (of_schema(one), of_schema(other));
                assert!(one.end <= other.start || other.end <= one.start, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn no_schema_that_a_tenant_may_have_reaches_a_record() {
        let tenant = |name: &str| Tenant { schema: name.into(), user: name.into(), password: None };
        let names =
            ["a", "kamaji.clastix.io", "owner", "schema", "j", "k", "l", " ", "!", "0", "~", "\u{10ffff}", "..."];
        for name in names {
            tenant(name).check_names().unwrap();
            let range = of_schema(name);
            for record in names.iter().flat_map(|name| of_records(&tenant(name))) {
                assert!(!contains(&range, &record), "{name:?} reaches {record:?}");
            }
            // Whatever is between two keys that begin with a slash begins with one.
            assert_eq!((range.start.first(), range.end.first()), (Some(&b'/'), Some(&b'/')), "{name:?}");
        }
        // What a path could be made of that leaves the schema, or that is another record's key.
        for name in ["", "..", "../kamaji.clastix.io/owner", "/kamaji.clastix.io", "kamaji.clastix.io/owner", "a\0"] {
            tenant(name).check_names().unwrap_err();
        }
    }

    #[test]
    fn every_name_has_a_record_of_its_own() {
        let tenant = |schema: &str, user: &str| Tenant { schema: schema.into(), user: user.into(), password: None };
        let records = of_records(&tenant("a", "b"));
        assert_eq!(records, ["kamaji.clastix.io/owner/schema/a", "kamaji.clastix.io/owner/user/b"]);
        let [schema, user] = of_records(&tenant("b", "a"));
        assert!(!records.contains(&schema) && !records.contains(&user), "a schema is no user");
    }

    #[test]
    fn a_batch_ends_right_after_its_last_key() {
        let batch = up_to(b"/a/", b"/a/k");
        assert!(contains(&batch, "/a/k") && !contains(&batch, "/a/k\0") && !contains(&batch, "/a/l"));
    }
}
