//! Applies manifests of things that a story needs in the cluster.

use anyhow::{Context, Result};
use kube::{
    Api, Client, Discovery,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde::Deserialize as _;

/// Applies every document of a YAML text, in order.
///
/// # Errors
/// When a document cannot be read or is refused.
pub async fn apply(client: &Client, text: &str) -> Result<()> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    for document in text.split("\n---\n") {
        let value: serde_json::Value = serde_saphyr::from_str(document).context("a manifest cannot be read")?;
        let object = DynamicObject::deserialize(value)?;
        let types = object.types.clone().context("a manifest without a kind")?;
        let kind = GroupVersionKind::try_from(types)?;
        let (resource, _) = discovery.resolve_gvk(&kind).with_context(|| format!("{kind:?} is not served"))?;
        let name = object.metadata.name.clone().context("a manifest without a name")?;
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        #[expect(clippy::disallowed_methods, reason = "a story sets up what it needs")]
        let applied = api.patch(&name, &PatchParams::apply("kamaji-e2e").force(), &Patch::Apply(&object)).await;
        applied.with_context(|| format!("{name} was refused"))?;
    }
    Ok(())
}
