//! Which release of konnectivity goes with which Kubernetes.

use crate::version::{NEWEST_MINOR, OLDEST_ACCEPTED_MINOR};

/// Image tags by the tenant's minor. The first one is given to new servers; a running server keeps any of them, so that
/// another row in a later release of the operator rolls no pod. The Go operator derives `v0.<minor>.0` whether or not
/// that was ever released.
///
/// Source: the tags that registry.k8s.io has of `kas-network-proxy/proxy-server` and `proxy-agent`.
const TAGS: [(u32, &[&str]); 7] = [
    (31, &["v0.31.0"]),
    (32, &["v0.32.0"]),
    (33, &["v0.33.0"]),
    (34, &["v0.34.0"]),
    (35, &["v0.35.0"]),
    (36, &["v0.36.0"]),
    (37, &["v0.36.0", "v0.37.0"]),
];

/// First release that announces its servers by Leases.
const FIRST_WITH_LEASES: (u32, u32) = (0, 31);
/// First release whose agent can take the larger of two counts.
const FIRST_WITH_COUNT_SOURCE: (u32, u32) = (0, 32);

/// The image tag for a tenant of `minor`: what was asked for, else the release that goes with the minor, else the
/// newest before it where that does not exist.
pub fn version(minor: u32, asked: Option<&str>) -> String {
    let derived = || tags(minor).first().copied().unwrap_or_default();
    asked.filter(|asked| !asked.is_empty()).unwrap_or_else(derived).to_owned()
}

/// Whether `tag` is one that this operator, another release of it or the Go operator derives for `minor`.
pub(crate) fn is_derived(minor: u32, tag: &str) -> bool {
    tags(minor).contains(&tag)
}

/// Whether servers and agents of this tag can count servers by Leases. A tag that tells no version cannot be trusted to.
pub(super) fn knows_leases(tag: &str) -> bool {
    numbers(tag).is_some_and(|numbers| numbers >= FIRST_WITH_LEASES)
}

/// Whether agents of this tag can take the larger of the Leases and what the servers say.
pub(super) fn knows_count_source(tag: &str) -> bool {
    numbers(tag).is_some_and(|numbers| numbers >= FIRST_WITH_COUNT_SOURCE)
}

fn tags(minor: u32) -> &'static [&'static str] {
    let minor = minor.clamp(OLDEST_ACCEPTED_MINOR, NEWEST_MINOR);
    TAGS.iter().find(|(row, _)| *row == minor).map(|(_, tags)| *tags).unwrap_or_default()
}

/// Major and minor of `v0.36.0`, `v0.36.0-build.1` or `0.36.0`.
fn numbers(tag: &str) -> Option<(u32, u32)> {
    let mut parts = tag.strip_prefix('v').unwrap_or(tag).split('.');
    let (major, minor, _patch) = (parts.next()?, parts.next()?, parts.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_minor_has_a_release_of_its_own_or_of_an_older_minor() {
        for minor in OLDEST_ACCEPTED_MINOR..=NEWEST_MINOR {
            let (major, released) = numbers(&version(minor, None)).unwrap();
            assert_eq!(major, 0, "{minor}");
            assert!((OLDEST_ACCEPTED_MINOR..=minor).contains(&released), "{minor}");
        }
    }

    #[test]
    fn what_is_asked_for_wins_and_an_empty_text_asks_for_nothing() {
        assert_eq!(version(36, Some("v0.30.1")), "v0.30.1");
        assert_eq!(version(36, Some("")), "v0.36.0");
    }

    #[test]
    fn a_minor_without_a_release_gets_the_newest_before_it() {
        assert_eq!(version(37, None), "v0.36.0");
        assert!(is_derived(37, "v0.37.0"));
        assert!(!is_derived(36, "v0.37.0"));
    }

    #[test]
    fn leases_are_used_only_where_the_tag_tells_that_they_are_known() {
        for (tag, leases, source) in [
            ("v0.30.3", false, false),
            ("v0.31.0", true, false),
            ("v0.32.0", true, true),
            ("0.36.0-eks.1", true, true),
            ("v1.0.0", true, true),
            ("latest", false, false),
            ("v0.x.0", false, false),
            ("", false, false),
        ] {
            assert_eq!((knows_leases(tag), knows_count_source(tag)), (leases, source), "{tag}");
        }
    }
}
