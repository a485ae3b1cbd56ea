//! What the operator costs: time, CPU, memory and writes for N tenants on the local cluster.
//!
//! `cargo xtask bench --tenants N` runs it. Every number stands next to its target; those about time stand next to a floor
//! that was measured in the same run, so that a slow machine is slow on both sides. A missed target does not fail the
//! command. Whatever happens, the tenants are deleted at the end, and a run begins by sweeping away what a killed one left.
//!
//! `cargo xtask bench --datastores` measures the datastores instead: what a tenant on each of them takes and lists.

mod copies;
mod datastores;
mod etcd;
mod inventory;
mod kubectl;
mod machine;
mod measure;
mod neighbours;
mod operator;
mod report;
mod seen;
mod statistics;
mod sweep;
mod table;
mod tenant;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use kamaji_testkit::parts;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use measure::{Bench, batch, by_hand, deletion, rest, single};
use operator::{Operator, Place};
use report::{Measure, Report};

/// Measures the operator with N tenants, or a tenant on each kind of datastore.
#[derive(Debug, Parser)]
#[command(name = "kamaji-bench")]
struct Options {
    /// Number of tenants that are created at once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=400), value_name = "N")]
    #[arg(required_unless_present = "datastores", conflicts_with = "datastores")]
    tenants: Option<u16>,
    /// Measures a tenant on each of etcd, PostgreSQL, MariaDB and NATS instead, on servers that it starts. Of the other
    /// options only --objects, --kubeconfig, --json and --kubernetes-version count.
    #[arg(long)]
    datastores: bool,
    /// Objects that a tenant takes at a time, with --datastores.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(100..=10_000), value_name = "N")]
    objects: u16,
    /// Rounds of one tenant and its floor, after one to warm up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How long to look at the operator at rest.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600), value_name = "SECONDS")]
    rest: u16,
    /// Kubeconfig of the management cluster.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Where to write the numbers.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// DataStore of the tenants; an etcd.
    #[arg(long, default_value = "default", value_name = "NAME")]
    data_store: String,
    /// Kubernetes version of the tenants.
    #[arg(long, default_value = parts::KUBERNETES_VERSION)]
    kubernetes_version: String,
    /// Namespace of the operator.
    #[arg(long, default_value = "kamaji-system", value_name = "NAMESPACE")]
    operator_namespace: String,
    /// Does not restart the operator: its memory is then not that of a fresh one.
    #[arg(long)]
    keep_operator: bool,
    /// Measures this process of the machine instead of the leader's pod.
    #[arg(long, requires = "operator_metrics", value_name = "PID")]
    operator_pid: Option<u32>,
    /// URL of that process's metrics, such as `http://127.0.0.1:8080/metrics`.
    #[arg(long, requires = "operator_pid", value_name = "URL")]
    operator_metrics: Option<String>,
}

impl Options {
    fn count(&self) -> usize {
        self.tenants.map_or(0, usize::from)
    }

    fn json(&self) -> PathBuf {
        let default =
            || if self.datastores { "datastores.json".into() } else { format!("tenants-{}.json", self.count()) };
        self.json.clone().unwrap_or_else(|| default().into())
    }

