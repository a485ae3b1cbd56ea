//! P1 and P2: one tenant on a machine that does nothing else, and its floor, in turns.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;

use super::{Bench, patience, seconds};
use crate::copies;
use crate::neighbours;
use crate::report::{Measure, Verdict};
use crate::statistics::median;
use crate::tenant::store_name;

/// More than the floor that is allowed, in seconds.
const P1_TARGET: f64 = 0.5;
/// Seconds.
const P2_TARGET: f64 = 0.25;

/// Seconds since `kubectl apply` was started.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    /// `kubectl` had ended.
    tenant_kubectl: f64,
    /// The tenant was seen by a watch.
    tenant_seen: f64,
    /// Its Deployment was seen.
    deployment_written: f64,
    /// Its Deployment was available.
    deployment_available: f64,
    /// It was Ready.
    ready: f64,
    /// CPU time of the operator until then, in seconds.
    operator_cpu: f64,
    /// Applying the copies: `kubectl` had ended.
    floor_kubectl: f64,
    /// The copied Deployment was seen.
    floor_deployment_written: f64,
    /// The copied Deployment was available.
    floor: f64,
}

/// Runs `rounds` rounds after one that does not count, and judges P1 and P2.
pub async fn run(bench: &mut Bench, rounds: usize) -> Result<Vec<Measure>> {
    let mut counted = Vec::new();
    let earlier = neighbours::look(&bench.operator);
    for index in 0..=rounds {
        let round = round(bench, index).await?;
        eprintln!(
            "  {}: Deployment written after {:.3} s, Ready after {:.2} s, floor {:.2} s",
            if index == 0 { "warm-up".to_owned() } else { format!("round {index} of {rounds}") },
            round.deployment_written,
            round.ready,
            round.floor
        );
        if index > 0 {
            counted.push(round);
        }
    }
    let others = neighbours::share(&earlier, &neighbours::look(&bench.operator));
    judge(&counted, others)
}

async fn round(bench: &mut Bench, index: usize) -> Result<Round> {
    let name = format!("p1-{index:04}");
    let names = std::slice::from_ref(&name);
    let (mut tenants, mut deployments) = (bench.tenants().await?, bench.deployments().await?);
    let before = bench.operator.usage()?;
    let applied = bench.kubectl.apply("applying a tenant", &bench.manifests(names)).await?;
    let (seen, is_ready) = tenants.all_done(names, patience(1)).await;
    let after = bench.operator.usage()?;
    if !is_ready {
        bail!("tenant {name} is not Ready after {} s", patience(1).as_secs());
    }
    let tenant = seen.get(&name).copied().unwrap_or_default();
    let (seen, _) = deployments.all_done(names, patience(1)).await;
    let deployment = seen.get(&name).copied().unwrap_or_default();
    drop(deployments);

    let copy = copies::of_tenant(&bench.client, &name).await?;
    bench.delete(names).await?;
    if !tenants.all_gone(names, patience(1)).await.1 {
        bail!("tenant {name} is not gone after {} s", patience(1).as_secs());
    }
    bench.expect_empty().await?;
    bench.etcd.sweep().await?;

    bench.etcd.grant(&store_name(&name)).await?;
    let mut deployments = bench.deployments().await?;
    let copied = bench.kubectl.apply("applying the copies", &copy.objects()).await?;
    let (seen, is_available) = deployments.all_done(names, patience(1)).await;
    if !is_available {
        bail!("the copied Deployment {name} is not available after {} s", patience(1).as_secs());
    }
    let floor = seen.get(&name).copied().unwrap_or_default();
    copies::remove(&bench.client, &bench.kubectl).await?;
    bench.etcd.sweep().await?;
    bench.expect_empty().await?;

    let unseen = "an event was missed";
    Ok(Round {
        tenant_kubectl: applied.seconds(),
        tenant_seen: seconds(applied.began, tenant.created).context(unseen)?,
        deployment_written: seconds(applied.began, deployment.created).context(unseen)?,
        deployment_available: seconds(applied.began, deployment.done).context(unseen)?,
        ready: seconds(applied.began, tenant.done).context(unseen)?,
        operator_cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        floor_kubectl: copied.seconds(),
        floor_deployment_written: seconds(copied.began, floor.created).context(unseen)?,
        floor: seconds(copied.began, floor.done).context(unseen)?,
    })
}

fn judge(rounds: &[Round], others: Option<f64>) -> Result<Vec<Measure>> {
    let middle = |pick: fn(&Round) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>()).context("no rounds");
    let (ready, floor) = (middle(|round| round.ready)?, middle(|round| round.floor)?);
    // Neighbours in time share the machine's mood: the median of the differences, not the difference of the medians.
    let above = middle(|round| round.ready - round.floor)?;
    let written = middle(|round| round.deployment_written)?;
    let of_which = middle(|round| round.deployment_written - round.tenant_seen)?;
    Ok(vec![
        Measure {
            id: "P1",
            what: "one tenant: apply to Ready, above the floor".into(),
            target: format!("{P1_TARGET} s"),
            value: format!(
                "{above:+.2} s ({ready:.2} s, floor {floor:.2} s; others took {} of the machine)",
                neighbours::percent(others)
            ),
            verdict: Verdict::met(above <= P1_TARGET),
            numbers: json!({"ready": ready, "floor": floor, "above": above, "shareOfOthers": others, "rounds": rounds}),
        },
        Measure {
            id: "P2",
            what: "apply to Deployment written".into(),
            target: format!("{P2_TARGET} s"),
            value: format!("{written:.3} s (the operator: {of_which:.3} s, the rest kubectl)"),
            verdict: Verdict::met(written <= P2_TARGET),
            numbers: json!({"written": written, "afterTenantSeen": of_which}),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ready: f64, floor: f64) -> Round {
        Round {
            tenant_kubectl: 0.1,
            tenant_seen: 0.1,
            deployment_written: 0.2,
            deployment_available: ready,
            ready,
            operator_cpu: 0.1,
            floor_kubectl: 0.1,
            floor_deployment_written: 0.1,
            floor,
        }
    }

    #[test]
    fn compares_each_tenant_with_its_neighbouring_floor() {
        // The machine got slower by a second each round, the operator did not.
        let measures = judge(&[one(6.2, 6.0), one(7.3, 7.0), one(8.4, 8.0)], None).unwrap();
        assert_eq!(measures[0].verdict, Verdict::Met);
        assert!(measures[0].value.starts_with("+0.30 s"), "{}", measures[0].value);
        assert_eq!(judge(&[one(7.0, 6.0)], None).unwrap()[0].verdict, Verdict::Missed);
    }
}
