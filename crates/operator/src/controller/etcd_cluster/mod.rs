//! The controller of EtcdClusters: an etcd that the operator runs, and the DataStore that tenants reach it by.
//!
//! One pass: observe, resolve, issue, apply, heal, maintain, report. What etcd itself reports has no watch, so that a
//! cluster at rest is asked every minute; it causes no write.

mod error;
mod finish;
mod issue;
mod maintain;
mod members;
mod observe;
mod report;
mod stores;
mod write;

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{EtcdCluster, contract::annotations};
use kamaji_datastore::{Connection, etcd::Admin};
use kamaji_plan::{
    etcd_cluster::{
        membership::Waiting,
        names::{self, Address, EtcdSecret},
        record::Record,
        resolve::{self, Resolved, resolve},
        status::{self, Fault, Outcome},
    },
    issuance::Data,
};
use kube::{
    ResourceExt,
    runtime::controller::{Action, Config, applier},
};
use tracing::Instrument;

use self::{error::Error, issue::Issued, members::Healed, observe::Observed, stores::Stores};
use super::{backoff::Backoff, context::Context, intake, names::ETCD_CLUSTER};

/// Deadline of one pass: three members may be defragmented in it, a minute each.
const DEADLINE: Duration = Duration::from_mins(5);
/// How often a cluster at rest is asked for alarms and sizes.
const POLL: Duration = Duration::from_mins(1);
/// How often members are asked that are on their way.
const SOON: Duration = Duration::from_secs(1);
/// How often members are asked that are away.
const RETRY: Duration = Duration::from_secs(5);
/// A backend that is full of data is not defragmented again for this long.
const FULL: Duration = Duration::from_mins(10);
/// A member that runs without answering, and that can be replaced, is waited for this long.
const GRACE: Duration = Duration::from_mins(2);

/// Where the members of an EtcdCluster are reached, by its name and namespace, in the order of their ordinals.
pub type Addresses = Box<dyn Fn(&str, &str) -> Vec<Address> + Send + Sync>;

/// What all passes share.
struct Shared {
    context: Context,
    addresses: Addresses,
    stores: Stores,
    backoff: Backoff,
    /// Content of authorities that were found good, by UID of the EtcdCluster.
    authorities: Mutex<HashMap<(String, EtcdSecret), Data>>,
    /// Connections, by UID; replaced when the endpoints or the login change.
    admins: Mutex<HashMap<String, (Connection, Arc<Admin>)>>,
    /// When a backend was found full of data, and at which quota, by UID.
    full: Mutex<HashMap<String, (Instant, u64)>>,
    /// Since when a member has not answered, by UID and ordinal.
    unanswered: Mutex<HashMap<(String, i32), Instant>>,
}

/// Runs until a shutdown is asked for and the passes in flight have ended.
///
/// # Errors
/// Never; the signature leaves room for a controller that cannot start.
pub async fn run(context: Arc<Context>) -> anyhow::Result<()> {
    run_with(context, Box::new(names::addresses)).await
}

/// As [`run`], for members that are reached by other addresses than their pods' names: where pods are only simulated.
///
/// # Errors
/// As [`run`].
pub async fn run_with(context: Arc<Context>, addresses: Addresses) -> anyhow::Result<()> {
    let process = &context.process;
    let (stores, wakes) = Stores::watch(process, &process.options.pod_namespace);
    let store = stores.clusters.store.clone();
    let queue = intake::queue(process, ETCD_CLUSTER, wakes);
    let shared = Arc::new(Shared {
        context: context.as_ref().clone(),
        addresses,
        stores,
        backoff: Backoff::default(),
        authorities: Mutex::default(),
        admins: Mutex::default(),
        full: Mutex::default(),
        unanswered: Mutex::default(),
    });
    let reconcile = |cluster: Arc<EtcdCluster>, shared: Arc<Shared>| {
        let span = tracing::info_span!("etcdcluster", etcd_cluster = cluster.name_any());
        Box::pin(async move { Ok::<_, Infallible>(reconcile(&cluster, &shared).await) }.instrument(span))
    };
    let never = |_: Arc<EtcdCluster>, error: &Infallible, _: Arc<Shared>| match *error {};
    let passes = applier(reconcile, never, Arc::clone(&shared), store, queue, Config::default()).for_each(|ended| {
        if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = ended {
            intake::forget(process, ETCD_CLUSTER, None, &gone.name);
        }
        std::future::ready(())
    });
    tokio::select! {
        () = intake::stopped_before(process, shared.stores.ready()) => {}
        () = passes => {}
    }
    Ok(())
}

