//! Metrics in the names, labels and buckets of the Go operator (`docs/reference/compatibility.md`, Metrics), and a few
//! of our own.
//!
//! Counters and histograms are counted as things happen. Gauges about objects are not kept: they are read from the
//! controllers' stores at the moment of a scrape, so a reconcile pays nothing for them.

mod fleet;
mod process;
pub mod server;
mod writes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kamaji_apply::WriteCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use fleet::{Certificates, DataStoreSample, ExposureStrategy, FleetSnapshot, TenantBytesSample, TenantSample};

/// Upper bounds in seconds of `kamaji_handler_time_seconds`.
pub const HANDLER_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5,
    1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabels {
    handler: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    r#type: &'static str,
    reason: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(HANDLER_BUCKETS)
}

/// Everything that is counted. A clone counts into the same registry.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    handlers: Histograms<HandlerLabels>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
    writes: Arc<writes::Writes>,
    events: Family<EventLabels, Counter>,
    fleet: Arc<OnceLock<Arc<dyn FleetSnapshot>>>,
    leading: Arc<process::Leading>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An own registry with all metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let handlers = Histograms::new_with_constructor(seconds as fn() -> Histogram);
        let reconciles = Family::default();
        let reconcile_seconds = Histograms::new_with_constructor(seconds as fn() -> Histogram);
        let writes = Arc::new(writes::Writes::default());
        let events = Family::default();
        let fleet = Arc::new(OnceLock::new());
        let leading = Arc::new(process::Leading::default());
        // Names go in without `_total`: the encoder adds it to counters. `_info` is part of a gauge's name here,
        // because the library's own info type would add a second one.
        registry.register("kamaji_handler_time_seconds", "Time that one step of a reconcile took", handlers.clone());
        registry.register("controller_runtime_reconcile", "Reconciles by controller and result", reconciles.clone());
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Time that one reconcile took",
            reconcile_seconds.clone(),
        );
        registry.register("kamaji_events", "Events reported on objects", events.clone());
        registry.register_collector(Box::new(Arc::clone(&writes)));
        registry
            .register_collector(Box::new(fleet::Fleet { source: Arc::clone(&fleet), leading: Arc::clone(&leading) }));
        registry.register_collector(Box::new(process::Build));
        registry.register_collector(Box::new(process::ThisProcess::default()));
        registry.register_collector(Box::new(Arc::clone(&leading)));
        Self(Arc::new(Inner { registry, handlers, reconciles, reconcile_seconds, writes, events, fleet, leading }))
    }

    /// Counts that step `handler` of a reconcile took `time`. The names are those of the contract's handler order.
    pub fn handler_ended(&self, handler: &'static str, time: Duration) {
        self.0.handlers.get_or_create(&HandlerLabels { handler }).observe(time.as_secs_f64());
    }

    /// Counts one reconcile of `controller` that ended with `result` (`success`, `error`, `requeue_after`) after `time`.
    pub fn reconcile_ended(&self, controller: &'static str, result: &'static str, time: Duration) {
        self.0.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.0.reconcile_seconds.get_or_create(&ControllerLabels { controller }).observe(time.as_secs_f64());
    }

    /// Reports the writes to `cluster` (`management`, `tenants`) that `count` has counted so far, by verb. It is called
    /// during each scrape.
    pub fn report_writes(&self, cluster: &'static str, count: impl Fn() -> WriteCounts + Send + Sync + 'static) {
        self.0.writes.add(cluster, Box::new(count));
    }

    /// Counts one Event of `event_type` (`Normal`, `Warning`) with `reason`.
    pub fn event_reported(&self, event_type: &'static str, reason: &str) {
        self.0.events.get_or_create(&EventLabels { r#type: event_type, reason: reason.to_owned() }).inc();
    }

    /// Gives the gauges about objects their source. They are shown while this replica leads. The first source stays.
    pub fn publish(&self, fleet: Arc<dyn FleetSnapshot>) {
        if self.0.fleet.set(fleet).is_err() {
            tracing::warn!("a second source of gauges was offered and is not used");
        }
    }

    /// Says whether this replica holds the Lease `name`.
    pub fn leading(&self, name: &str, held: bool) {
        self.0.leading.set(name, held);
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a label set cannot be written, which is a mistake in this module.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_as_in_the_contract() {
        let metrics = Metrics::new();
        metrics.handler_ended("deployment", Duration::from_millis(7));
        metrics.reconcile_ended("tenantcontrolplane", "success", Duration::from_millis(20));
        metrics.report_writes("management", || WriteCounts { apply: 5, ..WriteCounts::default() });
        metrics.event_reported("Normal", "CertificateIssued");
        metrics.leading("kamaji.clastix.io", true);
        let text = metrics.render().unwrap();
        for line in [
            "# TYPE kamaji_build_info gauge",
            "# TYPE kamaji_handler_time_seconds histogram",
            "kamaji_handler_time_seconds_bucket{le=\"0.005\",handler=\"deployment\"} 0",
            "kamaji_handler_time_seconds_bucket{le=\"0.01\",handler=\"deployment\"} 1",
            "kamaji_handler_time_seconds_count{handler=\"deployment\"} 1",
            "controller_runtime_reconcile_total{controller=\"tenantcontrolplane\",result=\"success\"} 1",
            "controller_runtime_reconcile_time_seconds_count{controller=\"tenantcontrolplane\"} 1",
            "kamaji_writes_total{cluster=\"management\",verb=\"apply\"} 5",
            "kamaji_events_total{type=\"Normal\",reason=\"CertificateIssued\"} 1",
            "leader_election_master_status{name=\"kamaji.clastix.io\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("\nkamaji_build_info{version=\""), "{text}");
        assert!(!text.contains("info_info") && !text.contains("total_total"), "{text}");
    }

    #[test]
    fn the_buckets_are_those_of_the_contract() {
        let metrics = Metrics::new();
        metrics.handler_ended("ca", Duration::ZERO);
        let text = metrics.render().unwrap();
        let bounds: Vec<f64> = text
            .lines()
            .filter_map(|l| l.strip_prefix("kamaji_handler_time_seconds_bucket{le=\""))
            .filter_map(|l| l.split('"').next()?.parse().ok())
            .collect();
        let contract = "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 \
                        2.5 3 3.5 4 4.5 5 6 7 8 9 10 15 20 25 30 40 50 60 inf";
        let contract: Vec<f64> = contract.split_whitespace().map(|b| b.parse().unwrap()).collect();
        assert_eq!(bounds, contract);
    }
}
