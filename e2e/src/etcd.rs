//! An EtcdCluster as its owner handles it.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kamaji_api::EtcdCluster;
use kamaji_testkit::wait::{wait_for, wait_for_deletion};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{Story, tenant::SOON};

/// Where the operator runs its etcds.
pub const NAMESPACE: &str = "kamaji-system";

/// One EtcdCluster of a story.
pub struct Etcd {
    story: Story,
    api: Api<EtcdCluster>,
    /// Its name, and that of its DataStore.
    pub name: String,
}

impl Etcd {
    /// Declares a cluster on ephemeral storage, named like the story's namespace.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn declare(story: &Story, replicas: i32) -> Result<Self> {
        let name = story.namespace.clone();
        let namespace = Api::<Namespace>::all(story.client.clone()).get(&name).await?;
        // Owned by the story's namespace, so that it goes with it when the story fails.
        let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": namespace.uid()});
        let object: EtcdCluster = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "EtcdCluster",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": {"replicas": replicas, "storage": {"ephemeral": {}}},
        }))?;
        let api: Api<EtcdCluster> = Api::all(story.client.clone());
        #[expect(clippy::disallowed_methods, reason = "a user creates an etcd")]
        api.create(&PostParams::default(), &object).await.context("the EtcdCluster was refused")?;
        Ok(Self { story: story.clone(), api, name })
    }

    /// Waits until every member serves and votes.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn ready(&self) -> Result<EtcdCluster> {
        let cluster = wait_for(&self.api, &self.name, SOON, |cluster: &EtcdCluster| {
            let status = cluster.status.clone().unwrap_or_default();
            let wanted = usize::try_from(cluster.spec.effective_replicas()).unwrap_or_default();
            let members = status.members.unwrap_or_default();
            let ready = status.conditions.unwrap_or_default();
            members.len() == wanted
                && members.iter().all(|member| member.healthy && !member.learner)
                && kamaji_api::conditions::is_true(&ready, "Ready")
        });
        Ok(cluster.await?)
    }

    /// The pod of a member.
    pub fn pod(&self, ordinal: i32) -> String {
        format!("etcd-{}-{ordinal}", self.name)
    }

    /// Deletes a member's pod, and with it its ephemeral volume; waits until another pod has its place.
    ///
    /// # Errors
    /// When no other pod comes in time.
    pub async fn lose_member(&self, ordinal: i32) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let name = self.pod(ordinal);
        let uid = pods.get(&name).await?.uid();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        #[expect(clippy::disallowed_methods, reason = "the story loses a member")]
        pods.delete(&name, &now).await.context("the pod could not be deleted")?;
        wait_for_deletion(&pods, &name, uid.as_deref(), SOON).await?;
        wait_for(&pods, &name, SOON, |pod: &Pod| pod.uid() != uid).await?;
        Ok(())
    }

    /// Deletes the members' certificates; waits until others are there.
    ///
    /// # Errors
    /// When they do not come back in time.
    pub async fn lose_certificates(&self) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let name = format!("etcd-{}-member", self.name);
        let uid = secrets.get(&name).await?.uid();
        #[expect(clippy::disallowed_methods, reason = "the story loses certificates")]
        secrets.delete(&name, &DeleteParams::default()).await.context("the Secret could not be deleted")?;
        wait_for(&secrets, &name, SOON, |secret: &Secret| secret.uid() != uid).await?;
        Ok(())
    }

    /// A client on one member, with the given client certificate, else with the administrator's.
    ///
    /// # Errors
    /// When the member accepts no connection.
    pub async fn connect(&self, ordinal: i32, identity: Option<(Vec<u8>, Vec<u8>)>) -> Result<Client> {
        let (certificate, key) = match identity {
            Some(identity) => identity,
            None => (self.value("root", "tls.crt").await?, self.value("root", "tls.key").await?),
        };
        let tls = self.tls(ordinal).await?.identity(Identity::from_pem(certificate, key));
        self.dial(ordinal, tls).await
    }

    /// Asks a member for its status without showing a certificate.
    ///
    /// # Errors
    /// When the member refuses, as it should.
    pub async fn connect_without_certificate(&self, ordinal: i32) -> Result<()> {
        let tls = self.tls(ordinal).await?;
        let mut client = self.dial(ordinal, tls).await?;
        client.status().await?;
        Ok(())
    }

    async fn tls(&self, ordinal: i32) -> Result<TlsOptions> {
        let authority = Certificate::from_pem(self.value("ca", "ca.crt").await?);
        let host = format!("{}.etcd-{}.{NAMESPACE}.svc", self.pod(ordinal), self.name);
        Ok(TlsOptions::new().ca_certificate(authority).domain_name(host))
    }

    async fn dial(&self, ordinal: i32, tls: TlsOptions) -> Result<Client> {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let pod = pods.get(&self.pod(ordinal)).await?;
        let ip = pod.status.and_then(|status| status.pod_ip).context("the pod has no address")?;
        let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(Duration::from_secs(5));
        Ok(Client::connect([format!("https://{ip}:2379")], Some(options)).await?)
    }

    async fn value(&self, suffix: &str, key: &str) -> Result<Vec<u8>> {
        let secrets: Api<Secret> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let data = secrets.get(&format!("etcd-{}-{suffix}", self.name)).await?.data.unwrap_or_default();
        data.get(key).map(|bytes| bytes.0.clone()).with_context(|| format!("the Secret {suffix} has no {key}"))
    }

    /// Deletes the cluster and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go in time.
    pub async fn delete(self) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "a user deletes an etcd")]
        self.api.delete(&self.name, &DeleteParams::background()).await.context("the deletion was refused")?;
        Ok(wait_for_deletion(&self.api, &self.name, None, SOON).await?)
    }
}
