//! A Kubernetes API that plays a written scene: for the order of calls, and for answers no real server gives on demand.
//!
//! ```no_run
//! # use http::Method;
//! # use kamaji_testkit::mock_api::Scenario;
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, scene) = Scenario::new()
//!     .on(Method::GET, "/api/v1/namespaces/default/services/sample").not_found()
//!     .on(Method::PATCH, "/api/v1/namespaces/default/services/sample").hang()
//!     .start();
//! // ... what is tested uses `client` ...
//! let calls = scene.finish().await?;
//! # Ok(()) }
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock::{self, Handle, SendResponse};

/// How long [`Scene::finish`] waits for calls that are still to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How what was tested left the script.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call that is not the next one of the script.
    #[error("call {number} was {got}, but the script expects {expected}")]
    Unexpected {
        /// Which call, from 1.
        number: usize,
        /// Method and path of the call.
        got: String,
        /// Method and path of the script, or that it has ended.
        expected: String,
    },
    /// The script goes on, but no call came.
    #[error("after {number} calls no more came, but the script expects {expected}")]
    Missing {
        /// How many calls came.
        number: usize,
        /// Method and path of the script.
        expected: String,
    },
    /// The task that plays the scene is gone.
    #[error("the scene ended before its time")]
    Ended,
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "unexpected",
            Self::Missing { .. } => "missing",
            Self::Ended => "ended",
        }
    }
}

/// A call that was received.
#[derive(Debug, Clone)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path, without the query.
    pub path: String,
    /// Query, without the question mark; empty if there is none.
    pub query: String,
    /// Body, or null if it is empty or not JSON.
    pub body: Value,
}

#[derive(Debug)]
enum Answer {
    Json(StatusCode, Value),
    Hang,
    Disconnect,
}

#[derive(Debug)]
struct Step {
    method: Method,
    path: String,
    answer: Answer,
}

/// The script: calls in their order, each with its answer.
#[derive(Debug, Default)]
pub struct Scenario {
    steps: VecDeque<Step>,
}

/// A call of the script whose answer is still to be said.
#[derive(Debug)]
pub struct Expectation {
    scenario: Scenario,
    method: Method,
    path: String,
}

impl Scenario {
    /// An empty script: every call is one too many.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call has this method and this path (without query).
    pub fn on(self, method: Method, path: &str) -> Expectation {
        Expectation { scenario: self, method, path: path.to_owned() }
    }

    /// Begins; must be called in an async runtime.
    pub fn start(self) -> (Client, Scene) {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let (progress, seen) = tokio::sync::watch::channel(State::default());
        let left = self.steps.len();
        let task = tokio::spawn(play(self.steps, handle, progress));
        (client, Scene { task, seen, left })
    }
}

impl Expectation {
    /// Answered with 200 and this object.
    pub fn answers(self, object: Value) -> Scenario {
        self.then(Answer::Json(StatusCode::OK, object))
    }

    /// Answered with a `Status` of this code and reason, for example `(409, "Conflict")`.
    pub fn fails(self, code: u16, reason: &str) -> Scenario {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "code": code, "reason": reason, "message": format!("scripted {reason}"),
        });
        self.then(Answer::Json(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), status))
    }

    /// Answered with 404.
    pub fn not_found(self) -> Scenario {
        self.fails(404, "NotFound")
    }

    /// Answered with 409.
    pub fn conflict(self) -> Scenario {
        self.fails(409, "Conflict")
    }

    /// Never answered.
    pub fn hang(self) -> Scenario {
        self.then(Answer::Hang)
    }

    /// The connection breaks instead of an answer.
    pub fn disconnect(self) -> Scenario {
        self.then(Answer::Disconnect)
    }

    fn then(self, answer: Answer) -> Scenario {
        let Self { mut scenario, method, path } = self;
        scenario.steps.push_back(Step { method, path, answer });
        scenario
    }
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    /// The first call that was not the script's.
    unexpected: Option<(usize, String, String)>,
    /// The call that would be next.
    next: Option<String>,
}

/// A scene that is being played; ends when dropped.
#[derive(Debug)]
pub struct Scene {
    task: JoinHandle<()>,
    seen: tokio::sync::watch::Receiver<State>,
    left: usize,
}

