//! What else keeps the machine busy while something is timed: builds, browsers, other virtual machines.

use std::fs;
use std::time::{Duration, Instant};

use crate::operator::Operator;

/// Clock ticks per second in `/proc/stat`: a constant of Linux's ABI to user space (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// One look at the counters.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    at: Instant,
    machine: Duration,
    cluster: Option<Duration>,
}

/// Reads the counters now.
pub fn look(operator: &Operator) -> Look {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    Look { at: Instant::now(), machine: busy(&stat).unwrap_or_default(), cluster: operator.cluster_cpu() }
}

/// Part of the machine, from 0 to 1, that went to others than the cluster between two looks; `None` when nobody can tell.
pub fn share(earlier: &Look, later: &Look) -> Option<f64> {
    let cluster = later.cluster?.saturating_sub(earlier.cluster?);
    let others = later.machine.saturating_sub(earlier.machine).saturating_sub(cluster);
    let cores = u32::try_from(std::thread::available_parallelism().ok()?.get()).ok()?;
    let capacity = (later.at - earlier.at) * cores;
    (!capacity.is_zero()).then(|| others.as_secs_f64() / capacity.as_secs_f64())
}

/// As people write it.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "?".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// Time of all processors but idle and waiting for disks; what the hypervisor took away counts, it is missing as well.
fn busy(stat: &str) -> Option<Duration> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u32> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks.as_slice() else { return None };
    Some([user, nice, system, irq, softirq, steal].into_iter().map(|ticks| TICK * *ticks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy_and_stolen_time_is() {
        let stat = "cpu  100 1 50 9999 888 2 3 44 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy(stat), Some(Duration::from_secs(2)));
        assert_eq!(busy("intr 1"), None);
    }

    #[test]
    fn what_the_cluster_used_is_nobody_elses() {
        let began = Instant::now();
        let look = |seconds, machine, cluster| Look {
            at: began + Duration::from_secs(seconds),
            machine: Duration::from_secs(machine),
            cluster: Some(Duration::from_secs(cluster)),
        };
        let cores = std::thread::available_parallelism().unwrap().get();
        let share = share(&look(0, 100, 50), &look(10, 108, 54)).unwrap();
        assert!((share - 0.4 / f64::from(u32::try_from(cores).unwrap())).abs() < 1e-9);
        assert_eq!(super::share(&Look { cluster: None, ..look(0, 0, 0) }, &look(1, 1, 1)), None);
    }
}
