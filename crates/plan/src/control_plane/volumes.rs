//! The volumes of a tenant's pods.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource,
    SecretProjection, SecretVolumeSource, Volume, VolumeProjection,
};

use super::names::{self, TenantSecret};
use crate::{
    component::{kine, konnectivity, kube_controller_manager, kube_scheduler, mount::API_SERVER_PKI_VOLUME, trust},
    internal_ca,
    resolved::Resolved,
    template::TemplateRevision,
};

/// Mode of the projected files; the kubelet makes them readable for the pod's group besides.
const MODE: i32 = 420;

/// The user's volumes, then the operator's.
pub fn volumes(resolved: &Resolved) -> Vec<Volume> {
    let tenant = &resolved.name;
    let r1 = resolved.revision >= TemplateRevision::R1;
    let mut volumes =
        resolved.deployment().and_then(|deployment| deployment.additional_volumes.clone()).unwrap_or_default();
    volumes.push(projected(API_SERVER_PKI_VOLUME, tenant, &api_server_files(resolved)));
    let internal = resolved.internal_ca.as_ref().and_then(|internal| internal.copy(tenant));
    for (volume, _) in trust::DIRECTORIES {
        if let Some(copy) = &internal {
            volumes.push(with_internal(volume, tenant, copy));
            continue;
        }
        // From R1 on only the certificate: whatever reads these directories has no business with the key.
        let items = r1.then(|| vec![item("ca.crt", "ca.crt")]);
        volumes.push(secret(volume, TenantSecret::Ca.name(tenant), items));
    }
    volumes.extend(internal.map(|copy| config_map(internal_ca::VOLUME, copy)));
    let scheduler = TenantSecret::SchedulerKubeconfig.name(tenant);
    volumes.push(secret(kube_scheduler::KUBECONFIG_VOLUME, scheduler, None));
    let controller_manager = TenantSecret::ControllerManagerKubeconfig.name(tenant);
    volumes.push(secret(kube_controller_manager::KUBECONFIG_VOLUME, controller_manager, None));
    if r1 {
        volumes.push(projected(kube_controller_manager::PKI_VOLUME, tenant, CONTROLLER_MANAGER_FILES));
    }
    volumes.extend(kine::Sidecar::of(resolved).iter().flat_map(kine::Sidecar::volumes));
    if resolved.konnectivity.is_some() {
        volumes.push(Volume {
            name: konnectivity::SOCKET_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: None }),
            ..Volume::default()
        });
        volumes.push(config_map(konnectivity::EGRESS_SELECTOR_VOLUME, names::egress_selector(tenant)));
        let kubeconfig = TenantSecret::KonnectivityKubeconfig.name(tenant);
        volumes.push(secret(konnectivity::KUBECONFIG_VOLUME, kubeconfig, None));
        if r1 {
            volumes.push(projected(konnectivity::PKI_VOLUME, tenant, &[API_SERVER_PAIR]));
        }
    }
    volumes
}

/// Files of one Secret: the key, and the path below the mount.
type Files<'a> = (TenantSecret, &'a [(&'a str, &'a str)]);

/// What kube-apiserver serves with; konnectivity-server shows the same certificate to its agents.
const API_SERVER_PAIR: Files<'static> =
    (TenantSecret::ApiServer, &[("apiserver.crt", "apiserver.crt"), ("apiserver.key", "apiserver.key")]);

fn api_server_files(resolved: &Resolved) -> Vec<Files<'static>> {
    let ca: Files<'_> = (TenantSecret::Ca, &[("ca.crt", "ca.crt"), ("ca.key", "ca.key")]);
    let front_proxy_ca: Files<'_> = (
        TenantSecret::FrontProxyCa,
        &[("front-proxy-ca.crt", "front-proxy-ca.crt"), ("front-proxy-ca.key", "front-proxy-ca.key")],
    );
    // kube-apiserver signs nothing with the authorities, so from R1 on it does not get their keys.
    let (ca, front_proxy_ca): (Files<'_>, Files<'_>) = if resolved.revision >= TemplateRevision::R1 {
        (
            (TenantSecret::Ca, &[("ca.crt", "ca.crt")]),
            (TenantSecret::FrontProxyCa, &[("front-proxy-ca.crt", "front-proxy-ca.crt")]),
        )
    } else {
        (ca, front_proxy_ca)
    };
    let mut files = vec![
        API_SERVER_PAIR,
        ca,
        (
            TenantSecret::KubeletClient,
            &[
                ("apiserver-kubelet-client.crt", "apiserver-kubelet-client.crt"),
                ("apiserver-kubelet-client.key", "apiserver-kubelet-client.key"),
            ],
        ),
        front_proxy_ca,
        (
            TenantSecret::FrontProxyClient,
            &[
                ("front-proxy-client.crt", "front-proxy-client.crt"),
                ("front-proxy-client.key", "front-proxy-client.key"),
            ],
        ),
        (TenantSecret::ServiceAccount, &[("sa.pub", "sa.pub"), ("sa.key", "sa.key")]),
    ];
    // Where kine is in between, kine has it.
    if resolved.store.kine.is_none() {
        files.push((
            TenantSecret::DatastoreCertificate,
            &[("ca.crt", "etcd/ca.crt"), ("server.crt", "etcd/server.crt"), ("server.key", "etcd/server.key")],
        ));
    }
    files
}

const CONTROLLER_MANAGER_FILES: &[Files<'static>] = &[
    (TenantSecret::Ca, &[("ca.crt", "ca.crt"), ("ca.key", "ca.key")]),
    (TenantSecret::FrontProxyCa, &[("front-proxy-ca.crt", "front-proxy-ca.crt")]),
    (TenantSecret::ServiceAccount, &[("sa.key", "sa.key")]),
];

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

fn projected(volume: &str, tenant: &str, files: &[Files<'_>]) -> Volume {
    let sources = files.iter().map(|(secret, items)| VolumeProjection {
        secret: Some(SecretProjection {
            name: secret.name(tenant),
            items: Some(items.iter().map(|(key, path)| item(key, path)).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    });
    Volume {
        name: volume.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(MODE), sources: Some(sources.collect()) }),
        ..Volume::default()
    }
}

/// The tenant's own authority, its certificate alone, and the owner's.
fn with_internal(volume: &str, tenant: &str, copy: &str) -> Volume {
    let mut volume = projected(volume, tenant, &[(TenantSecret::Ca, &[("ca.crt", "ca.crt")])]);
    let internal = VolumeProjection {
        config_map: Some(ConfigMapProjection { name: copy.to_owned(), ..ConfigMapProjection::default() }),
        ..VolumeProjection::default()
    };
    volume.projected.get_or_insert_default().sources.get_or_insert_default().push(internal);
    volume
}

fn config_map(volume: &str, name: String) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource { default_mode: Some(MODE), name, ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    }
}

fn secret(volume: &str, name: String, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            default_mode: Some(MODE),
            secret_name: Some(name),
            items,
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
