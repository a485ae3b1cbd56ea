//! P5 and P6: what the operator holds, uses and writes while nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use kamaji_api::contract;
use serde::Serialize;
use serde_json::{Value, json};

use super::Bench;
use crate::inventory::{self, Written};
use crate::report::{Measure, Verdict};
use crate::statistics::{mean, mebibytes, millicpu, number};
use crate::tenant::NAMESPACE;

/// MiB of the operator without tenants.
const P5_BASE: f64 = 16.0;
/// MiB for each tenant.
const P5_EACH: f64 = 0.15;
/// Thousandths of a processor for each tenant.
const P6_TARGET: f64 = 0.02;
/// Parts of a rest: their scatter tells how exactly the whole is known.
const PARTS: u32 = 10;
/// A difference is told from nothing by so many standard errors.
const CERTAIN: f64 = 2.0;

/// What was seen during a time at rest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// Length in seconds.
    pub seconds: f64,
    /// CPU of the operator, in thousandths of a processor.
    pub millicpu: f64,
    /// Standard error of that, from parts of the time.
    pub millicpu_error: f64,
    /// Anonymous memory of the operator at the end, in MiB.
    pub anonymous_mib: f64,
    /// Write requests by cluster and verb.
    pub writes: BTreeMap<String, f64>,
    /// Objects that the operator wrote.
    pub written: Vec<Written>,
    /// Objects that others wrote, such as the kubelet.
    pub written_by_others: Vec<Written>,
    /// Whether it had come to rest before.
    pub was_quiet: bool,
    /// Other tenants of the cluster that somebody created, edited or deleted meanwhile: then this was no rest.
    pub disturbed_by: Vec<String>,
}

/// Waits until the operator is quiet, then looks for `length` at what it does. `namespaces` besides its own are looked at.
pub async fn observe(bench: &Bench, length: Duration, namespace: &str) -> Result<Rest> {
    let (metrics, was_quiet) = bench.operator.rest().await?;
    let namespaces = [NAMESPACE, namespace];
    let before = bench.kinds.all(&bench.client, &namespaces).await?;
    let others = bench.kinds.tenants_elsewhere(&bench.client, NAMESPACE).await?;
    let began = Instant::now();
    let mut parts = Vec::new();
    let mut later = bench.operator.usage()?;
    for _ in 0..PARTS {
        let (from, earlier) = (Instant::now(), later);
        tokio::time::sleep(length / PARTS).await;
        later = bench.operator.usage()?;
        parts.push(millicpu(later.cpu.saturating_sub(earlier.cpu), from.elapsed()));
    }
    let wall = began.elapsed();
    let (millicpu, millicpu_error) = mean(&parts).unwrap_or_default();
    let after = bench.kinds.all(&bench.client, &namespaces).await?;
    let others_later = bench.kinds.tenants_elsewhere(&bench.client, NAMESPACE).await?;
    bench.operator.check_same().await?;
    let (written, written_by_others) = by_writer(inventory::difference(&before, &after));
    let rest = Rest {
        seconds: wall.as_secs_f64(),
        millicpu,
        millicpu_error,
        anonymous_mib: mebibytes(later.anonymous_bytes),
        writes: bench.operator.metrics().await?.writes_since(&metrics),
        written,
        written_by_others,
        was_quiet,
        disturbed_by: others.symmetric_difference(&others_later).cloned().collect(),
    };
    eprintln!(
        "  {:.2} mCPU, {:.1} MiB, {} write requests, {} objects changed in {:.0} s",
        rest.millicpu,
        rest.anonymous_mib,
        total(&rest.writes),
        rest.written.len(),
        rest.seconds
    );
    if !rest.disturbed_by.is_empty() {
        eprintln!("  somebody else works with the cluster: {:?}", rest.disturbed_by);
    }
    Ok(rest)
}

/// A plain sum of nothing would be -0.
fn total(requests: &BTreeMap<String, f64>) -> f64 {
    requests.values().fold(0.0, |sum, count| sum + count)
}

fn by_writer(written: Vec<Written>) -> (Vec<Written>, Vec<Written>) {
    // Creates and patches have field managers of their own, which begin with the operator's.
    written.into_iter().partition(|one| one.writer.starts_with(contract::FIELD_MANAGER))
}

