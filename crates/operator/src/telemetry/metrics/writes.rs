//! `kamaji_writes_total`: how many write requests the write door has sent, by cluster and verb.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use kamaji_apply::WriteCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

type Count = Box<dyn Fn() -> WriteCounts + Send + Sync>;

/// Where the counts come from.
#[derive(Default)]
pub(super) struct Writes(Mutex<Vec<(&'static str, Count)>>);

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes").finish_non_exhaustive()
    }
}

impl Writes {
    pub(super) fn add(&self, cluster: &'static str, count: Count) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((cluster, count));
    }
}

impl Collector for Writes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Write requests sent to Kubernetes APIs.";
        let mut metric = encoder.encode_descriptor("kamaji_writes", help, None, MetricType::Counter)?;
        for (cluster, count) in sources.iter() {
            let WriteCounts { apply, create, delete, event, migrate, patch, status } = count();
            for (verb, count) in [
                ("apply", apply),
                ("create", create),
                ("delete", delete),
                ("event", event),
                ("migrate", migrate),
                ("patch", patch),
                ("status", status),
            ] {
                let labels = [("cluster", *cluster), ("verb", verb)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
