//! A tenant as its owner handles it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use kamaji_api::TenantControlPlane;
use kamaji_testkit::{
    certificate::Identity,
    http_get::Target,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::Story;

/// Long enough for a busy two-core machine.
pub const SOON: Duration = Duration::from_mins(5);

/// One tenant of a story.
pub struct Tenant {
    api: Api<TenantControlPlane>,
    client: Client,
    namespace: String,
    /// Its name.
    pub name: String,
}

impl Tenant {
    /// Declares a tenant with one replica and a ClusterIP; `change` may edit its specification.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn declare(story: &Story, name: &str, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut spec = json!({
            "dataStore": "default",
            "controlPlane": {"deployment": {"replicas": 1}, "service": {"serviceType": "ClusterIP"}},
            "kubernetes": {"version": "v1.36.3", "kubelet": {}},
            "networkProfile": {"port": 6443},
        });
        change(&mut spec);
        let object: TenantControlPlane = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": {"name": name, "namespace": story.namespace},
            "spec": spec,
        }))?;
        let api: Api<TenantControlPlane> = Api::namespaced(story.client.clone(), &story.namespace);
        #[expect(clippy::disallowed_methods, reason = "a user creates a tenant")]
        api.create(&PostParams::default(), &object).await.context("the tenant was refused")?;
        Ok(Self { api, client: story.client.clone(), namespace: story.namespace.clone(), name: name.to_owned() })
    }

    /// `namespace/name`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Waits until the tenant reports a phase.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn phase(&self, wanted: &str) -> Result<TenantControlPlane> {
        self.until(|tenant| {
            let status = tenant.status.clone().unwrap_or_default();
            let settled = status.observed_generation == tenant.metadata.generation;
            settled && status.kubernetes_resources.version.status.is_some_and(|phase| phase.as_str() == wanted)
        })
        .await
    }

    /// Waits until the tenant's controller manager runs its controllers: one that is disturbed before that ends, and the pod
    /// is not ready until it is back.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn controlled(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, "default");
        wait_for(&accounts, "default", SOON, |_: &ServiceAccount| true).await?;
        Ok(())
    }

    /// Waits until the tenant serves and what the operator keeps inside of it is in place.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn configured(&self) -> Result<()> {
        self.phase("Ready").await?;
        let is_configured = |tenant: &TenantControlPlane| {
            let conditions = tenant.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
            kamaji_api::conditions::is_true(&conditions, "TenantConfigured")
        };
        self.until(is_configured).await.map(drop)
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until(&self, condition: impl Fn(&TenantControlPlane) -> bool) -> Result<TenantControlPlane> {
        Ok(wait_for(&self.api, &self.name, SOON, condition).await?)
    }

    /// Merges `patch` into the object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn change(&self, patch: Value) -> Result<TenantControlPlane> {
        #[expect(clippy::disallowed_methods, reason = "a user edits a tenant")]
        let patched = self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.context("the change was refused")
    }

    /// Sets replicas through the scale subresource, as `kubectl scale` and an autoscaler do.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn scale(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        #[expect(clippy::disallowed_methods, reason = "a user scales a tenant")]
        let scaled = self.api.patch_scale(&self.name, &PatchParams::default(), &patch).await;
        scaled.map(|_| ()).context("the scale was refused")
    }

    /// Deletes the tenant and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go in time.
    pub async fn delete(self) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "a user deletes a tenant")]
        self.api.delete(&self.name, &DeleteParams::background()).await.context("the deletion was refused")?;
        Ok(wait_for_deletion(&self.api, &self.name, None, SOON).await?)
    }

    /// One of the tenant's Secrets.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn secret(&self, suffix: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get(&format!("{}-{suffix}", self.name)).await?;
        Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// A client with the administrator's kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn admin(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// A client that shows a bearer token and nothing else.
    ///
    /// # Errors
    /// When the tenant has no kubeconfig yet.
    pub async fn with_token(&self, token: &str) -> Result<Client> {
        let mut config = self.config().await?;
        config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
        Ok(Client::try_from(config)?)
    }

    async fn config(&self) -> Result<Config> {
        let secret = self.secret("admin-kubeconfig").await?;
        let text = secret.get("super-admin.conf").context("no super-admin.conf")?;
        let kubeconfig = Kubeconfig::from_yaml(&String::from_utf8(text.clone())?)?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// Names of the tenant's own namespaces: what `kubectl get namespaces` shows.
    ///
    /// # Errors
    /// When the tenant does not answer.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        let api: Api<Namespace> = Api::all(self.admin().await?);
        let mut list = api.list(&ListParams::default()).await;
        // A node's kube-proxy learns of a ready pod up to some seconds after the tenant reports it.
        for _ in 0..50 {
            if list.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            list = api.list(&ListParams::default()).await;
        }
        let list = list.context("the tenant does not answer")?;
        Ok(list.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
    }

    /// Waits until exactly `wanted` pods are there, none of them on its way out.
    ///
    /// # Errors
    /// When there are others after a minute and a half.
    pub async fn only_pods(&self, wanted: usize) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = ListParams::default().labels(&format!("kamaji.clastix.io/name={}", self.name));
        for _ in 0..180 {
            let there = pods.list_metadata(&own).await?.items;
            if there.len() == wanted && there.iter().all(|pod| pod.metadata.deletion_timestamp.is_none()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!("{} does not come down to {wanted} pods", self.name)
    }

    /// Where a probe asks whether the tenant's API answers; every attempt is a new connection. Not `/readyz`: an API
    /// server that is told to stop fails it on purpose while it goes on serving.
    ///
    /// # Errors
    /// When the tenant has no endpoint yet.
    pub async fn probe_target(&self) -> Result<Target> {
        let tenant = self.api.get(&self.name).await?;
        let endpoint = tenant.status.and_then(|status| status.control_plane_endpoint).context("no endpoint")?;
        let Some((host, port)) = endpoint.rsplit_once(':') else { bail!("{endpoint} is no endpoint") };
        let host = host.trim_matches(['[', ']']).to_owned();
        let ca = self.secret("ca").await?;
        let ca = String::from_utf8(ca.get("ca.crt").context("no ca.crt")?.clone())?;
        Ok(Target::https(&host, port.parse()?, "/version", &ca, None::<&Identity>, None)?)
    }
}