/// What a restart of the operator wrote.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarted {
    /// Anonymous memory afterwards, in MiB.
    pub anonymous_mib: f64,
    /// CPU until it had come to rest, in seconds.
    pub cpu: f64,
    /// Write requests by cluster and verb.
    pub writes: BTreeMap<String, f64>,
    /// Objects that the operator wrote.
    pub written: Vec<Written>,
    /// As [`Rest::disturbed_by`].
    pub disturbed_by: Vec<String>,
}

/// Restarts the operator among tenants that are Ready.
pub async fn restart(bench: &mut Bench, namespace: &str) -> Result<Restarted> {
    let namespaces = [NAMESPACE, namespace];
    let before = bench.kinds.all(&bench.client, &namespaces).await?;
    let others = bench.kinds.tenants_elsewhere(&bench.client, NAMESPACE).await?;
    bench.operator.restart(&bench.kubectl).await?;
    let (metrics, _) = bench.operator.rest().await?;
    let usage = bench.operator.usage()?;
    let after = bench.kinds.all(&bench.client, &namespaces).await?;
    let (written, _) = by_writer(inventory::difference(&before, &after));
    let writes = metrics.writes().into_iter().filter(|(_, count)| *count != 0.0).collect();
    let others_later = bench.kinds.tenants_elsewhere(&bench.client, NAMESPACE).await?;
    let restarted = Restarted {
        anonymous_mib: mebibytes(usage.anonymous_bytes),
        cpu: usage.cpu.as_secs_f64(),
        writes,
        written,
        disturbed_by: others.symmetric_difference(&others_later).cloned().collect(),
    };
    eprintln!(
        "  after a restart: {:.1} MiB, {:.2} s CPU, {} write requests",
        restarted.anonymous_mib,
        restarted.cpu,
        total(&restarted.writes)
    );
    Ok(restarted)
}

/// P5.
pub fn judge_memory(count: usize, idle: &Rest, loaded: &Rest, restarted: Option<&Restarted>) -> Measure {
    let target = P5_BASE + P5_EACH * number(count);
    let each = (loaded.anonymous_mib - idle.anonymous_mib) / number(count);
    let fresh = restarted.map(|restarted| (restarted.anonymous_mib - idle.anonymous_mib) / number(count));
    let with = |fresh: Option<f64>| fresh.map_or(String::new(), |fresh| format!(", {fresh:.2} after a restart"));
    Measure {
        id: "P5",
        what: "operator anonymous memory".into(),
        target: format!("{P5_BASE} MiB + {P5_EACH} MiB per tenant = {target:.1} MiB"),
        value: format!(
            "{:.1} MiB = {:.1} MiB idle + {each:.2} MiB per tenant{}",
            loaded.anonymous_mib,
            idle.anonymous_mib,
            with(fresh)
        ),
        verdict: Verdict::met(loaded.anonymous_mib <= target),
        numbers: json!({
            "idle": idle.anonymous_mib,
            "loaded": loaded.anonymous_mib,
            "perTenant": each,
            "afterRestart": restarted.map(|restarted| restarted.anonymous_mib),
            "perTenantAfterRestart": fresh,
        }),
    }
}

/// No verdict over a time in which somebody else kept the operator busy.
fn unless_disturbed(verdict: Verdict, disturbed_by: &[&Vec<String>]) -> Verdict {
    if disturbed_by.iter().all(|others| others.is_empty()) { verdict } else { Verdict::NotMeasured }
}

/// P6: CPU, writes, and writes over a restart.
pub fn judge_rest(count: usize, idle: &Rest, loaded: &Rest, restarted: Option<&Restarted>) -> Vec<Measure> {
    let each = (loaded.millicpu - idle.millicpu) / number(count);
    let error = CERTAIN * loaded.millicpu_error.hypot(idle.millicpu_error) / number(count);
    let verdict = match each {
        each if each + error <= P6_TARGET => Verdict::Met,
        each if each - error > P6_TARGET => Verdict::Missed,
        // A few tenants cost less than the operator's own use varies.
        _ => Verdict::NotMeasured,
    };
    let target = "no write";
    let mut at_rest = writes("at rest: writes", target, &loaded.writes, &loaded.written, loaded);
    at_rest.verdict = unless_disturbed(at_rest.verdict, &[&loaded.disturbed_by]);
    let mut measures = vec![
        Measure {
            id: "P6",
            what: "at rest: operator CPU per tenant".into(),
            target: format!("{P6_TARGET} mCPU"),
            value: format!(
                "{each:.3} ± {error:.3} mCPU ({:.2} in all, {:.2} without tenants)",
                loaded.millicpu, idle.millicpu
            ),
            verdict: unless_disturbed(verdict, &[&idle.disturbed_by, &loaded.disturbed_by]),
            numbers: json!({"perTenant": each, "error": error, "idle": idle, "loaded": loaded.millicpu}),
        },
        at_rest,
    ];
    measures.push(match restarted {
        Some(restarted) => {
            let what = "over an operator restart: writes";
            let mut measure = writes(what, target, &restarted.writes, &restarted.written, restarted);
            measure.verdict = unless_disturbed(measure.verdict, &[&restarted.disturbed_by]);
            measure
        }
        None => Measure::not_measured(
            "P6",
            "over an operator restart: writes",
            target,
            "an operator outside a pod, or --keep-operator",
        ),
    });
    measures
}

