//! Gauges about TenantControlPlanes and DataStores, read from the controllers' stores during a scrape.

use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::process::Leading;

/// Who knows every object. A scrape visits all of them a few times, one after the other: implementations read
/// shared stores, call no API and allocate nothing per object.
pub trait FleetSnapshot: std::fmt::Debug + Send + Sync {
    /// Shows each TenantControlPlane once.
    fn tenants(&self, visit: &mut dyn FnMut(&TenantSample<'_>));
    /// Shows each DataStore once.
    fn data_stores(&self, visit: &mut dyn FnMut(&DataStoreSample<'_>));
    /// Shows each TenantControlPlane whose size its datastore told.
    fn tenant_bytes(&self, visit: &mut dyn FnMut(&TenantBytesSample<'_>));
}

/// How a tenant's API is reached, as the `exposure_strategy` label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExposureStrategy {
    /// By its Service; an Ingress counts as one.
    Service,
    /// By a Gateway.
    Gateway,
    /// The spec does not say.
    Unknown,
}

impl ExposureStrategy {
    fn label(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::Unknown => "unknown",
        }
    }
}

/// Certificates of one tenant, counted by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Valid for longer than the renewal deadline.
    pub valid: u32,
    /// Valid, and within the renewal deadline.
    pub expiring: u32,
    /// Expired or unreadable.
    pub invalid: u32,
}

/// One TenantControlPlane.
#[derive(Clone, Debug)]
pub struct TenantSample<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// `spec.kubernetes.version`; empty becomes `unknown`.
    pub kubernetes_version: &'a str,
    /// Driver of its DataStore (`etcd`, `MySQL`, `PostgreSQL`, `NATS`); empty becomes `unknown`.
    pub data_store_driver: &'a str,
    /// `https://host:port`, or empty before there is one.
    pub address: &'a str,
    /// How its API is reached.
    pub exposure_strategy: ExposureStrategy,
    /// Phase; empty becomes `Unknown`. Ready means the phase `Ready` and no other.
    pub phase: &'a str,
    /// Its certificate Secrets.
    pub x509: Certificates,
    /// Its kubeconfig Secrets.
    pub kubeconfig: Certificates,
}

/// One DataStore.
#[derive(Clone, Debug)]
pub struct DataStoreSample<'a> {
    /// Name.
    pub name: &'a str,
    /// Driver, as for a tenant.
    pub driver: &'a str,
    /// Status of its validation condition (`True`, `False`); empty becomes `Unknown`.
    pub condition: &'a str,
    /// Whether it may be used.
    pub ready: bool,
    /// How many tenants use it.
    pub tenants: usize,
    /// Bytes on the disk of one server, as far as it told.
    pub size: Option<u64>,
    /// Bytes of these that hold data.
    pub in_use: Option<u64>,
    /// Bytes after which it takes no more writes.
    pub quota: Option<u64>,
}

/// What a TenantControlPlane keeps on its DataStore.
#[derive(Clone, Debug)]
pub struct TenantBytesSample<'a> {
    /// Name of the DataStore.
    pub data_store: &'a str,
    /// Namespace of the TenantControlPlane.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Bytes on the disk of one server.
    pub bytes: u64,
}

/// The collector of these gauges. It is silent until a source is published, and on a replica that does not act: sums
/// over replicas are true.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) source: Arc<OnceLock<Arc<dyn FleetSnapshot>>>,
    pub(super) leading: Arc<Leading>,
}

type Written = Result<(), std::fmt::Error>;

/// Writes one gauge with any number of label sets.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl FnOnce(&mut dyn FnMut(&[(&str, &str)], i64)),
) -> Written {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let mut outcome = Ok(());
    rows(&mut |labels, value| {
        if outcome.is_ok() {
            outcome = metric.encode_family(&labels).and_then(|mut row| row.encode_gauge(&value));
        }
    });
    outcome
}

fn or<'a>(value: &'a str, fallback: &'a str) -> &'a str {
    if value.is_empty() { fallback } else { value }
}

