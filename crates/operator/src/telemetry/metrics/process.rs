//! Metrics about this process: its build, its resources (the names of the usual Prometheus process collector), and
//! whether it leads.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

type Written = Result<(), std::fmt::Error>;

/// `kamaji_build_info`. The values are set when the image is built.
#[derive(Debug)]
pub(super) struct Build;

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("KAMAJI_BUILD_COMMIT").unwrap_or("unknown")),
            ("dirty", option_env!("KAMAJI_BUILD_DIRTY").unwrap_or("unknown")),
            ("repo", option_env!("KAMAJI_BUILD_REPOSITORY").unwrap_or("unknown")),
            ("build_time", option_env!("KAMAJI_BUILD_TIME").unwrap_or("unknown")),
        ];
        encoder
            .encode_descriptor("kamaji_build_info", "How this operator was built.", None, MetricType::Gauge)?
            .encode_family(&labels)?
            .encode_gauge(&1_i64)
    }
}

/// `leader_election_master_status`: 1 for a Lease that this replica holds.
#[derive(Debug, Default)]
pub(super) struct Leading(Mutex<Vec<(String, bool)>>);

impl Leading {
    pub(super) fn set(&self, name: &str, held: bool) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match leases.iter_mut().find(|(known, _)| known == name) {
            Some((_, state)) => *state = held,
            None => leases.push((name.to_owned(), held)),
        }
    }

    pub(super) fn any(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(_, held)| *held)
    }
}

impl Collector for Leading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metric = encoder.encode_descriptor(
            "leader_election_master_status",
            "Whether this replica holds the Lease.",
            None,
            MetricType::Gauge,
        )?;
        for (name, held) in leases.iter() {
            metric.encode_family(&[("name", name.as_str())])?.encode_gauge(&i64::from(*held))?;
        }
        Ok(())
    }
}

/// `process_*`, read from the kernel during a scrape.
#[derive(Debug)]
pub(super) struct ThisProcess {
    started_at: SystemTime,
}

impl Default for ThisProcess {
    fn default() -> Self {
        Self { started_at: SystemTime::now() }
    }
}

/// What the kernel says about this process.
#[derive(Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    anonymous_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
}

/// Clock ticks per second in `/proc/self/stat`: a constant of Linux's ABI to user space (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time out of `/proc/self/stat`, sizes out of `/proc/self/status`.
fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The command's name is in parentheses and may hold anything; user and system time are fields 14 and 15.
    let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Usage {
        cpu_seconds: (f64::from(user) + f64::from(system)) / TICKS_PER_SECOND,
        resident_bytes: number("VmRSS")?.saturating_mul(1024),
        anonymous_bytes: number("RssAnon")?.saturating_mul(1024),
        virtual_bytes: number("VmSize")?.saturating_mul(1024),
        threads: number("Threads")?,
    })
}

fn usage() -> Option<Usage> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?, &std::fs::read_to_string("/proc/self/status").ok()?)
}

fn gauge<V: prometheus_client::encoding::EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &V,
) -> Written {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

impl Collector for ThisProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Written {
        let started_at = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        gauge(&mut encoder, "process_start_time_seconds", "Start of the process in seconds since 1970.", &started_at)?;
        // Where there is no /proc these rows are absent, not wrong.
        let Some(usage) = usage() else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time spent in seconds.",
            None,
            cpu.metric_type(),
        )?;
        cpu.encode(metric)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory in bytes.", usage.resident_bytes),
            ("process_anonymous_memory_bytes", "Resident anonymous memory in bytes.", usage.anonymous_bytes),
            ("process_virtual_memory_bytes", "Virtual memory in bytes.", usage.virtual_bytes),
            ("process_threads", "Threads of the process.", usage.threads),
        ] {
            gauge(&mut encoder, name, help, &value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn reads_cpu_time_behind_a_hostile_command_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 126 0 0 0 250 125 0 0 20 0 9 0 203604 3133440 410";
        let status = "Name:\tx\nVmSize:\t    3760 kB\nVmRSS:\t    2140 kB\nRssAnon:\t     148 kB\nThreads:\t9\n";
        let usage = parse(stat, status).unwrap();
        assert!((usage.cpu_seconds - 3.75).abs() < f64::EPSILON);
        assert_eq!((usage.resident_bytes, usage.anonymous_bytes, usage.threads), (2140 * 1024, 148 * 1024, 9));
        assert_eq!(parse("7 (a", status), None);
    }

    #[test]
    fn reports_what_this_very_process_uses() {
        let text = Metrics::new().render().unwrap();
        let value = |name: &str| -> f64 {
            text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1_700_000_000.0);
    }
}
