//! All objects of a namespace with their resource versions: what was written between two looks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kamaji_api::{TenantControlPlane, contract};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;

/// Kinds that are about time and not about state: whoever holds a Lease renews it, and Events tell what happened.
const EXEMPT: [&str; 2] = ["Lease", "Event"];
/// What every namespace has by itself, and metrics that are computed when asked for.
const BUILT_IN: [(&str, &str); 2] = [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")];
const COMPUTED: &str = "metrics.k8s.io";

/// Kinds that can be listed.
#[derive(Debug, Clone)]
pub struct Kinds {
    namespaced: Vec<ApiResource>,
    own: Vec<ApiResource>,
}

/// Version and last writer of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    resource_version: String,
    writer: String,
}

/// Objects as `Kind namespace/name`.
pub type Inventory = BTreeMap<String, Version>;

/// A change between two looks.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// `Kind namespace/name`.
    pub object: String,
    /// Field manager of its last write, where that is known.
    pub writer: String,
    /// `created`, `changed` or `deleted`.
    pub what: &'static str,
}

impl Kinds {
    /// Asks the API server which kinds it serves.
    pub async fn discover(client: &Client) -> Result<Self> {
        let discovery =
            Discovery::new(client.clone()).run_aggregated().await.context("the API cannot be discovered")?;
        let mut kinds = Self { namespaced: Vec::new(), own: Vec::new() };
        for group in discovery.groups().filter(|group| group.name() != COMPUTED) {
            for (resource, capabilities) in group.recommended_resources() {
                if !capabilities.supports_operation(verbs::LIST) || EXEMPT.contains(&resource.kind.as_str()) {
                    continue;
                }
                match capabilities.scope {
                    Scope::Namespaced => kinds.namespaced.push(resource),
                    Scope::Cluster if group.name() == contract::GROUP => kinds.own.push(resource),
                    Scope::Cluster => {}
                }
            }
        }
        Ok(kinds)
    }

    /// Everything in the namespace but what every namespace has by itself.
    pub async fn in_namespace(&self, client: &Client, namespace: &str) -> Result<Inventory> {
        let mut found = Inventory::new();
        for kind in &self.namespaced {
            add(&mut found, kind, &Api::namespaced_with(client.clone(), namespace, kind)).await?;
        }
        for (kind, name) in BUILT_IN {
            found.remove(&key(kind, namespace, name));
        }
        Ok(found)
    }

    /// TenantControlPlanes outside `namespace`, with what only their users change: whoever creates, edits or deletes one
    /// during a measurement disturbs it.
    pub async fn tenants_elsewhere(&self, client: &Client, namespace: &str) -> Result<BTreeSet<String>> {
        let api: Api<TenantControlPlane> = Api::all(client.clone());
        let tenants = api.list_metadata(&ListParams::default()).await.context("tenants cannot be listed")?;
        let elsewhere = tenants.into_iter().filter(|tenant| tenant.namespace().as_deref() != Some(namespace));
        let described = elsewhere.map(|tenant| {
            let state = if tenant.metadata.deletion_timestamp.is_some() { "deleted" } else { "alive" };
            let generation = tenant.metadata.generation.unwrap_or_default();
            let (namespace, uid) = (tenant.namespace().unwrap_or_default(), tenant.uid().unwrap_or_default());
            format!("{namespace}/{} {state}, generation {generation}, {uid}", tenant.name_any())
        });
        Ok(described.collect())
    }

    /// Everything in the namespaces, and the operator's own kinds without a namespace.
    pub async fn all(&self, client: &Client, namespaces: &[&str]) -> Result<Inventory> {
        let mut found = Inventory::new();
        for kind in &self.own {
            add(&mut found, kind, &Api::all_with(client.clone(), kind)).await?;
        }
        for namespace in namespaces {
            found.extend(self.in_namespace(client, namespace).await?);
        }
        Ok(found)
    }
}

async fn add(found: &mut Inventory, kind: &ApiResource, api: &Api<DynamicObject>) -> Result<()> {
    let objects = api.list_metadata(&ListParams::default()).await;
    let objects = objects.with_context(|| format!("{} cannot be listed", kind.plural))?;
    for object in objects {
        let version = Version {
            resource_version: object.resource_version().unwrap_or_default(),
            writer: last_writer(object.managed_fields()),
        };
        found.insert(key(&kind.kind, &object.namespace().unwrap_or_default(), &object.name_any()), version);
    }
    Ok(())
}

fn key(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
}

fn last_writer(fields: &[ManagedFieldsEntry]) -> String {
    let last = fields.iter().max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone()).unwrap_or_default()
}

/// What differs.
pub fn difference(before: &Inventory, after: &Inventory) -> Vec<Written> {
    let mut written = Vec::new();
    for (object, version) in after {
        let what = match before.get(object) {
            None => "created",
            Some(old) if old.resource_version != version.resource_version => "changed",
            Some(_) => continue,
        };
        written.push(Written { object: object.clone(), writer: version.writer.clone(), what });
    }
    for (object, version) in before.iter().filter(|(object, _)| !after.contains_key(*object)) {
        written.push(Written { object: object.clone(), writer: version.writer.clone(), what: "deleted" });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(objects: &[(&str, &str)]) -> Inventory {
        let version = |version: &str| Version { resource_version: version.into(), writer: "kamaji".into() };
        objects.iter().map(|(name, number)| ((*name).to_owned(), version(number))).collect()
    }

    #[test]
    fn an_object_is_written_when_its_version_differs_or_it_comes_or_goes() {
        let before = inventory(&[("Secret n/same", "1"), ("Secret n/changed", "2"), ("Secret n/gone", "3")]);
        let after = inventory(&[("Secret n/same", "1"), ("Secret n/changed", "4"), ("Secret n/new", "5")]);
        let written: Vec<_> = difference(&before, &after).into_iter().map(|one| (one.object, one.what)).collect();
        let expected = [("Secret n/changed", "changed"), ("Secret n/new", "created"), ("Secret n/gone", "deleted")];
        assert_eq!(written, expected.map(|(object, what)| (object.to_owned(), what)));
    }
}
