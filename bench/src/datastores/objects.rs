//! What is asked of a tenant: ConfigMaps of one kibibyte in a namespace of their own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PostParams, VersionMatch};
use kube::{Api, Client, core::Request};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::load::{Answer, CALL};

/// What an object holds, in bytes.
const SIZE: usize = 1024;

/// A namespace of a tenant, and the objects in it.
pub struct Objects {
    client: Client,
    api: Api<ConfigMap>,
    path: String,
}

/// Where a list comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// As `kubectl` asks: from the API server's memory, once the datastore has told how far it is.
    Newest,
    /// From the datastore itself: asked for by its present version, with `ListFromCacheSnapshot=false`.
    Stored,
}

/// The part of a list that is looked at.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: String,
}

impl Objects {
    /// Makes the namespace.
    pub async fn in_namespace(client: &Client, name: &str) -> Result<Self> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        #[expect(clippy::disallowed_methods, reason = "a user of the tenant makes a namespace")]
        let created = timeout(CALL, namespaces.create(&PostParams::default(), &namespace)).await;
        created.context("the tenant does not answer")?.context("the tenant refused a namespace")?;
        Ok(Self {
            client: client.clone(),
            api: Api::namespaced(client.clone(), name),
            path: format!("/api/v1/namespaces/{name}/configmaps"),
        })
    }

    /// Stores a new one.
    pub async fn create(&self, name: String) -> Result<usize> {
        #[expect(clippy::disallowed_methods, reason = "a user of the tenant writes")]
        self.api.create(&PostParams::default(), &config_map(name, 'c')).await?;
        Ok(1)
    }

    /// Reads one: a single object is never served from memory.
    pub async fn get(&self, name: &str) -> Result<usize> {
        self.api.get(name).await?;
        Ok(1)
    }

    /// Stores one with another content, whatever its version.
    pub async fn update(&self, name: String) -> Result<usize> {
        let object = config_map(name.clone(), 'u');
        #[expect(clippy::disallowed_methods, reason = "a user of the tenant writes")]
        self.api.replace(&name, &PostParams::default(), &object).await?;
        Ok(1)
    }

    /// Reads all, at once or `limit` at a time.
    pub async fn list(&self, source: Source, limit: Option<u32>) -> Result<Answer> {
        let version = match source {
            Source::Newest => None,
            Source::Stored => Some(self.version().await?),
        };
        let mut answer = Answer::default();
        let mut token = String::new();
        loop {
            let (page, took) = self.page(&parameters(version.as_deref(), limit, &token)).await?;
            answer.objects += page.items.len();
            answer.took += took;
            token = page.metadata.token;
            if token.is_empty() {
                return Ok(answer);
            }
        }
    }

    /// The version that the datastore is at.
    async fn version(&self) -> Result<String> {
        let (page, _) = self.page(&parameters(None, Some(1), "")).await?;
        Ok(page.metadata.resource_version)
    }

    /// By hand: the time ends when all of the answer is here, not when it is understood, which takes longer here than
    /// the tenant needs.
    async fn page(&self, parameters: &ListParams) -> Result<(Page, Duration)> {
        let request = Request::new(&self.path).list(parameters)?;
        let began = Instant::now();
        #[expect(clippy::disallowed_methods, reason = "a read, and what it costs to parse is not to be timed")]
        let text = self.client.request_text(request).await?;
        let took = began.elapsed();
        Ok((serde_json::from_str(&text).context("no list")?, took))
    }
}

fn parameters(version: Option<&str>, limit: Option<u32>, token: &str) -> ListParams {
    let mut parameters = ListParams { limit, ..ListParams::default() };
    if !token.is_empty() {
        // The token says the version.
        parameters.continue_token = Some(token.to_owned());
    } else if let Some(version) = version {
        parameters.resource_version = Some(version.to_owned());
        parameters.version_match = Some(VersionMatch::Exact);
    }
    parameters
}

fn config_map(name: String, content: char) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name);
    object.data = Some(BTreeMap::from([("content".to_owned(), content.to_string().repeat(SIZE))]));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(version: Option<&str>, limit: Option<u32>, token: &str) -> String {
        let request = Request::new("/list").list(&parameters(version, limit, token)).unwrap();
        request.uri().query().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_list_from_the_datastore_names_its_version_and_its_further_pages_only_the_token() {
        let version = Some("42");
        assert_eq!(query(version, None, ""), "&resourceVersion=42&resourceVersionMatch=Exact");
        assert_eq!(query(version, Some(500), ""), "&limit=500&resourceVersion=42&resourceVersionMatch=Exact");
        assert_eq!(query(version, Some(500), "abc"), "&limit=500&continue=abc");
        assert_eq!(query(None, None, ""), "");
    }

    #[test]
    fn the_last_page_has_no_token() {
        let last: Page = serde_json::from_str(r#"{"metadata": {"resourceVersion": "7"}, "items": [{}, {}]}"#).unwrap();
        assert_eq!((last.items.len(), last.metadata.token.as_str()), (2, ""));
    }
}
