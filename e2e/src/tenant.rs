//! A tenant as its owner handles it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount},
};
use kamaji_api::{TenantControlPlane, conditions, contract};
use kamaji_testkit::{
    certificate::Identity,
    http_get::Target,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

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
        Box::pin(wait_for(&accounts, "default", SOON, |_: &ServiceAccount| true)).await?;
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
            conditions::is_true(&conditions, "TenantConfigured")
        };
        self.until(is_configured).await.map(drop)
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until(&self, condition: impl Fn(&TenantControlPlane) -> bool) -> Result<TenantControlPlane> {
        Ok(Box::pin(wait_for(&self.api, &self.name, SOON, condition)).await?)
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
        Ok(Box::pin(wait_for_deletion(&self.api, &self.name, None, SOON)).await?)
    }

    /// Waits until a change of the pods has reached all of them, and no former one is left of the `pods`.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn rolled(&self, pods: usize) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let is_complete = |deployment: &Deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let status = deployment.status.clone().unwrap_or_default();
            status.observed_generation >= deployment.metadata.generation
                && [status.replicas, status.updated_replicas, status.available_replicas]
                    .iter()
                    .all(|now| *now == wanted)
        };
        Box::pin(wait_for(&deployments, &self.name, SOON, is_complete)).await?;
        self.until(|tenant| {
            let all = tenant.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let is =
                |type_: &str, wanted: &str| conditions::find(all, type_).is_some_and(|found| found.status == wanted);
            is(conditions::READY, "True") && is(conditions::PROGRESSING, "False") && is(conditions::DEGRADED, "False")
        })
        .await?;
        self.only_pods(pods).await
    }

    /// How many generations of pods there were: each has a ReplicaSet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn rollouts(&self) -> Result<usize> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.list_metadata(&self.own()).await?.items.len())
    }

    /// How long the operator takes to bring back something of the tenant's that was deleted.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn healed(&self) -> Result<Duration> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = format!("{}-kubeadmconfig", self.name);
        let uid = api.get_metadata(&name).await?.uid();
        let began = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "a user deletes what is the operator's")]
        api.delete(&name, &DeleteParams::default()).await.context("the ConfigMap could not be deleted")?;
        Box::pin(wait_for(&api, &name, SOON, |found: &ConfigMap| found.uid() != uid)).await?;
        Ok(began.elapsed())
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
        for _ in 0..180 {
            let there = pods.list_metadata(&self.own()).await?.items;
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
        self.target("/version", None).await
    }

    /// As [`Tenant::probe_target`], where the answer comes from the datastore: a single object is never served from
    /// memory.
    ///
    /// # Errors
    /// When the tenant has no endpoint or no kubeconfig yet.
    pub async fn stored_target(&self) -> Result<Target> {
        let secret = self.secret("admin-kubeconfig").await?;
        let text = secret.get("super-admin.conf").context("no super-admin.conf")?;
        let kubeconfig: Value = serde_saphyr::from_str(std::str::from_utf8(text)?)?;
        let pem = |field: &str| {
            let encoded = kubeconfig.pointer(&format!("/users/0/user/{field}")).and_then(Value::as_str);
            Ok::<_, anyhow::Error>(String::from_utf8(STANDARD.decode(encoded.context("no certificate")?)?)?)
        };
        let identity = Identity { certificate: pem("client-certificate-data")?, key: pem("client-key-data")? };
        self.target("/api/v1/namespaces/kube-system", Some(&identity)).await
    }

    async fn target(&self, path: &str, identity: Option<&Identity>) -> Result<Target> {
        let tenant = self.api.get(&self.name).await?;
        let endpoint = tenant.status.and_then(|status| status.control_plane_endpoint).context("no endpoint")?;
        let Some((host, port)) = endpoint.rsplit_once(':') else { bail!("{endpoint} is no endpoint") };
        let host = host.trim_matches(['[', ']']).to_owned();
        let ca = self.secret("ca").await?;
        let ca = String::from_utf8(ca.get("ca.crt").context("no ca.crt")?.clone())?;
        Ok(Target::https(&host, port.parse()?, path, &ca, identity, None)?)
    }

    fn own(&self) -> ListParams {
        ListParams::default().labels(&format!("kamaji.clastix.io/name={}", self.name))
    }
}

/// Deletes every tenant of a story; after a minute by force, for whatever keeps the operator from doing it properly.
pub(crate) async fn remove_all(story: &Story) -> Result<()> {
    let api: Api<TenantControlPlane> = Api::namespaced(story.client.clone(), &story.namespace);
    let forced = json!({"metadata": {"annotations": {
        contract::annotations::FORCE_DELETION: contract::annotations::FORCE_DELETION_VALUE,
    }}});
    let began = Instant::now();
    loop {
        let left = api.list_metadata(&ListParams::default()).await?.items;
        if left.is_empty() {
            return Ok(());
        }
        let overdue = began.elapsed() > Duration::from_mins(1);
        if began.elapsed() > Duration::from_mins(2) {
            bail!("{} tenants do not go", left.len());
        }
        for tenant in left {
            let name = tenant.name_any();
            // It may have gone meanwhile.
            if tenant.metadata.deletion_timestamp.is_none() {
                #[expect(clippy::disallowed_methods, reason = "a user deletes a tenant")]
                let _ = api.delete(&name, &DeleteParams::background()).await;
            } else if overdue {
                #[expect(clippy::disallowed_methods, reason = "a user forces a deletion")]
                let _ = api.patch(&name, &PatchParams::default(), &Patch::Merge(&forced)).await;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}
