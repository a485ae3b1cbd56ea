//! Tests that cannot run here, each with its reason (docs/conformance.md repeats them).

/// A regular expression over test names, and why what it matches is left out.
pub struct LeftOut {
    /// Matched against the full name of a test.
    pub pattern: &'static str,
    /// The reason, as a clause.
    pub reason: &'static str,
}

/// Never part of a parallel run on a cluster that others use.
pub const KINDS: &[&str] = &[r"\[Serial\]", r"\[Disruptive\]", r"\[Flaky\]"];

const NGINX: &str = "needs the image nginx, which is not built here";

/// Single tests.
pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut { pattern: "pod generation should start at 1 and increment per update", reason: NGINX },
    LeftOut { pattern: "should test the lifecycle of a ReplicationController", reason: NGINX },
    LeftOut { pattern: "PodTemplates should run the lifecycle of PodTemplates", reason: NGINX },
    LeftOut { pattern: "should create Endpoints for Pods matching a Service", reason: NGINX },
    LeftOut { pattern: "should create Endpoints and EndpointSlices for Pods matching a Service", reason: NGINX },
    LeftOut {
        pattern: "Kubectl client Update Demo should",
        reason: "needs the image nautilus, which is not built here",
    },
    LeftOut {
        pattern: "with various prefixes",
        reason: "needs busybox 1.37, whose shell keeps variables with such names; Debian's is 1.35",
    },
    LeftOut { pattern: "should have at least two untainted nodes", reason: "needs a second worker" },
    LeftOut {
        pattern: "ImageVolume should succeed with pod and pull policy of Always",
        reason: "needs the image kitten, which is not built here",
    },
    LeftOut {
        pattern: "should not allow privilege escalation when false",
        reason: "needs the image nonewprivs, which is not built here",
    },
    LeftOut {
        pattern: "Should be able to support the 1.17 Sample API Server",
        reason: "needs the image sample-apiserver, which is not built here",
    },
];

/// One expression for everything that is left out.
pub fn skip() -> String {
    let single = LEFT_OUT.iter().map(|test| test.pattern.replace('.', r"\."));
    KINDS.iter().map(ToString::to_string).chain(single).collect::<Vec<_>>().join("|")
}