impl Scene {
    /// The calls in their order, once all of the script have come; an error if another came, or if one does not come
    /// within five seconds.
    pub async fn finish(mut self) -> Result<Vec<Call>, Error> {
        let left = self.left;
        let complete = |state: &State| state.unexpected.is_some() || state.calls.len() >= left;
        // When patience ends, what has come so far tells what is missing.
        if let Ok(Err(_)) = tokio::time::timeout(PATIENCE, self.seen.wait_for(complete)).await {
            return Err(Error::Ended);
        }
        let state = self.seen.borrow();
        if let Some((number, got, expected)) = state.unexpected.clone() {
            return Err(Error::Unexpected { number, got, expected });
        }
        match &state.next {
            Some(expected) => Err(Error::Missing { number: state.calls.len(), expected: expected.clone() }),
            None => Ok(state.calls.clone()),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(
    mut steps: VecDeque<Step>,
    mut handle: Handle<Request<Body>, Response<Body>>,
    progress: tokio::sync::watch::Sender<State>,
) {
    let describe = |step: Option<&Step>| step.map(|step| format!("{} {}", step.method, step.path));
    progress.send_modify(|state| state.next = describe(steps.front()));
    // Dropping one of these would answer its call.
    let mut hanging: Vec<SendResponse<Response<Body>>> = Vec::new();
    while let Some((request, send)) = handle.next_request().await {
        let call = receive(request).await;
        let matches = steps.front().is_some_and(|step| step.method == call.method && step.path == call.path);
        let got = format!("{} {}", call.method, call.path);
        if !matches {
            let expected = describe(steps.front()).unwrap_or_else(|| "no more calls".to_owned());
            progress.send_modify(|state| {
                let number = state.calls.len() + 1;
                state.unexpected.get_or_insert((number, got, expected));
                state.calls.push(call);
            });
            send.send_error("this call is not in the script");
            continue;
        }
        let answer = steps.pop_front().map(|step| step.answer);
        let next = describe(steps.front());
        progress.send_modify(|state| {
            state.calls.push(call);
            state.next = next;
        });
        match answer {
            Some(Answer::Json(status, value)) => {
                let mut response = Response::new(Body::from(value.to_string().into_bytes()));
                *response.status_mut() = status;
                send.send_response(response);
            }
            Some(Answer::Disconnect) => send.send_error("connection reset by peer"),
            Some(Answer::Hang) | None => hanging.push(send),
        }
    }
    // Nobody holds the client any more: the scene stays as it is until somebody asks.
    std::future::pending::<()>().await;
}

async fn receive(request: Request<Body>) -> Call {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap_or_default();
    Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::Api;

    use super::*;

    const PATH: &str = "/api/v1/namespaces/default/configmaps/a";

    #[tokio::test]
    async fn plays_its_answers_in_order() {
        let (client, scene) = Scenario::new()
            .on(Method::GET, PATH)
            .not_found()
            .on(Method::GET, PATH)
            .disconnect()
            .on(Method::GET, PATH)
            .answers(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}))
            .start();
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(api.get_opt("a").await.unwrap().is_none());
        assert!(!matches!(api.get("a").await.unwrap_err(), kube::Error::Api(_)));
        assert_eq!(api.get("a").await.unwrap().metadata.name.unwrap(), "a");
        assert_eq!(scene.finish().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn names_the_call_that_is_not_in_the_script() {
        let (client, scene) = Scenario::new().on(Method::GET, PATH).not_found().start();
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        api.get("b").await.unwrap_err();
        let error = scene.finish().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("call 1 was GET /api/v1/namespaces/default/configmaps/b, but the script expects GET {PATH}")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn names_the_call_that_does_not_come() {
        let (_client, scene) = Scenario::new().on(Method::GET, PATH).not_found().start();
        assert_eq!(scene.finish().await.unwrap_err().category(), "missing");
    }

    #[tokio::test(start_paused = true)]
    async fn hangs_for_ever() {
        let (client, scene) = Scenario::new().on(Method::GET, PATH).hang().start();
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, api.get("a")).await.is_err());
        scene.finish().await.unwrap();
    }
}
