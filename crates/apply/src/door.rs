//! The only place where a write leaves for an API server.
#![allow(clippy::disallowed_methods, reason = "every write of the workspace goes through here")]

use std::sync::Arc;

use kube::Resource;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy, Request};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::count::{Counter, Verb};
use crate::error::Error;
use crate::fence::Fence;

/// Address of one object, and how messages call it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    name: String,
    collection: Request,
    /// Kind, namespace and name.
    pub(crate) shown: String,
}

impl Target {
    pub(crate) fn of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Self, Error> {
        let meta = object.meta();
        let kind = K::kind(&());
        let Some(name) = meta.name.clone().filter(|name| !name.is_empty()) else {
            return Err(Error::Unnamed { kind: kind.into_owned() });
        };
        let namespace = meta.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let shown = match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        Ok(Self { name, collection: Request::new(K::url_path(&(), namespace)), shown })
    }
}

/// What the API server answered to a write that it accepted.
pub(crate) struct Answer {
    /// The object did not exist before.
    pub(crate) created: bool,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn object<K: DeserializeOwned>(&self, target: &Target) -> Result<K, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::json(&target.shown, &error))
    }
}

/// Sends writes, behind the fence, counted.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) client: kube::Client,
    pub(crate) manager: Arc<str>,
    pub(crate) counter: Arc<Counter>,
    pub(crate) fence: Option<Arc<dyn Fence>>,
}

impl Door {
    /// Server-side apply. Takes fields from whoever holds them.
    pub(crate) async fn apply(&self, target: &Target, body: &Value) -> Result<Answer, Error> {
        let params = PatchParams::apply(&self.manager).force();
        let request = target.collection.patch(&target.name, &params, &Patch::Apply(body));
        self.write(Verb::Apply, target, request).await
    }

    /// Create. Recorded under a manager of its own: an Update entry of the applying manager's name means an object
    /// to take over, and a takeover of a created object would hand its data to the next apply to remove.
    pub(crate) async fn create(&self, verb: Verb, target: &Target, body: &Value) -> Result<Answer, Error> {
        let params = PostParams { field_manager: Some(format!("{}-create", self.manager)), ..PostParams::default() };
        let request = serde_json::to_vec(body)
            .map_err(kube::core::request::Error::SerializeBody)
            .and_then(|body| target.collection.create(&params, body));
        self.write(verb, target, request).await
    }

    pub(crate) async fn merge(&self, target: &Target, body: &Value) -> Result<Answer, Error> {
        let request = target.collection.patch(&target.name, &self.patch_params(), &Patch::Merge(body));
        self.write(Verb::Patch, target, request).await
    }

    pub(crate) async fn merge_status(&self, target: &Target, body: &Value) -> Result<Answer, Error> {
        let params = self.patch_params();
        let request = target.collection.patch_subresource("status", &target.name, &params, &Patch::Merge(body));
        self.write(Verb::Status, target, request).await
    }

    /// JSON patch that takes over managed fields.
    pub(crate) async fn migrate(&self, target: &Target, operations: &Value) -> Result<Answer, Error> {
        let request = target.collection.patch(&target.name, &self.patch_params(), &Patch::Merge(operations)).map(
            |mut request| {
                let json_patch = http::HeaderValue::from_static("application/json-patch+json");
                request.headers_mut().insert(http::header::CONTENT_TYPE, json_patch);
                request
            },
        );
        self.write(Verb::Migrate, target, request).await
    }

    /// Delete of exactly the object with this uid; dependents are collected in the background.
    pub(crate) async fn delete(&self, target: &Target, uid: String) -> Result<Answer, Error> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::default()
        };
        let request = target.collection.delete(&target.name, &params);
        self.write(Verb::Delete, target, request).await
    }

    /// Live read, past every cache. `None` when there is no such object.
    pub(crate) async fn get<K: DeserializeOwned>(&self, target: &Target) -> Result<Option<K>, Error> {
        let answer = async {
            let request = target.collection.get(&target.name, &GetParams::default());
            Box::pin(self.send(request.map_err(kube::Error::BuildRequest)?)).await
        }
        .await;
        match answer {
            Ok(answer) => answer.object(target).map(Some),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(Error::Api { verb: "read", object: target.shown.clone(), source: Box::new(source) }),
        }
    }

    // Partial writes have a manager of their own for the same reason as creates.
    fn patch_params(&self) -> PatchParams {
        PatchParams { field_manager: Some(format!("{}-patch", self.manager)), ..PatchParams::default() }
    }

    async fn write(
        &self,
        verb: Verb,
        target: &Target,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Answer, Error> {
        let shown = || target.shown.clone();
        let failed = |source| Error::Api { verb: verb.as_str(), object: shown(), source: Box::new(source) };
        let fenced = |source| Error::Fenced { verb: verb.as_str(), object: shown(), source };
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        let Some(fence) = &self.fence else {
            self.counter.add(verb);
            return Box::pin(self.send(request)).await.map_err(failed);
        };
        fence.check().map_err(fenced)?;
        self.counter.add(verb);
        tokio::select! {
            biased;
            () = fence.lost() => Err(fenced(crate::fence::FenceLost)),
            answer = Box::pin(self.send(request)) => answer.map_err(failed),
        }
    }

    // kube's own `Client::request` logs the body of an answer that it cannot read, which may be a Secret, and hides
    // whether the object was created.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Answer, kube::Error> {
        let response = self.client.send(request.map(Body::from)).await?;
        let code = response.status();
        let body = response.into_body().collect_bytes().await?.to_vec();
        if code.is_success() {
            return Ok(Answer { created: code == http::StatusCode::CREATED, body });
        }
        let status = serde_json::from_slice::<Status>(&body).ok().filter(|status| status.code != 0);
        let status = status.unwrap_or_else(|| {
            let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            Status::failure(text.trim(), code.canonical_reason().unwrap_or_default()).with_code(code.as_u16())
        });
        Err(kube::Error::Api(status.boxed()))
    }
}
