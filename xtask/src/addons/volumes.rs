//! Gives claims of storage class `standard` a folder of the node.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Provisioner of the storage class.
const PROVISIONER: &str = "local-cluster/folder";
/// Set on a claim by the controller manager.
const CLAIM_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// Set on a claim by the scheduler, once its pod has a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Set by us on a volume, as every provisioner does.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Watches claims and volumes for ever.
pub async fn run(client: Client, folder: PathBuf) -> Result<()> {
    let claims = watch_claims(client.clone(), &folder);
    let volumes = watch_volumes(client, &folder);
    tokio::try_join!(claims, volumes)?;
    Ok(())
}

async fn watch_claims(client: Client, folder: &Path) -> Result<()> {
    let api = Api::<PersistentVolumeClaim>::all(client.clone());
    let mut claims = watcher(api, Config::default()).default_backoff().applied_objects().boxed();
    loop {
        match claims.try_next().await {
            Ok(Some(claim)) => {
                let Some(volume) = volume_for(&claim, folder) else { continue };
                if let Err(error) = provide(&client, &volume).await {
                    eprintln!("claim {}: {error}", claim.name_any());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => eprintln!("watching claims: {error}"),
        }
    }
}

async fn provide(client: &Client, volume: &PersistentVolume) -> Result<()> {
    if let Some(path) = host_path(volume) {
        fs::create_dir_all(path)?;
        // Whoever the pod runs as may write, as in a freshly formatted volume with a file system group.
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
    }
    #[allow(clippy::disallowed_methods, reason = "stands in for a storage driver; no part of the product")]
    match Api::all(client.clone()).create(&PostParams::default(), volume).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

async fn watch_volumes(client: Client, folder: &Path) -> Result<()> {
    let api = Api::<PersistentVolume>::all(client);
    let mut volumes = watcher(api.clone(), Config::default()).default_backoff().applied_objects().boxed();
    loop {
        match volumes.try_next().await {
            Ok(Some(volume)) if is_released(&volume) => {
                if let Some(path) = host_path(&volume).map(Path::new).filter(|path| path.parent() == Some(folder)) {
                    let _ = fs::remove_dir_all(path);
                }
                #[allow(clippy::disallowed_methods, reason = "stands in for a storage driver; no part of the product")]
                if let Err(error) = api.delete(&volume.name_any(), &DeleteParams::default()).await {
                    eprintln!("volume {}: {error}", volume.name_any());
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => eprintln!("watching volumes: {error}"),
        }
    }
}

/// The volume that the claim waits for.
fn volume_for(claim: &PersistentVolumeClaim, folder: &Path) -> Option<PersistentVolume> {
    let spec = claim.spec.as_ref()?;
    let annotations = claim.annotations();
    let is_ours = annotations.get(CLAIM_PROVISIONER).is_some_and(|name| name == PROVISIONER);
    if !is_ours || spec.volume_name.is_some() || claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let node = annotations.get(SELECTED_NODE)?;
    let uid = claim.uid()?;
    let name = format!("pvc-{uid}");
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": spec.resources.as_ref()?.requests.as_ref()?.get("storage")?},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(), "name": claim.name_any(), "uid": uid,
            },
            "hostPath": {"path": folder.join(&name), "type": "Directory"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
            ]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name,
        },
    }))
    .ok()
}

fn is_released(volume: &PersistentVolume) -> bool {
    volume.annotations().get(PROVISIONED_BY).is_some_and(|name| name == PROVISIONER)
        && volume.metadata.deletion_timestamp.is_none()
        && volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released")
        && volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete")
}

fn host_path(volume: &PersistentVolume) -> Option<&str> {
    Some(volume.spec.as_ref()?.host_path.as_ref()?.path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(annotations: &serde_json::Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "x", "uid": "u-1", "annotations": annotations},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                     "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_waits_until_its_pod_has_a_node() {
        let waiting = claim(&json!({CLAIM_PROVISIONER: PROVISIONER}));
        assert!(volume_for(&waiting, Path::new("/v")).is_none());
        let placed = claim(&json!({CLAIM_PROVISIONER: PROVISIONER, SELECTED_NODE: "n"}));
        assert_eq!(host_path(&volume_for(&placed, Path::new("/v")).unwrap()), Some("/v/pvc-u-1"));
    }

    #[test]
    fn another_provisioners_claim_is_left_alone() {
        let other = claim(&json!({CLAIM_PROVISIONER: "example.com/x", SELECTED_NODE: "n"}));
        assert!(volume_for(&other, Path::new("/v")).is_none());
    }
}
