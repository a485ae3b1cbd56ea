//! Revisions of the pod template.
//!
//! A tenant's pods roll only for a reason that its owner can see. So a better template is a new revision: new tenants
//! get the newest, existing ones keep theirs until their version changes or their owner asks.

use std::{fmt, str::FromStr};

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::contract;

/// How the pod template of a tenant is written. Recorded as an annotation on the Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateRevision {
    /// What the Go operator of August 2026 writes, byte for byte.
    Upstream2026,
    /// Certificates only in the trust directories, keys only where they are used, quick start-up probes, graceful
    /// shutdown, `restricted` security contexts.
    R1,
}

impl TemplateRevision {
    /// The revision that new tenants get.
    pub const NEWEST: Self = Self::R1;

    /// The name written to the annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream2026 => "Upstream2026",
            Self::R1 => "R1",
        }
    }

    /// The revision of a tenant whose Deployment is `live`.
    ///
    /// A Deployment without the annotation was written by the Go operator. The revision moves to the newest when the
    /// tenant's version changes (the pods roll anyway) or when the owner asks for it with the annotation
    /// `kamaji.clastix.io/template-revision` on the TenantControlPlane.
    pub fn of(live: Option<&Deployment>, asked: Option<&str>, version_changes: bool) -> Self {
        let Some(live) = live else {
            return asked.and_then(|name| name.parse().ok()).unwrap_or(Self::NEWEST);
        };
        let recorded = live
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(contract::annotations::TEMPLATE_REVISION))
            .and_then(|name| name.parse().ok())
            .unwrap_or(Self::Upstream2026);
        match asked.and_then(|name| name.parse::<Self>().ok()) {
            Some(asked) => asked.max(recorded),
            None if version_changes => Self::NEWEST,
            None => recorded,
        }
    }
}

impl fmt::Display for TemplateRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TemplateRevision {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "Upstream2026" => Ok(Self::Upstream2026),
            "R1" => Ok(Self::R1),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn deployment(revision: Option<&str>) -> Deployment {
        let mut deployment = Deployment::default();
        deployment.metadata.annotations = revision
            .map(|name| BTreeMap::from([(contract::annotations::TEMPLATE_REVISION.to_owned(), name.to_owned())]));
        deployment
    }

    #[test]
    fn new_tenants_get_the_newest() {
        assert_eq!(TemplateRevision::of(None, None, false), TemplateRevision::R1);
    }

    #[test]
    fn an_unmarked_deployment_keeps_the_go_operators_template() {
        assert_eq!(TemplateRevision::of(Some(&deployment(None)), None, false), TemplateRevision::Upstream2026);
    }

    #[test]
    fn a_version_change_moves_to_the_newest() {
        assert_eq!(TemplateRevision::of(Some(&deployment(None)), None, true), TemplateRevision::R1);
    }

    #[test]
    fn a_recorded_revision_is_never_taken_back() {
        let live = deployment(Some("R1"));
        assert_eq!(TemplateRevision::of(Some(&live), Some("Upstream2026"), false), TemplateRevision::R1);
    }

    #[test]
    fn an_unknown_recorded_revision_does_not_roll_pods() {
        assert_eq!(TemplateRevision::of(Some(&deployment(Some("R9"))), None, false), TemplateRevision::Upstream2026);
    }
}
