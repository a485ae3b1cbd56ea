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
    let sentences: String = stuck.iter().map(|who| format!("{who}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, sentences).into_response()
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
