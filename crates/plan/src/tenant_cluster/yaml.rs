//! YAML documents inside ConfigMaps.

use serde::Serialize;

/// `value` as a YAML document: same value, same bytes. Texts that YAML 1.1 takes for something else are quoted, as
/// kubeadm and kubelet read that dialect.
pub(super) fn document<T: Serialize>(value: &T) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    // Only texts, numbers, lists and maps with text keys are written here: serialising them cannot fail.
    serde_saphyr::to_string_with_options(value, options).unwrap_or_default()
}
