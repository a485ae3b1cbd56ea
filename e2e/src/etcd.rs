//! An EtcdCluster as its owner handles it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kamaji_api::EtcdCluster;
use kamaji_testkit::{
    certificate::client_config,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{Story, tenant::SOON};

/// Where the operator runs its etcds.
pub const NAMESPACE: &str = "kamaji-system";

/// How long a member may take for one answer.
const CALL: Duration = Duration::from_secs(5);

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

    /// A cluster that is there already.
    pub fn existing(story: &Story, name: &str) -> Self {
        Self { story: story.clone(), api: Api::all(story.client.clone()), name: name.to_owned() }
    }

    /// Changes a label, for the operator to look at the cluster now: at rest it does so once a minute.
    ///
    /// # Errors
    /// When the change is refused.
    pub async fn touch(&self, value: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"touched": value}}}));
        #[expect(clippy::disallowed_methods, reason = "a user labels an etcd")]
        let touched = self.api.patch(&self.name, &PatchParams::default(), &patch).await;
        touched.map(drop).context("the label was refused")
    }

    /// Bytes of each member's database file, by ordinal; nothing for one that does not answer.
    pub async fn sizes(&self, members: i32) -> Vec<Option<i64>> {
        let size = async |ordinal| Ok::<_, anyhow::Error>(self.connect(ordinal, None).await?.status().await?.db_size());
        let mut sizes = Vec::new();
        for ordinal in 0..members {
            sizes.push(timeout(CALL, size(ordinal)).await.ok().and_then(Result::ok));
        }
        sizes
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

    /// Deletes a member's pod, and with it its ephemeral volume; waits until another pod serves in its place.
    ///
    /// The EtcdCluster says for a moment that all of its members are well: who asks it has to wait for the pod first.
    ///
    /// # Errors
    /// When no other pod serves in time.
    pub async fn lose_member(&self, ordinal: i32) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let name = self.pod(ordinal);
        let uid = pods.get(&name).await?.uid();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        #[expect(clippy::disallowed_methods, reason = "the story loses a member")]
        pods.delete(&name, &now).await.context("the pod could not be deleted")?;
        wait_for_deletion(&pods, &name, uid.as_deref(), SOON).await?;
        wait_for(&pods, &name, SOON, |pod: &Pod| pod.uid() != uid && serves(pod)).await?;
        Ok(())
    }

    /// Deletes the certificates of all `members`; waits until others are there and each member shows its new one.
    ///
    /// # Errors
    /// When they do not come back in time.
    pub async fn lose_certificates(&self, members: i32) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let name = format!("etcd-{}-member", self.name);
        let before = self.member_certificate().await?;
        for ordinal in 0..members {
            ensure!(self.shown(ordinal).await? == before, "member {ordinal} shows what its Secret holds");
        }
        let uid = secrets.get(&name).await?.uid();
        #[expect(clippy::disallowed_methods, reason = "the story loses certificates")]
        secrets.delete(&name, &DeleteParams::default()).await.context("the Secret could not be deleted")?;
        wait_for(&secrets, &name, SOON, |secret: &Secret| secret.uid() != uid).await?;
        let renewed = self.member_certificate().await?;
        ensure!(renewed != before, "the certificate is another one");
        let began = Instant::now();
        for ordinal in 0..members {
            // The kubelet brings a Secret into running pods within a minute or two.
            loop {
                match self.shown(ordinal).await {
                    Ok(shown) if shown == renewed => break,
                    Ok(_) if began.elapsed() > SOON => bail!("member {ordinal} goes on showing the lost certificate"),
                    Err(error) if began.elapsed() > SOON => return Err(error),
                    Ok(_) | Err(_) => sleep(Duration::from_secs(1)).await,
                }
            }
        }
        Ok(())
    }

    /// The serving certificate that the members' Secret holds.
    async fn member_certificate(&self) -> Result<CertificateDer<'static>> {
        let chain = self.value("member", "server.crt").await?;
        let mut certificates = CertificateDer::pem_slice_iter(&chain);
        Ok(certificates.next().context("the Secret member has an empty server.crt")??)
    }

    /// The certificate that a member shows to a new connection.
    async fn shown(&self, ordinal: i32) -> Result<CertificateDer<'static>> {
        let authority = String::from_utf8(self.value("ca", "ca.crt").await?)?;
        let name = ServerName::try_from(self.host(ordinal))?;
        let connector = TlsConnector::from(client_config(&authority, None)?);
        let connected = timeout(CALL, async {
            let stream = TcpStream::connect((self.address(ordinal).await?, 2379)).await?;
            // A member tells a client without a certificate only later that it is not welcome.
            Ok::<_, anyhow::Error>(connector.connect(name, stream).await?)
        });
        let session = connected.await.with_context(|| format!("member {ordinal} does not answer"))??;
        let shown = session.get_ref().1.peer_certificates().and_then(<[_]>::first);
        shown.cloned().with_context(|| format!("member {ordinal} shows no certificate"))
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
        Ok(TlsOptions::new().ca_certificate(authority).domain_name(self.host(ordinal)))
    }

    fn host(&self, ordinal: i32) -> String {
        format!("{}.etcd-{}.{NAMESPACE}.svc", self.pod(ordinal), self.name)
    }

    async fn address(&self, ordinal: i32) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), NAMESPACE);
        let pod = pods.get(&self.pod(ordinal)).await?;
        pod.status.and_then(|status| status.pod_ip).context("the pod has no address")
    }

    async fn dial(&self, ordinal: i32, tls: TlsOptions) -> Result<Client> {
        let ip = self.address(ordinal).await?;
        let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(CALL);
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

/// Whether the kubelet calls a pod ready.
fn serves(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
