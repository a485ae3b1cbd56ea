//! The tenants of P3 and P4: all applied by one command.

use std::collections::BTreeMap;

use anyhow::Result;
use kamaji_api::TenantControlPlane;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{Bench, patience, seconds};
use crate::neighbours;
use crate::report::{Measure, Verdict};
use crate::seen::last;
use crate::statistics::{median, number};
use crate::tenant::{self, NAMESPACE};

/// CPU seconds of the operator per tenant.
const P4_TARGET: f64 = 0.15;

/// How the tenants came up.
#[derive(Debug)]
pub struct Batch {
    /// Their names.
    pub names: Vec<String>,
    /// Seconds from the start of `kubectl apply` until the last was Ready; `None` when one never was.
    pub all_ready: Option<f64>,
    /// Seconds until each was Ready.
    pub ready: BTreeMap<String, Option<f64>>,
    /// Seconds until each Deployment was written.
    pub written: BTreeMap<String, Option<f64>>,
    /// Why some are not Ready, by name.
    pub stuck: BTreeMap<String, String>,
    /// CPU time of the operator in seconds.
    pub operator_cpu: f64,
    /// Part of the machine that went to others meanwhile.
    pub others: Option<f64>,
    /// How long `kubectl` took, in seconds.
    pub kubectl: f64,
}

/// Creates `count` tenants and waits until all are Ready, or for so long that they never will be.
pub async fn run(bench: &Bench, count: usize) -> Result<Batch> {
    let names = tenant::names("t", count);
    let (mut tenants, mut deployments) = (bench.tenants().await?, bench.deployments().await?);
    let (before, earlier) = (bench.operator.usage()?, neighbours::look(&bench.operator));
    let applied = bench.kubectl.apply("applying the tenants", &bench.manifests(&names)).await?;
    let (seen, is_ready) = tenants.all_done(&names, patience(count)).await;
    let (after, later) = (bench.operator.usage()?, neighbours::look(&bench.operator));
    let (written, _) = deployments.all_done(&names, std::time::Duration::ZERO).await;
    bench.operator.check_same().await?;
    let stuck = if is_ready { BTreeMap::new() } else { stuck(bench).await? };
    let all_ready = last(applied.began, names.iter().map(|name| seen.get(name).and_then(|one| one.done)));
    let times = |marks: &crate::seen::ByName, done: bool| {
        let pick = |name: &String| marks.get(name).and_then(|one| if done { one.done } else { one.created });
        names.iter().map(|name| (name.clone(), seconds(applied.began, pick(name)))).collect()
    };
    let batch = Batch {
        all_ready,
        ready: times(&seen, true),
        written: times(&written, false),
        stuck,
        operator_cpu: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        others: neighbours::share(&earlier, &later),
        kubectl: applied.seconds(),
        names,
    };
    match batch.all_ready {
        Some(seconds) => eprintln!("  all {count} Ready after {seconds:.1} s"),
        None => eprintln!("  {} of {count} are not Ready after {} s", batch.stuck.len(), patience(count).as_secs()),
    }
    Ok(batch)
}

/// What the tenants that are not Ready say about it.
async fn stuck(bench: &Bench) -> Result<BTreeMap<String, String>> {
    let api: Api<TenantControlPlane> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let listed = api.list(&ListParams::default()).await?;
    let not_ready = listed.into_iter().filter(|tenant| !tenant::is_ready(tenant));
    let told = not_ready.map(|tenant| {
        let conditions = tenant.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let told: Vec<String> = conditions
            .map(|condition| {
                format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
            })
            .collect();
        (tenant.name_any(), told.join("; "))
    });
    Ok(told.collect())
}

/// P4.
pub fn judge_cpu(batch: &Batch) -> Measure {
    let count = batch.names.len();
    let each = batch.operator_cpu / number(count);
    let suffix = if batch.all_ready.is_some() { "" } else { ", but not all were Ready" };
    Measure {
        id: "P4",
        what: "operator CPU per tenant, apply to Ready".into(),
        target: format!("{P4_TARGET} s"),
        value: format!("{each:.3} s{suffix}"),
        verdict: Verdict::met(each <= P4_TARGET && batch.all_ready.is_some()),
        numbers: json!({"operatorCpu": batch.operator_cpu, "perTenant": each}),
    }
}

impl Batch {
    /// The numbers of all tenants, for the JSON.
    pub fn numbers(&self) -> serde_json::Value {
        let middle =
            |times: &BTreeMap<String, Option<f64>>| median(&times.values().flatten().copied().collect::<Vec<_>>());
        json!({
            "allReady": self.all_ready,
            "medianReady": middle(&self.ready),
            "medianDeploymentWritten": middle(&self.written),
            "kubectl": self.kubectl,
            "shareOfOthers": self.others,
            "ready": self.ready,
            "deploymentWritten": self.written,
            "stuck": self.stuck,
        })
    }
}