    fn rest(&self) -> Duration {
        Duration::from_secs(u64::from(self.rest))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.datastores { run_datastores(&options).await } else { run(&options).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_datastores(options: &Options) -> Result<()> {
    let asked = datastores::Asked {
        kubeconfig: &options.kubeconfig,
        version: &options.kubernetes_version,
        objects: options.objects.into(),
        json: &options.json(),
    };
    Box::pin(datastores::run(asked)).await
}

async fn run(options: &Options) -> Result<()> {
    let machine = machine::describe();
    machine.check_room_for(options.count()).context("take fewer with --tenants")?;
    let mut bench = connect(options).await?;
    let mut report = Report {
        began: jiff::Timestamp::now().to_string(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        tenants: options.count(),
        machine,
        load_at_end: String::new(),
        versions: versions(&bench, options).await?,
        measures: Vec::new(),
        ended_early: None,
    };
    // Before anything is to be cleaned up: another run may be under way, whose tenants are not ours.
    tokio::select! {
        begun = sweep::begin(&bench.client, &bench.kubectl, &mut bench.etcd) => begun?,
        signal = interrupted() => bail!("{}", signal?),
    }
    let measured = tokio::select! {
        measured = measure(&mut bench, options, &mut report.measures) => measured,
        signal = interrupted() => signal.and_then(|name| bail!("{name}")),
    };
    report.load_at_end = machine::load();
    report.ended_early = measured.as_ref().err().map(|error| format!("{error:#}"));
    report.measures.sort_by_key(|measure| measure.id);
    println!("\n{}", report.table());
    let path = options.json();
    report::write(&path, &report)?;
    println!("All numbers: {}", path.display());

    eprintln!("cleaning up");
    let swept = tokio::select! {
        swept = sweep::end(&bench.client, &bench.kubectl, &mut bench.etcd) => swept,
        signal = interrupted() => signal.and_then(|name| bail!("{name} again: what is left is swept away by the next run")),
    };
    measured.and(swept)
}

/// Waits for a request to end.
async fn interrupted() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "interrupted").map_err(Into::into),
        _ = terminate.recv() => Ok("terminated"),
    }
}

async fn connect(options: &Options) -> Result<Bench> {
    let path = &options.kubeconfig;
    let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("{} is no kubeconfig", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let kinds = inventory::Kinds::discover(&client).await?;
    let place = Place {
        namespace: options.operator_namespace.clone(),
        process: options.operator_pid,
        metrics_url: options.operator_metrics.clone(),
    };
    let operator = Operator::find(&client, place).await?;
    let etcd = etcd::Etcd::of_data_store(&client, &options.data_store).await?;
    Ok(Bench {
        kubectl: kubectl::Kubectl::new(path.clone())?,
        client,
        etcd,
        operator,
        kinds,
        data_store: options.data_store.clone(),
        version: options.kubernetes_version.clone(),
    })
}

async fn versions(bench: &Bench, options: &Options) -> Result<serde_json::Value> {
    let server = bench.client.apiserver_version().await.context("the management cluster does not answer")?;
    Ok(json!({
        "managementCluster": server.git_version,
        "tenants": format!("v{}", options.kubernetes_version),
        "operator": bench.operator.metrics().await?.build(),
        "operatorImage": bench.operator.leader().image,
        "dataStore": options.data_store,
        "etcd": parts::ETCD_VERSION,
        "containerd": parts::CONTAINERD_VERSION,
    }))
}

/// Runs everything; what was measured before a failure stays in `measures`.
async fn measure(bench: &mut Bench, options: &Options, measures: &mut Vec<Measure>) -> Result<()> {
    let count = options.count();
    let restarts = !options.keep_operator && bench.operator.can_restart();
    if restarts {
        eprintln!("restarting the operator");
        bench.operator.restart(&bench.kubectl).await?;
    }
    eprintln!("the operator without tenants, for {} s", options.rest);
    let idle = rest::observe(bench, options.rest(), &options.operator_namespace).await?;

    eprintln!("one tenant, and its floor");
    measures.extend(single::run(bench, options.rounds.into()).await?);

    eprintln!("{count} tenants at once");
    let empty = bench.etcd.contents().await?;
    let created = batch::run(bench, count).await?;
    measures.push(batch::judge_cpu(&created));

    eprintln!("the operator with {count} tenants at rest, for {} s", options.rest);
    let loaded = rest::observe(bench, options.rest(), &options.operator_namespace).await?;
    let restarted = if restarts { Some(rest::restart(bench, &options.operator_namespace).await?) } else { None };
    measures.push(rest::judge_memory(count, &idle, &loaded, restarted.as_ref()));
    measures.extend(rest::judge_rest(count, &idle, &loaded, restarted.as_ref()));

    let copied = if created.all_ready.is_some() { by_hand::copy(bench, &created).await? } else { Vec::new() };
    eprintln!("deleting {count} tenants");
    measures.push(deletion::run(bench, &created.names, &empty).await?);
    bench.etcd.sweep().await?;

    let by_hand = if copied.is_empty() {
        None
    } else {
        eprintln!("the same {count} Deployments by hand");
        Some(by_hand::run(bench, &created.names, &copied).await?)
    };
    measures.push(by_hand::judge(&created, by_hand));
    Ok(())
}
