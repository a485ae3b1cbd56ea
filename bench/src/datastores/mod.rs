//! How many objects a tenant takes and lists on each kind of datastore, side by side in one run.
//!
//! Four tenants on four servers of their own are all up before the first is measured, so that each shares the machine with
//! the same others. They are measured one after the other, and once more the other way round: a machine that gets slower
//! meanwhile shows, and is no datastore's fault.

mod load;
mod objects;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use kamaji_api::data_store::Driver;
use kamaji_e2e::{Story, data_store::DataStore, tenant::Tenant};
use kamaji_testkit::parts;
use kube::Client;
use serde_json::{Value, json};

use load::{Bounds, Figure};
use objects::{Objects, Source};
use report::{Report, Turn, What};

use crate::{interrupted, machine};

/// What the namespace is called after `e2e-`.
const NAME: &str = "bench-datastores";
/// How they are called, the suffix of their DataStore, and the driver.
const DATA_STORES: [(&str, &str, Driver); 4] = [
    (report::REFERENCE, "etcd", Driver::Etcd),
    ("PostgreSQL", "postgres", Driver::PostgreSql),
    ("MariaDB", "mysql", Driver::MySql),
    ("NATS", "nats", Driver::Nats),
];
const ROUNDS: usize = 2;
/// Calls that are under way together.
const AT_A_TIME: usize = 16;
/// Objects that a page of a list has.
const PAGE: u32 = 500;
/// How often a list is read.
const LISTS: usize = 10;
/// Before a turn: what the one before left to be done is not to be done in it.
const SETTLE: Duration = Duration::from_secs(2);
/// Objects that every tenant takes before anything counts.
const WARM_UP: usize = 100;

/// However slow a datastore is, the run ends.
const CREATE_ALONE: Duration = Duration::from_secs(5);
const CREATE: Duration = Duration::from_secs(8);
const READ_OR_UPDATE: Duration = Duration::from_secs(4);
const LIST: Duration = Duration::from_secs(3);

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Kubeconfig of the management cluster.
    pub kubeconfig: &'a Path,
    /// Kubernetes version of the tenants, without `v`.
    pub version: &'a str,
    /// Objects that are created at a time.
    pub objects: usize,
    /// Where to write the numbers.
    pub json: &'a Path,
}

/// A tenant that is measured.
struct Subject {
    name: &'static str,
    client: Client,
}

/// Runs it. Whatever happens, tenants, DataStores and servers are removed at the end.
///
/// # Errors
/// When a tenant does not become Ready, or something does not go away. A call that fails is counted, no more.
pub async fn run(asked: Asked<'_>) -> Result<()> {
    let machine = machine::describe();
    machine.check_room_for(DATA_STORES.len())?;
    let mut report = Report {
        began: jiff::Timestamp::now().to_string(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        objects: asked.objects,
        machine,
        load_at_end: String::new(),
        versions: Value::Null,
        turns: Vec::new(),
        ended_early: None,
    };
    let told = Story::tell_on(asked.kubeconfig, NAME, |story| async move {
        let measured = tokio::select! {
            measured = measure(&story, asked, &mut report) => measured,
            signal = interrupted() => signal.and_then(|name| bail!("{name}")),
        };
        report.load_at_end = machine::load();
        report.ended_early = measured.as_ref().err().map(|error| format!("{error:#}"));
        report.compare();
        println!("\n{}", report.table());
        crate::report::write(asked.json, &report)?;
        println!("All numbers: {}", asked.json.display());
        eprintln!("cleaning up");
        let (tenants, stores) = measured?;
        try_join_all(tenants.into_iter().map(Tenant::delete)).await?;
        try_join_all(stores.into_iter().map(DataStore::delete)).await.map(drop)
    });
    tokio::select! {
        told = told => told,
        signal = interrupted_again() => signal.and_then(|name| {
            bail!("{name} again: the tenants of the namespace e2e-{NAME}-... are left, and their servers are gone")
        }),
    }
}

/// Waits until somebody does not want to wait for the end.
async fn interrupted_again() -> Result<&'static str> {
    interrupted().await?;
    interrupted().await
}

/// Has all tenants Ready and measures them; what was measured before a failure stays in `report`.
async fn measure(story: &Story, asked: Asked<'_>, report: &mut Report) -> Result<(Vec<Tenant>, Vec<DataStore>)> {
    let began = Instant::now();
    eprintln!("{} servers and a tenant on each, in namespace {}", DATA_STORES.len(), story.namespace);
    let stores = DATA_STORES.map(|(_, suffix, driver)| DataStore::declare(story, suffix, driver));
    let stores = try_join_all(stores).await?;
    report.versions = versions(story, &stores, asked.version).await?;
    let tenants = stores.iter().zip(DATA_STORES).map(|(store, (_, suffix, _))| declare(story, store, suffix, asked));
    let tenants = try_join_all(tenants).await?;
    let subjects = tenants.iter().zip(DATA_STORES).map(|(tenant, (name, ..))| begin(tenant, name));
    let subjects = try_join_all(subjects).await?;
    eprintln!("all are Ready after {:.0} s", began.elapsed().as_secs_f64());
    for round in 1..=ROUNDS {
        let mut order: Vec<&Subject> = subjects.iter().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for subject in order {
            tokio::time::sleep(SETTLE).await;
            let (began, load) = (jiff::Timestamp::now().to_string(), machine::load());
            let mut turn = Turn { data_store: subject.name, round, began, load, figures: [].into() };
            let done = turn_of(subject, round, asked.objects, &mut turn).await;
            report.turns.push(turn);
            done.with_context(|| format!("{}, round {round}", subject.name))?;
        }
    }
    eprintln!("measured after {:.0} s", began.elapsed().as_secs_f64());
    Ok((tenants, stores))
}