fn writes(
    what: &str,
    target: &str,
    requests: &BTreeMap<String, f64>,
    written: &[Written],
    numbers: impl Serialize,
) -> Measure {
    let sent = total(requests);
    Measure {
        id: "P6",
        what: what.into(),
        target: target.into(),
        value: format!("{sent} requests, {} objects changed", written.len()),
        verdict: Verdict::met(sent == 0.0 && written.is_empty()),
        numbers: serde_json::to_value(numbers).unwrap_or(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(millicpu: f64, anonymous_mib: f64) -> Rest {
        Rest {
            seconds: 60.0,
            millicpu,
            millicpu_error: 0.01,
            anonymous_mib,
            writes: BTreeMap::new(),
            written: Vec::new(),
            written_by_others: Vec::new(),
            was_quiet: true,
            disturbed_by: Vec::new(),
        }
    }

    #[test]
    fn memory_is_judged_by_what_is_held_in_all() {
        let measure = judge_memory(8, &rest(0.2, 12.0), &rest(0.3, 17.1), None);
        assert_eq!(measure.verdict, Verdict::Met);
        assert!(measure.value.contains("0.64 MiB per tenant"), "{}", measure.value);
        assert_eq!(judge_memory(8, &rest(0.2, 12.0), &rest(0.3, 17.3), None).verdict, Verdict::Missed);
    }

    #[test]
    fn what_the_idle_operator_uses_is_no_tenants() {
        let measures = judge_rest(10, &rest(0.25, 12.0), &rest(0.40, 13.0), None);
        assert_eq!(measures[0].verdict, Verdict::Met);
        assert!(measures[0].value.starts_with("0.015 ± 0.003 mCPU"), "{}", measures[0].value);
    }

    #[test]
    fn one_tenant_is_lost_in_the_noise() {
        assert_eq!(judge_rest(1, &rest(0.25, 12.0), &rest(0.26, 13.0), None)[0].verdict, Verdict::NotMeasured);
        assert_eq!(judge_rest(1, &rest(0.25, 12.0), &rest(0.96, 13.0), None)[0].verdict, Verdict::Missed);
    }

    #[test]
    fn one_request_is_a_miss_even_when_it_changed_nothing() {
        let mut loaded = rest(0.4, 13.0);
        loaded.writes.insert("cluster=\"management\",verb=\"status\"".into(), 1.0);
        assert_eq!(judge_rest(10, &rest(0.4, 12.0), &loaded, None)[1].verdict, Verdict::Missed);
    }

    #[test]
    fn a_rest_that_somebody_disturbed_proves_nothing() {
        let mut loaded = rest(9.0, 13.0);
        loaded.writes.insert("cluster=\"management\",verb=\"apply\"".into(), 7.0);
        loaded.disturbed_by.push("n/other alive, generation 1, u".into());
        let measures = judge_rest(10, &rest(0.4, 12.0), &loaded, None);
        assert!(measures.iter().all(|measure| measure.verdict == Verdict::NotMeasured));
    }

    #[test]
    fn what_the_kubelet_writes_is_not_the_operators() {
        let one = |writer: &str| Written { object: "Pod n/a".into(), writer: writer.into(), what: "changed" };
        let (ours, others) = by_writer(vec![one("kamaji"), one("kamaji-patch"), one("kubelet")]);
        assert_eq!((ours.len(), others.len()), (2, 1));
    }
}
