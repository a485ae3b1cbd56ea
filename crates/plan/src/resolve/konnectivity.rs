//! What konnectivity-server is to be given, and the ports that it can have.

use k8s_openapi::api::core::v1::Container;
use kamaji_api::TenantControlPlaneSpec;

use crate::{
    component::{self, konnectivity::PORTS},
    rejection::Rejection,
    resolved::Konnectivity,
};

/// The settings, when the addon is on. `running` is the server's container in a Deployment whose version is not about to
/// change.
///
/// # Errors
/// When the port cannot be used.
pub fn resolve(
    spec: &TenantControlPlaneSpec,
    api_server_port: u16,
    minor: u32,
    running: Option<&Container>,
) -> Result<Option<Konnectivity>, Rejection> {
    let Some(addon) = spec.addons.as_ref().and_then(|addons| addons.konnectivity.as_ref()) else { return Ok(None) };
    let server = addon.server.as_ref();
    let port = server.map_or(component::konnectivity::DEFAULT_PORT, |server| server.port);
    port_for_agents(port, api_server_port)?;
    let running = running.and_then(tag).filter(|tag| component::konnectivity::is_derived(minor, tag));
    let derived_tag = component::konnectivity::version(minor, running);
    let asked = server.and_then(|server| server.version.clone()).filter(|version| !version.is_empty());
    Ok(Some(Konnectivity {
        port,
        image: server.and_then(|server| server.image.clone()),
        tag: asked.unwrap_or_else(|| derived_tag.clone()),
        derived_tag,
        extra_args: server.and_then(|server| server.extra_args.clone()).unwrap_or_default(),
        resources: server.and_then(|server| server.resources.clone()),
        security_context: server.and_then(|server| server.security_context.clone()),
    }))
}

/// All containers of a pod share its ports.
fn port_for_agents(port: i32, api_server_port: u16) -> Result<(), Rejection> {
    const FIELD: &str = "spec.addons.konnectivity.server.port";
    let invalid = |field: &str, message: String| Err(Rejection::new("InvalidSpec", field, message));
    if !PORTS.contains(&port) {
        let (first, last) = (PORTS.start(), PORTS.end());
        let message = format!("{port} is no port that konnectivity-server takes; choose one from {first} to {last}");
        return invalid(FIELD, message);
    }
    let own = component::konnectivity::OWN_PORTS;
    let others = [component::kube_controller_manager::PORT, component::kube_scheduler::PORT].map(i32::from);
    if own.contains(&port) || others.contains(&port) {
        return invalid(FIELD, format!("{port} is in use in the control plane's pod already; choose another"));
    }
    if own.contains(&i32::from(api_server_port)) {
        let message = format!("konnectivity-server uses {api_server_port} for itself in the same pod; choose another");
        return invalid("spec.networkProfile.port", message);
    }
    Ok(())
}

fn tag(container: &Container) -> Option<&str> {
    container.image.as_deref()?.rsplit_once(':').map(|(_, tag)| tag)
}