async fn declare(story: &Story, data_store: &DataStore, name: &str, asked: Asked<'_>) -> Result<Tenant> {
    let version = asked.version;
    Tenant::declare(story, name, |spec| {
        let changes = [
            ("/dataStore", json!(data_store.name)),
            ("/kubernetes/version", json!(format!("v{version}"))),
            // What the operator sets on etcd: with it the same list is read from the datastore on all of them.
            (
                "/controlPlane/deployment",
                json!({
                    "replicas": 1,
                    "extraArgs": {"apiServer": ["--feature-gates=ListFromCacheSnapshot=false"]},
                }),
            ),
        ];
        for (place, value) in changes {
            if let Some(field) = spec.pointer_mut(place) {
                *field = value;
            }
        }
    })
    .await
}

/// Waits until a tenant does what it always does, and opens the connections.
async fn begin(tenant: &Tenant, name: &'static str) -> Result<Subject> {
    tenant.phase("Ready").await?;
    tenant.namespaces().await?;
    tenant.controlled().await?;
    let client = tenant.admin().await?;
    let objects = Objects::in_namespace(&client, "warm-up").await?;
    let bounds = Bounds { at_a_time: AT_A_TIME, most: WARM_UP, time: CREATE };
    let figure = load::run(bounds, async |index| objects.create(format!("warm-up-{index}")).await).await;
    if let Some(error) = figure.first_error {
        bail!("the tenant on {name} refuses objects: {error}");
    }
    Ok(Subject { name, client })
}

/// Everything about one tenant, in a namespace of its own: what an earlier round has left is not listed. It stays, since
/// to delete it would make the datastore hold more, not less, until that is compacted.
async fn turn_of(subject: &Subject, round: usize, count: usize, turn: &mut Turn) -> Result<()> {
    let objects = &Objects::in_namespace(&subject.client, &format!("round-{round}")).await?;
    let mut note = |what: What, figure: Figure| {
        eprintln!(
            "  {}, round {round}, {}: {:.0} /s ({} objects in {:.1} s, {:.1} s CPU of this program, {} errors)",
            subject.name,
            what.describe(),
            figure.rate,
            figure.objects,
            figure.seconds,
            figure.own_cpu.unwrap_or_default(),
            figure.errors
        );
        turn.figures.insert(what, figure);
    };
    let alone = Bounds { at_a_time: 1, most: count / 4, time: CREATE_ALONE };
    note(What::CreateAlone, load::run(alone, async |index| objects.create(format!("alone-{index}")).await).await);
    let many = Bounds { at_a_time: AT_A_TIME, most: count, time: CREATE };
    let created = load::run(many, async |index| objects.create(name_of(index)).await).await;
    let again = Bounds { most: created.begun(), time: READ_OR_UPDATE, ..many };
    note(What::Create, created);
    note(What::Get, load::run(again, async |index| objects.get(&name_of(index)).await).await);
    note(What::Update, load::run(again, async |index| objects.update(name_of(index)).await).await);

    let mut list = async |what, source, limit| {
        note(what, load::repeat(LISTS, LIST, async || objects.list(source, limit).await).await);
    };
    list(What::List, Source::Newest, None).await;
    list(What::ListStored, Source::Stored, None).await;
    list(What::ListPages, Source::Stored, Some(PAGE)).await;
    Ok(())
}

fn name_of(index: usize) -> String {
    format!("object-{index}")
}

async fn versions(story: &Story, stores: &[DataStore], tenants: &str) -> Result<Value> {
    let server = story.client.apiserver_version().await.context("the management cluster does not answer")?;
    let mut postgres = Vec::new();
    for store in stores.iter().filter(|store| store.access.driver == Driver::PostgreSql) {
        // The servers of stories log every statement. A role's setting counts more than that of the command line.
        store.postgres("ALTER ROLE ALL SET log_statement = 'none'").await?;
        postgres = store.postgres("SHOW server_version").await?;
    }
    let mariadb = std::process::Command::new("/usr/sbin/mariadbd").arg("--version").output();
    let mariadb = mariadb.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).ok();
    Ok(json!({
        "managementCluster": server.git_version,
        "tenants": format!("v{tenants}"),
        "kine": parts::KINE_VERSION,
        "etcd": parts::ETCD_VERSION,
        "postgresql": postgres.first(),
        "mariadb": mariadb,
        "natsServer": parts::NATS_SERVER_VERSION,
        "servers": "one each, TLS; no server waits for its disk; PostgreSQL and MariaDB have buffers of 16 MiB",
    }))
}
