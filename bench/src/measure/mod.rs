//! The measurements, in the order in which they run.

pub mod batch;
pub mod by_hand;
pub mod deletion;
pub mod rest;
pub mod single;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::TenantControlPlane;
use kube::{Api, Client};
use serde_json::Value;

use crate::etcd::Etcd;
use crate::inventory::Kinds;
use crate::kubectl::Kubectl;
use crate::operator::Operator;
use crate::seen::Seen;
use crate::sweep;
use crate::tenant::{self, NAMESPACE};

/// What every measurement needs.
pub struct Bench {
    /// The management cluster.
    pub client: Client,
    /// Its writes.
    pub kubectl: Kubectl,
    /// The datastore.
    pub etcd: Etcd,
    /// The operator.
    pub operator: Operator,
    /// Kinds that can hold what a tenant leaves.
    pub kinds: Kinds,
    /// Name of the DataStore.
    pub data_store: String,
    /// Kubernetes version of the tenants, without `v`.
    pub version: String,
}

impl Bench {
    /// Watches the tenants.
    async fn tenants(&self) -> Result<Seen> {
        let api: Api<TenantControlPlane> = Api::namespaced(self.client.clone(), NAMESPACE);
        Seen::start(api, tenant::is_ready).await
    }

    /// Watches the Deployments.
    async fn deployments(&self) -> Result<Seen> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        Seen::start(api, tenant::is_available).await
    }

    fn manifests(&self, names: &[String]) -> Vec<Value> {
        names.iter().map(|name| tenant::manifest(name, &self.data_store, &self.version)).collect()
    }

    /// Asks for the deletion of tenants and returns at once.
    async fn delete(&self, names: &[String]) -> Result<()> {
        let namespace = format!("--namespace={NAMESPACE}");
        let mut arguments = vec!["delete", "tenantcontrolplanes", "--wait=false", &namespace];
        arguments.extend(names.iter().map(String::as_str));
        self.kubectl.run("deleting tenants", &arguments, None).await.map(drop)
    }

    /// Fails unless the namespace gets empty: what is measured next would share the machine with what is left.
    async fn expect_empty(&self) -> Result<()> {
        let left = sweep::until_empty(&self.client, &self.kinds).await?;
        if !left.is_empty() {
            bail!("namespace {NAMESPACE} still holds {:?}", left.keys().collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// How long `count` tenants may take to become ready, or copies to become available.
fn patience(count: usize) -> Duration {
    Duration::from_mins(1) + Duration::from_secs(20) * u32::try_from(count).unwrap_or(u32::MAX)
}

/// Seconds from `began`.
fn seconds(began: Instant, mark: Option<Instant>) -> Option<f64> {
    mark.map(|mark| mark.saturating_duration_since(began).as_secs_f64())
}
