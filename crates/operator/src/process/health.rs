//! `/healthz`, `/readyz` and `/log-level`.
//!
//! `/healthz` answers as long as the process can. `/readyz` turns 503 while somebody waits too long, and says who. The
//! log level can be read by whoever reaches the port and changed only from the Pod itself, for example through
//! `kubectl port-forward`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use super::progress::Progress;
use crate::telemetry::log::LogLevel;

/// A request for another level is a word or a short list.
const LONGEST_LEVEL: usize = 1024;

#[derive(Clone)]
struct Health {
    progress: Progress,
    level: LogLevel,
}

/// The routes of the health endpoint.
pub fn routes(progress: Progress, level: LogLevel) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/healthz/", get(alive))
        .route("/healthz/{check}", get(alive_check))
        .route("/readyz", get(ready))
        .route("/readyz/", get(ready))
        .route("/readyz/{check}", get(ready_check))
        .route("/log-level", get(level_in_force).put(change_level))
        .layer(axum::extract::DefaultBodyLimit::max(LONGEST_LEVEL))
        .with_state(Health { progress, level })
}

async fn alive() -> &'static str {
    "ok"
}

async fn alive_check(Path(check): Path<String>) -> Response {
    match check.as_str() {
        "healthz" | "ping" => "ok".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let stuck = health.progress.stuck();
    if stuck.is_empty() {
        return "ok".into_response();
    }
    let sentences: Vec<String> = stuck.iter().map(ToString::to_string).collect();
    (StatusCode::SERVICE_UNAVAILABLE, sentences.join("\n") + "\n").into_response()
}

async fn ready_check(Path(check): Path<String>, state: State<Health>) -> Response {
    match check.as_str() {
        "readyz" | "progress" => ready(state).await,
        "ping" => "ok".into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn level_in_force(State(health): State<Health>) -> String {
    format!("{}\n", health.level.current())
}

async fn change_level(
    State(health): State<Health>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        let way_out = "The log level is changed from the Pod itself: use kubectl port-forward.\n";
        return (StatusCode::FORBIDDEN, way_out).into_response();
    }
    // Go's zap handler takes {"level":"debug"}; a bare word is what people type.
    let wanted = serde_json::from_str::<Value>(&body)
        .ok()
        .and_then(|json| json.get("level").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or(body);
    match health.level.set(&wanted) {
        Ok(()) => {
            let level = health.level.current();
            tracing::warn!(level, "the log level was changed");
            format!("{level}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::telemetry::log::{Format, LogOptions, TimeFormat, subscriber};

    const LOCAL: &str = "127.0.0.1:40000";

    struct Endpoint {
        routes: Router,
        progress: Progress,
        /// Holds the level that the endpoint changes.
        _subscriber: Box<dyn tracing::Subscriber + Send + Sync>,
    }

    impl Endpoint {
        fn new() -> Self {
            let options = LogOptions { format: Format::Json, level: LevelFilter::INFO, time: TimeFormat::Seconds };
            let (subscriber, level) = subscriber(options, std::io::sink).unwrap();
            let progress = Progress::new();
            Self { routes: routes(progress.clone(), level), progress, _subscriber: Box::new(subscriber) }
        }

        async fn request(&self, method: &str, path: &str, peer: &str, body: &str) -> (u16, String) {
            let mut request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            let response = self.routes.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn get(&self, path: &str) -> (u16, String) {
            self.request("GET", path, LOCAL, "").await
        }
    }

    #[tokio::test]
    async fn answers_on_the_paths_of_the_go_operator() {
        let endpoint = Endpoint::new();
        for path in
            ["/healthz", "/healthz/", "/healthz/healthz", "/healthz/ping", "/readyz", "/readyz/", "/readyz/readyz"]
        {
            assert_eq!(endpoint.get(path).await, (200, "ok".to_owned()), "{path}");
        }
        assert_eq!(endpoint.get("/healthz/nosuch").await.0, 404);
        assert_eq!(endpoint.get("/readyz/nosuch").await.0, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_names_who_waits_while_liveness_stays() {
        let endpoint = Endpoint::new();
        let reconcile = endpoint.progress.started("TenantControlPlane", "ns/t", Duration::from_secs(30));
        let watch = endpoint.progress.watch("Secrets");
        tokio::time::advance(Duration::from_mins(2)).await;
        let (status, body) = endpoint.get("/readyz").await;
        assert_eq!(status, 503);
        assert_eq!(
            body,
            "the watch of Secrets has not delivered its objects yet\n\
             the reconcile of TenantControlPlane ns/t has been running for 120 s, past its deadline\n"
        );
        assert_eq!(endpoint.get("/readyz/progress").await.0, 503);
        assert_eq!(endpoint.get("/healthz").await.0, 200);
        watch.ready();
        drop(reconcile);
        assert_eq!(endpoint.get("/readyz").await.0, 200);
    }

    #[tokio::test]
    async fn the_log_level_changes_from_the_pod_itself_only() {
        let endpoint = Endpoint::new();
        assert_eq!(endpoint.get("/log-level").await, (200, "info\n".to_owned()));
        for stranger in ["10.0.0.7:1234", "[2001:db8::1]:1234", "[::ffff:10.0.0.7]:1234"] {
            let (status, body) = endpoint.request("PUT", "/log-level", stranger, "trace").await;
            assert!(status == 403 && body.contains("port-forward"), "{stranger}: {body}");
        }
        for local in [LOCAL, "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(endpoint.request("PUT", "/log-level", local, "debug\n").await, (200, "debug\n".to_owned()));
        }
        assert_eq!(endpoint.request("PUT", "/log-level", LOCAL, r#"{"level":"warn"}"#).await.1, "warn\n");
        let (status, body) = endpoint.request("PUT", "/log-level", LOCAL, "loud=very=much").await;
        assert!(status == 400 && body.contains("is not a log level"), "{body}");
        assert_eq!(endpoint.request("PUT", "/log-level", LOCAL, &"x".repeat(5000)).await.0, 413);
        assert_eq!(endpoint.get("/log-level").await.1, "warn\n");
    }
}