async fn reconcile(cluster: &EtcdCluster, shared: &Shared) -> Action {
    let process = &shared.context.process;
    if !intake::may_begin(process, shared.stores.ready()).await {
        return Action::await_change();
    }
    let name = cluster.name_any();
    // Deleted since it was queued.
    let Some(cluster) = shared.stores.clusters.get(None, &name) else {
        intake::forget(process, ETCD_CLUSTER, None, &name);
        return Action::await_change();
    };
    let busy = process.progress.started(ETCD_CLUSTER, &*name, DEADLINE);
    let began = Instant::now();
    let (action, result) = match tokio::time::timeout(DEADLINE, pass(&cluster, shared)).await {
        Ok(Ok(action)) => {
            shared.backoff.reset(&name);
            (action, "done")
        }
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the pass ended early and is repeated");
            (Action::requeue(shared.backoff.next(&name)), error.category())
        }
        Err(_) => {
            busy.cut();
            tracing::warn!(seconds = DEADLINE.as_secs(), "the pass took longer than its deadline and was cut");
            (Action::requeue(shared.backoff.next(&name)), "deadline")
        }
    };
    process.metrics.reconcile_ended(ETCD_CLUSTER, result, began.elapsed());
    action
}

async fn pass(cluster: &Arc<EtcdCluster>, shared: &Shared) -> Result<Action, Error> {
    if cluster.annotations().contains_key(annotations::PAUSED) {
        return Ok(Action::await_change());
    }
    let namespace = &shared.context.process.options.pod_namespace;
    let observed = Observed::collect(&shared.stores, cluster, namespace);
    if cluster.metadata.deletion_timestamp.is_some() {
        return finish::release(shared, cluster, &observed).await;
    }
    let seen = resolve::Observed { size: observed.size(), data_store: observed.data_store.as_deref() };
    let resolved = match resolve(cluster, namespace, &seen) {
        Ok(resolved) => Resolved { addresses: (shared.addresses)(&resolved.name, namespace), ..resolved },
        Err(rejection) => {
            report::report(shared, cluster, &Outcome { stalled: Some(rejection), ..Outcome::default() }).await?;
            return Ok(Action::requeue(shared.backoff.spread(POLL)));
        }
    };
    finish::hold(shared, cluster).await?;
    let record = recorded(&resolved, &observed);
    let (connection, mut faults) = match issue::issue(shared, &resolved, &observed).await? {
        Issued::Usable { connection, faults } => (connection, faults),
        Issued::Lost(fault) => {
            // The members go on with what they have.
            write::record(shared, &resolved, &record).await?;
            write::objects(shared, &resolved, &observed, &record).await?;
            report::report(shared, cluster, &Outcome { faults: vec![fault], ..Outcome::default() }).await?;
            return Ok(Action::requeue(shared.backoff.spread(POLL)));
        }
    };
    write::record(shared, &resolved, &record).await?;
    write::objects(shared, &resolved, &observed, &record).await?;
    let resized = write::claims(shared, &resolved, &observed).await?;
    faults.extend(resized.fault);
    let admin = shared.admin(&resolved, record.size, connection)?;
    let Healed { record: healed, answers, waiting, lingering, refusal } =
        Box::pin(members::heal(shared, &resolved, &observed, &admin, record.clone())).await?;
    let mut serves = waiting.is_none() && refusal.is_none() && answers.voters() == wanted(&resolved);
    if healed.authentication {
        write::data_store(shared, &resolved, &observed, answers.voters()).await?;
        match Box::pin(maintain::maintain(shared, &resolved, &admin, &answers, serves)).await {
            Ok(found) => faults.extend(found),
            Err(error) => faults.push(Fault::new("MaintenanceFailed", error.to_string())),
        }
    }
    serves &= healed.authentication && !faults.iter().any(|fault| fault.reason == "NoSpace");
    faults.extend(refusal.map(|error| Fault::new("EtcdRefuses", error.to_string())));
    let reason = waiting.map(|waiting| status::waiting(&resolved, waiting));
    faults.extend(reason.clone().filter(|_| waiting.is_some_and(status::is_fault)));
    let outcome = Outcome {
        members: answers.report(&resolved),
        serves,
        waiting: reason,
        faults,
        stalled: resolved.refused.clone().or(resized.refused),
    };
    let newest = shared.stores.clusters.get(None, &resolved.name);
    report::report(shared, newest.as_deref().unwrap_or(cluster), &outcome).await?;
    if healed.size != record.size {
        return Ok(Action::requeue(Duration::ZERO));
    }
    if lingering {
        return Ok(Action::requeue(shared.backoff.spread(SOON)));
    }
    Ok(Action::requeue(shared.backoff.spread(again(waiting, serves, !observed.running().is_empty()))))
}

