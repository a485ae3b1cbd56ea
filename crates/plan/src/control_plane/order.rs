//! Keeps the order of lists that a running pod template has.
//!
//! Containers, volumes and mounts mean the same in any order, but another order is another template and rolls the pods.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

/// Sorts the lists of `desired` as `live` has them; what is new keeps its place at the end.
pub fn follow(desired: &mut PodTemplateSpec, live: &PodTemplateSpec) {
    let (Some(desired), Some(live)) = (desired.spec.as_mut(), live.spec.as_ref()) else { return };
    by(&mut desired.containers, &live.containers, |container| container.name.clone());
    if let (Some(desired), Some(live)) = (desired.volumes.as_mut(), live.volumes.as_ref()) {
        by(desired, live, |volume| volume.name.clone());
    }
    for container in &mut desired.containers {
        if let Some(live) = live.containers.iter().find(|live| live.name == container.name) {
            follow_mounts(container, live);
            follow_appended(container, live);
        }
    }
}

fn follow_mounts(desired: &mut Container, live: &Container) {
    if let (Some(desired), Some(live)) = (desired.volume_mounts.as_mut(), live.volume_mounts.as_ref()) {
        by(desired, live, |mount| mount.mount_path.clone());
    }
}

/// The Go operator puts the flag of the egress selector behind all others first, and sorts it in when it looks again.
fn follow_appended(desired: &mut Container, live: &Container) {
    const FLAG: &str = "--egress-selector-config-file=";
    let (Some(desired), Some(live)) = (desired.args.as_mut(), live.args.as_ref()) else { return };
    let mut appended = desired.clone();
    appended.sort_by_key(|argument| argument.starts_with(FLAG));
    if appended == *live {
        *desired = appended;
    }
}

fn by<T>(desired: &mut [T], live: &[T], key: impl Fn(&T) -> String) {
    let order: Vec<String> = live.iter().map(&key).collect();
    desired.sort_by_key(|item| {
        let key = key(item);
        order.iter().position(|live| *live == key).unwrap_or(usize::MAX)
    });
}
