//! The other half of P3: the same Deployments, applied by a person who has everything else ready.

use anyhow::Result;
use serde_json::json;

use super::batch::Batch;
use super::{Bench, patience};
use crate::copies::{self, Copy};
use crate::neighbours;
use crate::report::{Measure, Verdict};
use crate::seen::last;
use crate::tenant::store_name;

/// Part above the time by hand that is allowed.
const P3_TARGET: f64 = 0.05;
/// Both halves must have had the same machine: so much may the part differ that others took.
const SAME_MACHINE: f64 = 0.1;

/// How the copies came up.
#[derive(Debug, Clone, Copy)]
pub struct ByHand {
    /// Seconds until the last was available; `None` when one never was.
    pub all_available: Option<f64>,
    /// Part of the machine that went to others meanwhile.
    pub others: Option<f64>,
}

/// Reads the objects of all tenants of the batch.
pub async fn copy(bench: &Bench, batch: &Batch) -> Result<Vec<Copy>> {
    let mut copied = Vec::new();
    for name in &batch.names {
        copied.push(copies::of_tenant(&bench.client, name).await?);
    }
    Ok(copied)
}

/// Applies everything but the Deployments, then these with one command; gives the seconds until all are available.
pub async fn run(bench: &mut Bench, names: &[String], copied: &[Copy]) -> Result<ByHand> {
    for name in names {
        bench.etcd.grant(&store_name(name)).await?;
    }
    let rest: Vec<_> = copied.iter().flat_map(|copy| copy.rest.clone()).collect();
    bench.kubectl.apply("applying the copies", &rest).await?;
    let mut deployments = bench.deployments().await?;
    let objects: Vec<_> = copied.iter().map(|copy| copy.deployment.clone()).collect();
    let earlier = neighbours::look(&bench.operator);
    let applied = bench.kubectl.apply("applying the copied Deployments", &objects).await?;
    let (seen, _) = deployments.all_done(names, patience(names.len())).await;
    let others = neighbours::share(&earlier, &neighbours::look(&bench.operator));
    let all = last(applied.began, names.iter().map(|name| seen.get(name).and_then(|one| one.done)));
    match all {
        Some(seconds) => eprintln!("  all {} copies available after {seconds:.1} s", names.len()),
        None => eprintln!("  not all copies are available after {} s", patience(names.len()).as_secs()),
    }
    copies::remove(&bench.client, &bench.kubectl).await?;
    bench.etcd.sweep().await?;
    bench.expect_empty().await?;
    Ok(ByHand { all_available: all, others })
}

/// P3.
pub fn judge(batch: &Batch, by_hand: Option<ByHand>) -> Measure {
    let count = batch.names.len();
    let target = format!("all Ready, within {:.0} % of the Deployments by hand", P3_TARGET * 100.0);
    let what = format!("{count} tenants at once");
    let (available, others) = by_hand.map_or((None, None), |by_hand| (by_hand.all_available, by_hand.others));
    let numbers = |ratio: Option<f64>| json!({"ratio": ratio, "byHand": available, "shareOfOthersByHand": others, "tenants": batch.numbers()});
    match (batch.all_ready, available) {
        (Some(ready), Some(by_hand)) => {
            let above = ready / by_hand - 1.0;
            let differ = batch.others.zip(others).is_some_and(|(one, other)| (one - other).abs() > SAME_MACHINE);
            let busy = format!("{} and {}", neighbours::percent(batch.others), neighbours::percent(others));
            let verdict = if differ { Verdict::NotMeasured } else { Verdict::met(above <= P3_TARGET) };
            Measure {
                id: "P3",
                what,
                target,
                value: format!(
                    "all Ready after {ready:.1} s, by hand {by_hand:.1} s: {:+.1} % (others took {busy} of the machine)",
                    above * 100.0
                ),
                verdict,
                numbers: numbers(Some(above + 1.0)),
            }
        }
        (None, _) => {
            let ready = count - batch.stuck.len();
            let value = format!("{ready} Ready after {} s", patience(count).as_secs());
            Measure { id: "P3", what, target, value, verdict: Verdict::Missed, numbers: numbers(None) }
        }
        (Some(ready), None) => {
            let value = format!("all Ready after {ready:.1} s; the Deployments by hand never were all available");
            Measure { id: "P3", what, target, value, verdict: Verdict::NotMeasured, numbers: numbers(None) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant;
    use std::collections::BTreeMap;

    fn batch(all_ready: Option<f64>, stuck: &[&str]) -> Batch {
        Batch {
            names: tenant::names("t", 4),
            all_ready,
            ready: BTreeMap::new(),
            written: BTreeMap::new(),
            stuck: stuck.iter().map(|name| ((*name).to_owned(), "waits".to_owned())).collect(),
            operator_cpu: 0.4,
            others: Some(0.02),
            kubectl: 0.2,
        }
    }

    fn by_hand(seconds: f64, others: f64) -> ByHand {
        ByHand { all_available: Some(seconds), others: Some(others) }
    }

    #[test]
    fn a_build_beside_one_half_spoils_the_comparison() {
        assert_eq!(judge(&batch(Some(30.0), &[]), Some(by_hand(20.0, 0.5))).verdict, Verdict::NotMeasured);
        assert_eq!(judge(&batch(Some(30.0), &[]), Some(by_hand(20.0, 0.05))).verdict, Verdict::Missed);
    }

    #[test]
    fn a_tenant_that_never_gets_ready_is_a_miss_however_fast_the_others_were() {
        let measure = judge(&batch(None, &["t-0002"]), Some(by_hand(20.0, 0.02)));
        assert_eq!((measure.verdict, measure.value.as_str()), (Verdict::Missed, "3 Ready after 140 s"));
    }

    #[test]
    fn five_percent_more_than_by_hand_is_met_and_six_is_not() {
        assert_eq!(judge(&batch(Some(20.9), &[]), Some(by_hand(20.0, 0.02))).verdict, Verdict::Met);
        assert_eq!(judge(&batch(Some(21.2), &[]), Some(by_hand(20.0, 0.02))).verdict, Verdict::Missed);
        assert_eq!(judge(&batch(Some(21.2), &[]), None).verdict, Verdict::NotMeasured);
    }
}
