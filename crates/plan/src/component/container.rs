//! What the containers of the three Kubernetes components share.

use k8s_openapi::api::core::v1::{Capabilities, SecurityContext};
use kamaji_api::tenant_control_plane::{ContainerSecurityContexts, RegistrySettings};

use crate::{resolved::Resolved, template::TemplateRevision};

/// Registry of the upstream images.
const REGISTRY: &str = "registry.k8s.io";

/// The image of a component: `registry/name:version` with the tag suffix.
pub fn image(resolved: &Resolved, name: impl Fn(&RegistrySettings) -> Option<&str>, default_name: &str) -> String {
    let settings = resolved.deployment().and_then(|deployment| deployment.registry_settings.as_ref());
    let set = |value: Option<&str>, default: &str| value.filter(|v| !v.is_empty()).unwrap_or(default).to_owned();
    let registry = set(settings.and_then(|settings| settings.registry.as_deref()), REGISTRY);
    let name = set(settings.and_then(name), default_name);
    let suffix = settings.and_then(|settings| settings.tag_suffix.as_deref()).unwrap_or_default();
    format!("{registry}/{name}:{}{suffix}", resolved.version)
}

/// The pull policy. Version tags do not move, so from template `R1` on nothing is pulled twice.
pub fn pull_policy(resolved: &Resolved, upstream_always: bool) -> Option<String> {
    match resolved.revision {
        TemplateRevision::R1 => Some("IfNotPresent".to_owned()),
        TemplateRevision::Upstream2026 => upstream_always.then(|| "Always".to_owned()),
    }
}

/// The container's security context: the user's, else one that Pod Security `restricted` admits (template `R1`).
pub fn security_context(
    resolved: &Resolved,
    user: impl Fn(&ContainerSecurityContexts) -> Option<&SecurityContext>,
    capabilities: &[&str],
) -> Option<SecurityContext> {
    let contexts = resolved.deployment().and_then(|deployment| deployment.container_security_contexts.as_ref());
    if let Some(context) = contexts.and_then(user) {
        return Some(context.clone());
    }
    (resolved.revision >= TemplateRevision::R1).then(|| restricted(capabilities))
}

/// A security context that Pod Security `restricted` admits, with `capabilities` added.
pub fn restricted(capabilities: &[&str]) -> SecurityContext {
    let added: Vec<String> = capabilities.iter().map(|&name| name.to_owned()).collect();
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: (!added.is_empty()).then_some(added),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    }
}
