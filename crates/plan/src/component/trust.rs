//! The three directories that Linux distributions keep certificate authorities in.

use k8s_openapi::api::core::v1::VolumeMount;

use super::kube_apiserver::read_only;

/// Volume and mount path of each directory, in the order of the pod template.
pub const DIRECTORIES: [(&str, &str); 3] = [
    ("etc-ca-certificates", "/etc/ca-certificates"),
    ("usr-share-ca-certificates", "/usr/share/ca-certificates"),
    ("usr-local-share-ca-certificates", "/usr/local/share/ca-certificates"),
];

/// The mounts of the three directories.
pub fn mounts() -> impl Iterator<Item = VolumeMount> {
    DIRECTORIES.iter().map(|(volume, path)| read_only(volume, path))
}
