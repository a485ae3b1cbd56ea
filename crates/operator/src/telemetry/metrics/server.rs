//! `/metrics`, in the form that the scraper asks for.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the metrics endpoint.
pub fn routes(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(metrics)
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let text = match metrics.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            return (StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written; see the log.\n")
                .into_response();
        }
    };
    let open_metrics = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("application/openmetrics-text"));
    let (kind, text) = if open_metrics { (OPEN_METRICS, text) } else { (PROMETHEUS, classic(&text)) };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// OpenMetrics text as Prometheus' older format: there a counter's type is declared under the name of its samples.
fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len() + 256);
    let mut help = "";
    for line in text.lines().filter(|line| *line != "# EOF") {
        if line.starts_with("# HELP ") {
            help = line;
            continue;
        }
        let declared = line.strip_prefix("# TYPE ").and_then(|declaration| declaration.split_once(' '));
        if let Some((name, kind)) = declared {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let text = help.strip_prefix("# HELP ").and_then(|h| h.strip_prefix(name)).unwrap_or_default();
            for part in ["# HELP ", name, suffix, text, "\n# TYPE ", name, suffix, " ", kind, "\n"] {
                classic.push_str(part);
            }
        } else {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_in_the_format_that_the_scraper_accepts() {
        let metrics = Metrics::new();
        metrics.event_reported("Normal", "Created");
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5".parse().unwrap());
        let modern = scrape(State(metrics.clone()), headers).await;
        assert_eq!(modern.headers()[header::CONTENT_TYPE], OPEN_METRICS);
        let modern = axum::body::to_bytes(modern.into_body(), usize::MAX).await.unwrap();
        let modern = String::from_utf8(modern.to_vec()).unwrap();
        assert!(modern.contains("# TYPE kamaji_events counter\n") && modern.ends_with("# EOF\n"), "{modern}");

        let older = scrape(State(metrics), HeaderMap::new()).await;
        assert_eq!(older.headers()[header::CONTENT_TYPE], PROMETHEUS);
        let older = axum::body::to_bytes(older.into_body(), usize::MAX).await.unwrap();
        let older = String::from_utf8(older.to_vec()).unwrap();
        assert!(
            older.contains(
                "# HELP kamaji_events_total Events reported on objects.\n# TYPE kamaji_events_total counter\n"
            )
        );
        assert!(older.contains("# TYPE kamaji_build_info gauge\n") && !older.contains("# EOF"), "{older}");
    }
}
