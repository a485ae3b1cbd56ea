//! Kubernetes versions of tenants: what is accepted, what is tested, and which step is an upgrade.

use std::fmt;

use crate::rejection::Rejection;

/// Oldest minor that is accepted. Older kubeadm cannot read v1beta4.
pub const OLDEST_ACCEPTED_MINOR: u32 = 31;
/// Oldest minor that the test matrix covers.
pub const OLDEST_TESTED_MINOR: u32 = 33;
/// Newest minor that is accepted and tested.
pub const NEWEST_MINOR: u32 = 37;

/// A tenant's Kubernetes version; keeps the text as it was written, because image tags use it verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    /// Major number; always 1 for now.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Patch number.
    pub patch: u32,
}

impl Version {
    /// Parses `v1.36.3`, `1.36.3` or `v1.36.3-rc.1`. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let core = numbers.split(['-', '+']).next()?;
        let mut parts = core.split('.');
        let mut next = || {
            let part = parts.next()?;
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse::<u32>().ok()).flatten()
        };
        let (major, minor, patch) = (next()?, next()?, next()?);
        let rest_is_legal = numbers.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
        (parts.next().is_none() && rest_is_legal).then(|| Self { text: text.to_owned(), major, minor, patch })
    }

    /// The version as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the test matrix covers this minor (1.31 and 1.32 are accepted and said to be untested).
    pub fn is_tested(&self) -> bool {
        self.minor >= OLDEST_TESTED_MINOR
    }

    /// Checks a version for `spec.kubernetes.version`.
    ///
    /// # Errors
    /// A rejection when the text is no version, when the minor is out of range, or when the step from `installed` is
    /// no supported upgrade: one minor at a time, patches freely in both directions.
    pub fn check(text: &str, installed: Option<&Version>) -> Result<Self, Rejection> {
        const FIELD: &str = "spec.kubernetes.version";
        let reject = |message: String| Rejection::new("UnsupportedVersion", FIELD, message);
        let version =
            Self::parse(text).ok_or_else(|| reject(format!("\"{text}\" is not a version; write it like v1.36.3")))?;
        if version.major != 1 || !(OLDEST_ACCEPTED_MINOR..=NEWEST_MINOR).contains(&version.minor) {
            return Err(reject(format!(
                "{text} is not supported; choose a version from v1.{OLDEST_ACCEPTED_MINOR} to v1.{NEWEST_MINOR}"
            )));
        }
        if let Some(installed) = installed {
            if version.minor < installed.minor {
                return Err(reject(format!(
                    "{text} is older than the installed {installed}; a control plane cannot go back a minor, set \
                     v1.{}",
                    installed.minor
                )));
            }
            if version.minor > installed.minor + 1 {
                return Err(reject(format!(
                    "{text} skips a minor; the installed version is {installed}, so go to v1.{} first",
                    installed.minor + 1
                )));
            }
        }
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, installed: Option<&str>) -> Result<(), String> {
        let installed = installed.and_then(Version::parse);
        Version::check(text, installed.as_ref()).map(|_| ()).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn accepts_a_version_with_and_without_v() {
        assert_eq!(check("v1.36.3", None), Ok(()));
        assert_eq!(check("1.33.0", None), Ok(()));
    }

    #[test]
    fn refuses_text_that_is_no_version() {
        for text in ["", "v", "latest", "1.36", "v1.36.x", "1.36.3.4", "v1.36.3 ", "v1.36.3-\u{e9}", "v99999999999.1.1"]
        {
            assert!(check(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_a_minor_that_is_not_supported_and_names_the_range() {
        assert!(check("v1.30.1", None).unwrap_err().contains("v1.31 to v1.37"));
        assert!(check("v1.38.0", None).is_err());
        assert!(check("v2.36.0", None).is_err());
    }

    #[test]
    fn refuses_going_back_a_minor_but_not_a_patch() {
        assert!(check("v1.35.4", Some("v1.36.3")).unwrap_err().contains("cannot go back"));
        assert_eq!(check("v1.36.1", Some("v1.36.3")), Ok(()));
    }

    #[test]
    fn refuses_to_skip_a_minor_and_names_the_next_one() {
        assert!(check("v1.36.3", Some("v1.34.1")).unwrap_err().contains("v1.35 first"));
        assert_eq!(check("v1.35.4", Some("v1.34.1")), Ok(()));
    }
}
