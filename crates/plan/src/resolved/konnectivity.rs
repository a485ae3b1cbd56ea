//! konnectivity-server's settings.

use k8s_openapi::api::core::v1::{ResourceRequirements, SecurityContext};

/// konnectivity-server's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Konnectivity {
    /// Port for agents.
    pub port: i32,
    /// Image without its tag.
    pub image: Option<String>,
    /// Tag of the image.
    pub tag: String,
    /// The tag that goes with the tenant's version, whatever the specification asks for.
    pub derived_tag: String,
    /// The user's flags.
    pub extra_args: Vec<String>,
    /// Resources of the container.
    pub resources: Option<ResourceRequirements>,
    /// Security context of the container.
    pub security_context: Option<SecurityContext>,
}
