//! Lists whose items Kubernetes tells apart by a key, and numbers that it allows one value only.
//!
//! An item that is there twice cannot be applied ("Server-Side Apply" in the Kubernetes documentation), and the API
//! server's own words for it name a field of the Deployment or Service, not of the TenantControlPlane.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;
use kamaji_api::{
    TenantControlPlaneSpec,
    tenant_control_plane::{ControlPlaneProbes, DeploymentSpec, PortProtocol, ProbeSet, ProbeSpec},
};

use crate::{component, rejection::Rejection, resolved::Konnectivity};

const DEPLOYMENT: &str = "spec.controlPlane.deployment";

/// Checks what is copied into the Deployment.
pub fn deployment(deployment: &DeploymentSpec) -> Result<(), Rejection> {
    for (list, containers) in [
        ("additionalInitContainers", &deployment.additional_init_containers),
        ("additionalContainers", &deployment.additional_containers),
    ] {
        for (index, container) in containers.iter().flatten().enumerate() {
            self::container(&format!("{DEPLOYMENT}.{list}[{index}]"), container)?;
        }
    }
    let constraints = deployment.topology_spread_constraints.iter().flatten();
    let keys = constraints.map(|constraint| format!("{} {}", constraint.topology_key, constraint.when_unsatisfiable));
    unique(&format!("{DEPLOYMENT}.topologySpreadConstraints"), keys)?;
    deployment.probes.as_ref().map_or(Ok(()), probes)
}

fn container(field: &str, container: &Container) -> Result<(), Rejection> {
    unique(&format!("{field}.env"), container.env.iter().flatten().map(|variable| variable.name.clone()))?;
    let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let ports = container.ports.iter().flatten();
    unique(
        &format!("{field}.ports"),
        ports.map(|port| format!("{}/{}", port.container_port, protocol(&port.protocol))),
    )?;
    let mounts = container.volume_mounts.iter().flatten();
    unique(&format!("{field}.volumeMounts"), mounts.map(|mount| mount.mount_path.clone()))?;
    let devices = container.volume_devices.iter().flatten();
    unique(&format!("{field}.volumeDevices"), devices.map(|device| device.device_path.clone()))
}

fn unique(field: &str, keys: impl Iterator<Item = String>) -> Result<(), Rejection> {
    let mut seen = BTreeSet::new();
    for (index, key) in keys.enumerate() {
        if let Some(key) = seen.replace(key) {
            let message = format!("\"{key}\" is in the list already; remove one of the two");
            return Err(Rejection::new("InvalidSpec", format!("{field}[{index}]"), message));
        }
    }
    Ok(())
}

/// Checks that the Service can have all its ports.
pub fn service_ports(
    spec: &TenantControlPlaneSpec,
    port: u16,
    konnectivity: Option<&Konnectivity>,
) -> Result<(), Rejection> {
    let wrong = |field: String, message: String| Err(Rejection::new("InvalidSpec", field, message));
    let mut names = BTreeSet::from([component::kube_apiserver::NAME]);
    let mut ports = BTreeSet::from([(i32::from(port), "TCP")]);
    if let Some(konnectivity) = konnectivity {
        names.insert(component::konnectivity::NAME);
        if !ports.insert((konnectivity.port, "TCP")) {
            return wrong(
                "spec.addons.konnectivity.server.port".to_owned(),
                format!("{port} is the port of the API server; choose another"),
            );
        }
    }
    for (index, extra) in spec.control_plane.service.additional_ports.iter().flatten().enumerate() {
        let field = format!("spec.controlPlane.service.additionalPorts[{index}]");
        if !names.insert(&extra.name) {
            return wrong(
                format!("{field}.name"),
                format!("a port named \"{}\" is in the Service already; rename it", extra.name),
            );
        }
        let protocol = extra.protocol.as_ref().map_or("TCP", PortProtocol::as_str);
        if !ports.insert((extra.port, protocol)) {
            return wrong(
                format!("{field}.port"),
                format!("{}/{protocol} is in the Service already; choose another port", extra.port),
            );
        }
    }
    Ok(())
}

/// A container that runs or has started is not asked twice whether it does (Kubernetes API reference, `Probe`).
fn probes(probes: &ControlPlaneProbes) -> Result<(), Rejection> {
    let own = |set: &Option<ProbeSet>| set.clone().unwrap_or_default();
    let (api_server, controller_manager, scheduler) =
        (own(&probes.api_server), own(&probes.controller_manager), own(&probes.scheduler));
    for (name, probe) in [
        ("liveness", probes.liveness.as_ref()),
        ("startup", probes.startup.as_ref()),
        ("apiServer.liveness", api_server.liveness.as_ref()),
        ("apiServer.startup", api_server.startup.as_ref()),
        ("controllerManager.liveness", controller_manager.liveness.as_ref()),
        ("controllerManager.startup", controller_manager.startup.as_ref()),
        ("scheduler.liveness", scheduler.liveness.as_ref()),
        ("scheduler.startup", scheduler.startup.as_ref()),
    ] {
        let threshold = probe.and_then(|probe: &ProbeSpec| probe.success_threshold);
        if let Some(threshold) = threshold.filter(|&threshold| threshold != 1) {
            let field = format!("{DEPLOYMENT}.probes.{name}.successThreshold");
            let message = format!("{threshold} is not possible, Kubernetes allows only 1 here; remove it");
            return Err(Rejection::new("InvalidSpec", field, message));
        }
    }
    Ok(())
}
