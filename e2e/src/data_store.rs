//! A DataStore on a server of its own, as the platform team handles both.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use anyhow::{Context, Result};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kamaji_api::{DataStore as Object, conditions, data_store::Driver};
use kamaji_testkit::{
    certificate::Identity,
    wait::{wait_for, wait_for_deletion},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{Story, server::Server, tenant::SOON};

/// Condition that says whether a DataStore can be used.
const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";

/// One DataStore of a story, and its server, which runs until the story is over.
pub struct DataStore {
    api: Api<Object>,
    secrets: Api<Secret>,
    server: Arc<Server>,
    /// Its name, and that of its Secret.
    pub name: String,
}

impl Deref for DataStore {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DataStore {
    /// Starts a server and declares it, with everything secret in a Secret of the story's namespace; waits until the
    /// operator has found it usable.
    ///
    /// # Errors
    /// When the server does not start, or the DataStore is refused or found unusable.
    pub async fn declare(story: &Story, suffix: &str, driver: Driver) -> Result<Self> {
        Self::on(story, suffix, Server::start(driver, "").await?).await
    }

    /// As [`DataStore::declare`], on this server.
    ///
    /// # Errors
    /// As [`DataStore::declare`].
    pub async fn on(story: &Story, suffix: &str, server: Server) -> Result<Self> {
        let server = Arc::new(server);
        story.keep(Arc::clone(&server));
        let name = format!("{}-{suffix}", story.namespace);
        let namespace = Api::<Namespace>::all(story.client.clone()).get(&story.namespace).await?;
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.clone());
        secret.data = Some(bytes(secret_data(&server)));
        let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
        #[expect(clippy::disallowed_methods, reason = "a user creates a Secret")]
        secrets.create(&PostParams::default(), &secret).await.context("the Secret was refused")?;
        // Owned by the story's namespace, so that it goes with it when the story fails.
        let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": story.namespace, "uid": namespace.uid()});
        let object: Object = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "DataStore",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "spec": spec(&server, &name, &story.namespace),
        }))?;
        let api: Api<Object> = Api::all(story.client.clone());
        #[expect(clippy::disallowed_methods, reason = "a user creates a DataStore")]
        api.create(&PostParams::default(), &object).await.context("the DataStore was refused")?;
        let data_store = Self { api, secrets, server, name };
        data_store.usable(true).await?;
        Ok(data_store)
    }

    /// Waits until it is reported as usable, or not; returns the sentence that says why.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn usable(&self, usable: bool) -> Result<String> {
        let verdict = |object: &Object| {
            let status = object.status.as_ref().filter(|status| status.ready == usable)?;
            let verdict = conditions::find(status.conditions.as_deref().unwrap_or_default(), VALIDATION)?;
            let wanted = if usable { "True" } else { "False" };
            (verdict.status == wanted).then(|| verdict.message.clone())
        };
        let decided = wait_for(&self.api, &self.name, SOON, |object: &Object| verdict(object).is_some());
        let found = Box::pin(decided).await?;
        verdict(&found).context("no verdict")
    }

    /// Changes its Secret, as an administrator does who rotates something.
    ///
    /// # Errors
    /// When the change is refused.
    pub async fn change_secret(&self, data: BTreeMap<&'static str, String>) -> Result<()> {
        let patch = Patch::Merge(json!({"data": bytes(data)}));
        #[expect(clippy::disallowed_methods, reason = "a user edits a Secret")]
        let changed = self.secrets.patch(&self.name, &PatchParams::default(), &patch).await;
        changed.map(drop).context("the change was refused")
    }

    /// Deletes it and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go in time.
    pub async fn delete(self) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "a user deletes a DataStore")]
        self.api.delete(&self.name, &DeleteParams::background()).await.context("the deletion was refused")?;
        Ok(Box::pin(wait_for_deletion(&self.api, &self.name, None, SOON)).await?)
    }
}

/// Keys of the Secret for a certificate of a client.
pub fn client_data(client: &Identity) -> BTreeMap<&'static str, String> {
    [("tls.crt", client.certificate.clone()), ("tls.key", client.key.clone())].into()
}

fn secret_data(server: &Server) -> BTreeMap<&'static str, String> {
    let access = &server.access;
    let mut data = client_data(&access.client);
    data.insert("ca.crt", access.authority.clone());
    data.extend(access.authority_key.clone().map(|key| ("ca.key", key)));
    if let Some((username, password)) = access.login {
        data.extend([("username", username.to_owned()), ("password", password.to_owned())]);
    }
    data
}

fn spec(server: &Server, secret: &str, namespace: &str) -> Value {
    let access = &server.access;
    let of = |key: &str| json!({"secretReference": {"name": secret, "namespace": namespace, "keyPath": key}});
    let mut authority = json!({"certificate": of("ca.crt")});
    if let (Some(authority), Some(_)) = (authority.as_object_mut(), &access.authority_key) {
        authority.insert("privateKey".to_owned(), of("ca.key"));
    }
    let basic_auth = access.login.map(|_| json!({"username": of("username"), "password": of("password")}));
    json!({
        "driver": access.driver,
        "endpoints": access.endpoints,
        "basicAuth": basic_auth,
        "tlsConfig": {
            "certificateAuthority": authority,
            "clientCertificate": {"certificate": of("tls.crt"), "privateKey": of("tls.key")},
        },
    })
}

fn bytes(data: BTreeMap<&'static str, String>) -> BTreeMap<String, ByteString> {
    data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
}
