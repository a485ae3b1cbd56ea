//! The etcd releases that keep tenants apart.
//!
//! Four advisories of 2026 let a client with a tenant's credentials past etcd's role-based access: nested transactions
//! (CVE-2026-33343), member, alarm and lease calls and compaction (CVE-2026-33413), previous values and leases in
//! transactions (CVE-2026-44283), watches without an end (CVE-2026-73499). The last was fixed in the releases below.

/// Fixed releases, oldest line first. A line that is not named got no fix.
const FIXED: [(u64, u64, u64); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

/// `major.minor.patch` of a version, with whether it is a pre-release.
fn parse(version: &str) -> Option<((u64, u64, u64), bool)> {
    let version = version.trim_start_matches('v');
    let (version, _build) = version.split_once('+').unwrap_or((version, ""));
    let (numbers, pre_release) = version.split_once('-').map_or((version, false), |(numbers, _)| (numbers, true));
    let mut parts = numbers.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    Some(((major, minor, patch), pre_release))
}

/// What to say of a server of this version, if it does not keep its tenants apart; `None` when it does.
fn warning(version: &str) -> Option<String> {
    let advice = "with a tenant's certificate, another tenant's data can be read (CVE-2026-73499 and others): \
                  upgrade it to 3.5.33, 3.6.14, 3.7.1 or later";
    let Some((numbers, pre_release)) = parse(version) else {
        return Some(format!("etcd reports the version {version:?}, which cannot be compared with the fixed releases"));
    };
    let fixed = match FIXED.iter().find(|(major, minor, _)| (*major, *minor) == (numbers.0, numbers.1)) {
        Some(fixed) => numbers > *fixed || (numbers == *fixed && !pre_release),
        None => FIXED.iter().all(|fixed| numbers > *fixed),
    };
    (!fixed).then(|| format!("etcd {version} is older than the releases that keep tenants apart: {advice}"))
}

/// The lowest of the members' versions, and what to say of it: one old member is enough to get at the data.
pub(crate) fn lowest<'a>(versions: impl IntoIterator<Item = &'a str>) -> (&'a str, Option<String>) {
    match versions.into_iter().min_by_key(|version| order(version)) {
        Some(lowest) => (lowest, warning(lowest)),
        None => ("", None),
    }
}

/// Orders versions; what cannot be read comes first.
fn order(version: &str) -> impl Ord + use<> {
    parse(version).map(|(numbers, pre_release)| (numbers, !pre_release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_below_the_fixed_release_of_each_line() {
        for version in [
            "3.4.44",
            "3.5.17",
            "3.5.32",
            "3.6.0",
            "3.6.12",
            "3.6.13",
            "3.7.0",
            "3.7.1-rc.0",
            "v3.6.13",
            "2.3.8",
            "3.3.27",
        ] {
            let warning = warning(version).unwrap();
            assert!(warning.contains(version) && warning.contains("3.6.14"), "{warning}");
        }
    }

    #[test]
    fn takes_the_fixed_releases_and_later_ones() {
        for version in
            ["3.5.33", "3.5.34", "3.6.14", "3.6.99", "3.7.1", "3.7.3", "3.8.0", "4.0.0", "v3.7.3", "3.7.3+vendor"]
        {
            assert_eq!(warning(version), None, "{version}");
        }
    }

    #[test]
    fn says_so_when_a_version_cannot_be_read() {
        for version in ["", "3.7", "3.7.x", "3.7.1.2", "latest"] {
            assert!(warning(version).unwrap().contains("cannot be compared"), "{version}");
        }
    }

    #[test]
    fn one_old_member_among_fixed_ones_is_warned_about() {
        let (version, warning) = lowest(["3.7.3", "3.6.13", "3.7.1"]);
        assert_eq!(version, "3.6.13");
        assert!(warning.unwrap().starts_with("etcd 3.6.13 is older"));
        assert_eq!(lowest(["3.7.3", "3.6.14"]), ("3.6.14", None));
        assert_eq!(lowest([]), ("", None), "nobody answered, which is said elsewhere");
    }

    #[test]
    fn orders_by_number_not_by_text() {
        let mut versions = ["3.6.14", "3.10.0", "3.6.9", "3.7.1", "3.7.1-rc.0"];
        versions.sort_by_key(|version| order(version));
        assert_eq!(versions, ["3.6.9", "3.6.14", "3.7.1-rc.0", "3.7.1", "3.10.0"]);
    }
}
