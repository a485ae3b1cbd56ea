//! Mounts of volumes, and the volume that more than one component has.

use k8s_openapi::api::core::v1::VolumeMount;

/// Name of the volume with kube-apiserver's certificates and keys. Before template `R1` other components have it too.
pub const API_SERVER_PKI_VOLUME: &str = "etc-kubernetes-pki";

/// A read-only mount of `volume` at `path`.
pub fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// A mount of `volume` at `path` that can be written to.
pub fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}