fn word(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        match self.source.get() {
            Some(fleet) if self.leading.any() => {
                tenants(fleet.as_ref(), &mut encoder)?;
                data_stores(fleet.as_ref(), &mut encoder)?;
                sizes(fleet.as_ref(), &mut encoder)
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn tenants(fleet: &dyn FleetSnapshot, encoder: &mut DescriptorEncoder<'_>) -> Written {
    gauge(encoder, "kamaji_tenant_control_plane_info", "What each TenantControlPlane is.", |row| {
        fleet.tenants(&mut |t| {
            let labels = [
                ("tcp_namespace", t.namespace),
                ("tcp_name", t.name),
                ("kubernetes_version", or(t.kubernetes_version, "unknown")),
                ("datastore_driver", or(t.data_store_driver, "unknown")),
                ("address", t.address),
                ("exposure_strategy", t.exposure_strategy.label()),
            ];
            row(&labels, 1);
        });
    })?;
    let (mut ready, mut waiting) = (0, 0);
    gauge(encoder, "kamaji_tenant_control_plane_status", "How each TenantControlPlane is.", |row| {
        fleet.tenants(&mut |t| {
            let is_ready = t.phase == "Ready";
            *(if is_ready { &mut ready } else { &mut waiting }) += 1;
            let labels = [
                ("tcp_namespace", t.namespace),
                ("tcp_name", t.name),
                ("status", or(t.phase, "Unknown")),
                ("ready", word(is_ready)),
            ];
            row(&labels, 1);
        });
    })?;
    gauge(encoder, "kamaji_tenant_control_planes_current", "TenantControlPlanes by readiness.", |row| {
        row(&[("ready", "true")], ready);
        row(&[("ready", "false")], waiting);
    })?;
    gauge(encoder, "kamaji_certificates_current", "Certificates of each TenantControlPlane by state.", |row| {
        fleet.tenants(&mut |t| {
            for (strategy, counts) in [("x509", t.x509), ("kubeconfig", t.kubeconfig)] {
                let states = [("valid", counts.valid), ("expiring", counts.expiring), ("invalid", counts.invalid)];
                for (status, count) in states {
                    let labels = [
                        ("tcp_namespace", t.namespace),
                        ("tcp_name", t.name),
                        ("status", status),
                        ("strategy", strategy),
                    ];
                    row(&labels, count.into());
                }
            }
        });
    })
}

fn data_stores(fleet: &dyn FleetSnapshot, encoder: &mut DescriptorEncoder<'_>) -> Written {
    gauge(encoder, "kamaji_datastore_info", "What each DataStore is.", |row| {
        fleet.data_stores(&mut |d| row(&[("datastore_name", d.name), ("driver", or(d.driver, "unknown"))], 1));
    })?;
    gauge(encoder, "kamaji_datastore_status", "How each DataStore is.", |row| {
        fleet.data_stores(&mut |d| {
            let labels = [("datastore_name", d.name), ("status", or(d.condition, "Unknown")), ("ready", word(d.ready))];
            row(&labels, 1);
        });
    })?;
    gauge(encoder, "kamaji_datastores_current", "Readiness of each DataStore; one of its two rows is 1.", |row| {
        fleet.data_stores(&mut |d| {
            for ready in [true, false] {
                let labels = [("datastore_name", d.name), ("ready", word(ready)), ("driver", or(d.driver, "unknown"))];
                row(&labels, i64::from(ready == d.ready));
            }
        });
    })
}

/// What the datastores said last: nothing is asked of them during a scrape.
fn sizes(fleet: &dyn FleetSnapshot, encoder: &mut DescriptorEncoder<'_>) -> Written {
    type Told = fn(&DataStoreSample<'_>) -> Option<u64>;
    let told: [(&str, &str, Told); 4] = [
        ("kamaji_datastore_tenants", "TenantControlPlanes on each DataStore.", |d| u64::try_from(d.tenants).ok()),
        ("kamaji_datastore_size_bytes", "Bytes of each datastore on the disk of one server.", |d| d.size),
        ("kamaji_datastore_in_use_bytes", "Bytes of each datastore that hold data.", |d| d.in_use),
        ("kamaji_datastore_quota_bytes", "Bytes after which each datastore takes no more writes.", |d| d.quota),
    ];
    for (name, help, value) in told {
        gauge(encoder, name, help, |row| {
            fleet.data_stores(&mut |d| {
                if let Some(value) = value(d) {
                    row(&[("datastore_name", d.name)], whole(value));
                }
            });
        })?;
    }
    gauge(encoder, "kamaji_datastore_tenant_bytes", "Bytes of each TenantControlPlane on its DataStore.", |row| {
        fleet.tenant_bytes(&mut |t| {
            let labels = [("datastore_name", t.data_store), ("tcp_namespace", t.namespace), ("tcp_name", t.name)];
            row(&labels, whole(t.bytes));
        });
    })
}

fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[derive(Debug)]
    struct TwoTenants;

    impl FleetSnapshot for TwoTenants {
        fn tenants(&self, visit: &mut dyn FnMut(&TenantSample<'_>)) {
            let ready = TenantSample {
                namespace: "ns",
                name: "a",
                kubernetes_version: "v1.36.3",
                data_store_driver: "etcd",
                address: "https://10.0.0.1:6443",
                exposure_strategy: ExposureStrategy::Service,
                phase: "Ready",
                x509: Certificates { valid: 5, expiring: 1, invalid: 0 },
                kubeconfig: Certificates { valid: 4, expiring: 0, invalid: 0 },
            };
            visit(&ready);
            visit(&TenantSample {
                name: "b\"\n",
                kubernetes_version: "",
                data_store_driver: "",
                address: "",
                exposure_strategy: ExposureStrategy::Gateway,
                phase: "",
                ..ready
            });
        }

        fn data_stores(&self, visit: &mut dyn FnMut(&DataStoreSample<'_>)) {
            let told = DataStoreSample {
                name: "default",
                driver: "PostgreSQL",
                condition: "True",
                ready: true,
                tenants: 2,
                size: Some(4096),
                in_use: Some(1024),
                quota: Some(u64::MAX),
            };
            visit(&told);
            visit(&DataStoreSample { name: "mute", tenants: 0, size: None, in_use: None, quota: None, ..told });
        }

        fn tenant_bytes(&self, visit: &mut dyn FnMut(&TenantBytesSample<'_>)) {
            visit(&TenantBytesSample { data_store: "default", namespace: "ns", name: "a", bytes: 512 });
        }
    }

    #[test]
    fn gauges_have_the_labels_of_the_contract() {
        let metrics = Metrics::new();
        metrics.leading("kamaji.clastix.io", true);
        metrics.publish(Arc::new(TwoTenants));
        let text = metrics.render().unwrap();
        for line in [
            r#"kamaji_tenant_control_plane_info{tcp_namespace="ns",tcp_name="a",kubernetes_version="v1.36.3",datastore_driver="etcd",address="https://10.0.0.1:6443",exposure_strategy="service"} 1"#,
            r#"kamaji_tenant_control_plane_info{tcp_namespace="ns",tcp_name="b\"\n",kubernetes_version="unknown",datastore_driver="unknown",address="",exposure_strategy="gateway"} 1"#,
            r#"kamaji_tenant_control_plane_status{tcp_namespace="ns",tcp_name="a",status="Ready",ready="true"} 1"#,
            r#"kamaji_tenant_control_plane_status{tcp_namespace="ns",tcp_name="b\"\n",status="Unknown",ready="false"} 1"#,
            r#"kamaji_tenant_control_planes_current{ready="true"} 1"#,
            r#"kamaji_tenant_control_planes_current{ready="false"} 1"#,
            r#"kamaji_datastore_info{datastore_name="default",driver="PostgreSQL"} 1"#,
            r#"kamaji_datastore_status{datastore_name="default",status="True",ready="true"} 1"#,
            r#"kamaji_datastores_current{datastore_name="default",ready="true",driver="PostgreSQL"} 1"#,
            r#"kamaji_datastores_current{datastore_name="default",ready="false",driver="PostgreSQL"} 0"#,
            r#"kamaji_certificates_current{tcp_namespace="ns",tcp_name="a",status="expiring",strategy="x509"} 1"#,
            r#"kamaji_certificates_current{tcp_namespace="ns",tcp_name="a",status="invalid",strategy="kubeconfig"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let certificates = text.lines().filter(|l| l.starts_with("kamaji_certificates_current{")).count();
        assert_eq!(certificates, 12, "six rows for each of two tenants");
    }

    #[test]
    fn a_datastore_that_told_nothing_of_its_size_has_a_number_of_tenants_only() {
        let metrics = Metrics::new();
        metrics.leading("kamaji.clastix.io", true);
        metrics.publish(Arc::new(TwoTenants));
        let text = metrics.render().unwrap();
        for line in [
            r#"kamaji_datastore_tenants{datastore_name="default"} 2"#,
            r#"kamaji_datastore_tenants{datastore_name="mute"} 0"#,
            r#"kamaji_datastore_size_bytes{datastore_name="default"} 4096"#,
            r#"kamaji_datastore_in_use_bytes{datastore_name="default"} 1024"#,
            r#"kamaji_datastore_quota_bytes{datastore_name="default"} 9223372036854775807"#,
            r#"kamaji_datastore_tenant_bytes{datastore_name="default",tcp_namespace="ns",tcp_name="a"} 512"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let bytes_of_the_mute = |l: &&str| l.contains(r#"datastore_name="mute""#) && l.contains("_bytes");
        assert_eq!(text.lines().find(bytes_of_the_mute), None, "what is not known is not shown as zero");
    }

    #[test]
    fn a_standby_reports_no_objects() {
        let metrics = Metrics::new();
        metrics.publish(Arc::new(TwoTenants));
        metrics.leading("kamaji.clastix.io", false);
        let text = metrics.render().unwrap();
        assert!(!text.contains("kamaji_tenant_control_plane") && !text.contains("kamaji_datastore"), "{text}");
    }
}
