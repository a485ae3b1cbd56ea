//! The volumes of a tenant's pods.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection,
    SecretVolumeSource, Volume, VolumeProjection,
};

use super::names::{self, TenantSecret};
use crate::{
    component::{konnectivity, kube_apiserver, kube_controller_manager, kube_scheduler, trust},
    resolve::Resolved,
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
    volumes.push(projected(kube_apiserver::PKI_VOLUME, tenant, &api_server_files(r1)));
    for (volume, _) in trust::DIRECTORIES {
        // From R1 on only the certificate: whatever reads these directories has no business with the key.
        let items = r1.then(|| vec![item("ca.crt", "ca.crt")]);
        volumes.push(secret(volume, TenantSecret::Ca.name(tenant), items));
    }
    let scheduler = TenantSecret::SchedulerKubeconfig.name(tenant);
    volumes.push(secret(kube_scheduler::KUBECONFIG_VOLUME, scheduler, None));
    let controller_manager = TenantSecret::ControllerManagerKubeconfig.name(tenant);
    volumes.push(secret(kube_controller_manager::KUBECONFIG_VOLUME, controller_manager, None));
    if r1 {
        volumes.push(projected(kube_controller_manager::PKI_VOLUME, tenant, CONTROLLER_MANAGER_FILES));
    }
    if resolved.konnectivity.is_some() {
        volumes.push(Volume {
            name: konnectivity::SOCKET_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: None }),
            ..Volume::default()
        });
        volumes.push(Volume {
            name: konnectivity::EGRESS_SELECTOR_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                default_mode: Some(MODE),
                name: names::egress_selector(tenant),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
        let kubeconfig = TenantSecret::KonnectivityKubeconfig.name(tenant);
        volumes.push(secret(konnectivity::KUBECONFIG_VOLUME, kubeconfig, None));
    }
    volumes
}

/// Files of one Secret: the key, and the path below the mount.
type Files<'a> = (TenantSecret, &'a [(&'a str, &'a str)]);

fn api_server_files(r1: bool) -> Vec<Files<'static>> {
    let ca: Files<'_> = (TenantSecret::Ca, &[("ca.crt", "ca.crt"), ("ca.key", "ca.key")]);
    let front_proxy_ca: Files<'_> = (
        TenantSecret::FrontProxyCa,
        &[("front-proxy-ca.crt", "front-proxy-ca.crt"), ("front-proxy-ca.key", "front-proxy-ca.key")],
    );
    // kube-apiserver signs nothing with the authorities, so from R1 on it does not get their keys.
    let (ca, front_proxy_ca): (Files<'_>, Files<'_>) = if r1 {
        (
            (TenantSecret::Ca, &[("ca.crt", "ca.crt")]),
            (TenantSecret::FrontProxyCa, &[("front-proxy-ca.crt", "front-proxy-ca.crt")]),
        )
    } else {
        (ca, front_proxy_ca)
    };
    vec![
        (TenantSecret::ApiServer, &[("apiserver.crt", "apiserver.crt"), ("apiserver.key", "apiserver.key")]),
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
        (
            TenantSecret::DatastoreCertificate,
            &[("ca.crt", "etcd/ca.crt"), ("server.crt", "etcd/server.crt"), ("server.key", "etcd/server.key")],
        ),
    ]
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
