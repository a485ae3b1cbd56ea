//! The three directories that Linux distributions keep certificate authorities in, and the one that holds nothing but
//! the owner's.

use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};

use super::mount::read_only;
use crate::internal_ca::VOLUME as INTERNAL_VOLUME;

/// Volume and mount path of each directory, in the order of the pod template.
pub const DIRECTORIES: [(&str, &str); 3] = [
    ("etc-ca-certificates", "/etc/ca-certificates"),
    ("usr-share-ca-certificates", "/usr/share/ca-certificates"),
    ("usr-local-share-ca-certificates", "/usr/local/share/ca-certificates"),
];

/// Where the volume with the owner's certificate authorities is mounted.
pub const INTERNAL_PATH: &str = "/etc/kamaji/internal-ca-certificates";

/// Where Go programs look for certificates, besides the bundle of their image.
const VARIABLE: &str = "SSL_CERT_DIR";
/// The owner's authorities, then Go's own default directories. The three directories are left out on purpose: they hold
/// the tenant's own authority as well, and whoever may have certificates signed by it could then pass for an identity
/// provider.
const SEARCHED: &str = "/etc/kamaji/internal-ca-certificates:/etc/ssl/certs:/etc/pki/tls/certs";

/// The mounts of the three directories.
pub fn mounts() -> impl Iterator<Item = VolumeMount> {
    DIRECTORIES.iter().map(|(volume, path)| read_only(volume, path))
}

/// Has a container trust the owner's authorities. A value that somebody else gave the variable, as `live` shows it,
/// stays theirs.
pub fn extend(container: &mut Container, live: Option<&Container>) {
    let own = read_only(INTERNAL_VOLUME, INTERNAL_PATH);
    let present = container.volume_mounts.get_or_insert_default();
    for mount in mounts().chain([own]) {
        if !present.iter().any(|present| present.mount_path == mount.mount_path) {
            present.push(mount);
        }
    }
    let set = live.and_then(|live| live.env.as_ref()?.iter().find(|variable| variable.name == VARIABLE));
    if set.is_none_or(|set| set.value.as_deref() == Some(SEARCHED)) {
        let variable = EnvVar { name: VARIABLE.to_owned(), value: Some(SEARCHED.to_owned()), value_from: None };
        container.env.get_or_insert_default().push(variable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_searched_directories_begin_with_the_owners_and_leave_out_the_three() {
        let searched: Vec<&str> = SEARCHED.split(':').collect();
        assert_eq!(searched, [INTERNAL_PATH, "/etc/ssl/certs", "/etc/pki/tls/certs"]);
        assert!(DIRECTORIES.iter().all(|(_, path)| !searched.contains(path)));
    }
}