/// What was recorded, or what can be concluded where nothing was.
fn recorded(resolved: &Resolved, observed: &Observed) -> Record {
    let size = observed.size().unwrap_or(resolved.replicas);
    match observed.record() {
        Some(record) => record,
        None if observed.was_served() => Record::lost(resolved, size),
        None => Record::founding(resolved, size),
    }
}

fn wanted(resolved: &Resolved) -> usize {
    usize::try_from(resolved.replicas).unwrap_or_default()
}

/// When to ask again. Pods have a watch; what goes on inside them has none.
fn again(waiting: Option<Waiting>, serves: bool, running: bool) -> Duration {
    match waiting {
        None if serves => POLL,
        Some(Waiting::Forming | Waiting::Learner(_)) if running => SOON,
        Some(Waiting::Pod(_) | Waiting::Volumes | Waiting::Forming | Waiting::Learner(_)) => POLL,
        None | Some(Waiting::Member(_) | Waiting::Quorum) => RETRY,
    }
}

impl Shared {
    /// The connection to this login and these endpoints, kept while they stay the same.
    fn admin(&self, resolved: &Resolved, size: i32, connection: Connection) -> Result<Arc<Admin>, Error> {
        let endpoints = (0..size).filter_map(|ordinal| resolved.client(ordinal).map(str::to_owned)).collect();
        let connection = Connection { endpoints, ..connection };
        let mut admins = lock(&self.admins);
        if let Some((known, admin)) = admins.get(&resolved.uid)
            && *known == connection
        {
            return Ok(Arc::clone(admin));
        }
        let admin = Arc::new(Admin::open(&connection)?);
        admins.insert(resolved.uid.clone(), (connection, Arc::clone(&admin)));
        Ok(admin)
    }

    /// Ordinals of members that have not answered for longer than [`GRACE`].
    fn silent(&self, uid: &str, unanswered: &BTreeSet<i32>) -> BTreeSet<i32> {
        let now = Instant::now();
        let mut since = lock(&self.unanswered);
        since.retain(|(owner, ordinal), _| owner != uid || unanswered.contains(ordinal));
        let late = |ordinal: &i32| {
            let first = *since.entry((uid.to_owned(), *ordinal)).or_insert(now);
            now.duration_since(first) > GRACE
        };
        unanswered.iter().copied().filter(late).collect()
    }

    /// Whether a defragmentation made no space not long ago, under the same quota.
    fn known_full(&self, uid: &str, quota: u64) -> bool {
        lock(&self.full).get(uid).is_some_and(|(when, at)| *at == quota && when.elapsed() < FULL)
    }

    fn found_full(&self, uid: &str, quota: u64) {
        lock(&self.full).insert(uid.to_owned(), (Instant::now(), quota));
    }

    fn keep(&self, uid: &str, which: EtcdSecret, secret: &Secret) {
        let data = secret.data.clone().unwrap_or_default();
        lock(&self.authorities).insert((uid.to_owned(), which), data);
    }

    fn kept(&self, uid: &str, which: EtcdSecret) -> Option<Data> {
        lock(&self.authorities).get(&(uid.to_owned(), which)).cloned()
    }

    fn forget(&self, uid: &str) {
        lock(&self.authorities).retain(|(owner, _), _| owner != uid);
        lock(&self.admins).remove(uid);
        lock(&self.full).remove(uid);
        lock(&self.unanswered).retain(|(owner, _), _| owner != uid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
