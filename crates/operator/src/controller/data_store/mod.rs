//! The controller of DataStores: opens them, says whether they can be used, and keeps them while they are in use.

pub mod credentials;
mod first_endpoint;
mod places;
mod reason;
mod reserved;
pub mod sizes;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kamaji_api::{
    DataStore, DataStoreStatus, Driver,
    conditions::{self, ConditionStatus},
    contract,
};
use kamaji_pki::{Authority, Certificate};
use kamaji_plan::store_users::StoreUsers;
use kube::{
    ResourceExt,
    runtime::{
        controller::{Action, Config, applier},
        reflector::ObjectRef,
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::Instrument;

use self::{credentials::Material, sizes::Sampled};
use super::{
    backoff::Backoff,
    context::Context,
    intake,
    named_watch::NamedWatch,
    names,
    pool::{Opened, Pool},
    stores::Stores,
};

/// Condition that says whether the DataStore can be used.
pub const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";
/// Condition that says whether the DataStore may be deleted.
const DELETION: &str = "kamaji.clastix.io/DataStoreAllowedDeletion";
/// A server has no watch, so a usable one is asked this often whether it still answers.
const PROBE: Duration = Duration::from_secs(10);
/// Longest time until a DataStore that cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Deadline of one pass.
const DEADLINE: Duration = Duration::from_secs(20);

/// What all passes share.
pub struct Shared {
    context: Context,
    stores: Stores,
    pool: Arc<Pool>,
    sizes: Arc<Sampled>,
    secrets: NamedWatch<Secret, DataStore>,
    backoff: Backoff,
    tenants: UnboundedSender<ObjectRef<kamaji_api::TenantControlPlane>>,
}

impl Shared {
    /// Nothing is open yet. What the datastores hold is kept in `sizes`.
    pub fn new(
        context: Context,
        stores: Stores,
        pool: Arc<Pool>,
        sizes: Arc<Sampled>,
        wake: &super::stores::Wake,
    ) -> Self {
        let secrets = NamedWatch::new(context.process.client.clone(), wake.data_stores.clone());
        Self { context, stores, pool, sizes, secrets, backoff: Backoff::default(), tenants: wake.tenants.clone() }
    }

    /// Lets go of a DataStore that is gone.
    fn close(&self, name: &str) {
        self.pool.remove(name);
        self.sizes.remove(name);
        self.secrets.follow(&ObjectRef::new(name), BTreeSet::new());
    }
}

/// Runs until a stop is asked for and the passes in flight have ended.
pub async fn run(shared: Arc<Shared>, wake: UnboundedReceiver<ObjectRef<DataStore>>) {
    let store = shared.stores.data_stores.store.clone();
    let process = shared.context.process.clone();
    let queue = intake::queue(&process, names::DATA_STORE, UnboundedReceiverStream::new(wake));
    let reconcile = |data_store: Arc<DataStore>, shared: Arc<Shared>| {
        let span = tracing::info_span!("datastore", data_store = data_store.name_any());
        Box::pin(
            async move { Ok::<_, std::convert::Infallible>(reconcile(data_store, &shared).await) }.instrument(span),
        )
    };
    let never = |_: Arc<DataStore>, error: &std::convert::Infallible, _: Arc<Shared>| match *error {};
    applier(reconcile, never, Arc::clone(&shared), store, queue, Config::default())
        .for_each(|ended| {
            // It went without its finalizer being taken off by us.
            if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = ended {
                intake::forget(&process, names::DATA_STORE, None, &gone.name);
                shared.close(&gone.name);
            }
            std::future::ready(())
        })
        .await;
}

async fn reconcile(data_store: Arc<DataStore>, shared: &Shared) -> Action {
    let process = &shared.context.process;
    if !intake::may_begin(process, shared.stores.ready()).await {
        return Action::await_change();
    }
    let name = data_store.name_any();
    // Deleted since it was queued: on a standby that may be long ago.
    let Some(data_store) = shared.stores.data_stores.get(None, &name) else {
        intake::forget(process, names::DATA_STORE, None, &name);
        return Action::await_change();
    };
    let busy = process.progress.started(names::DATA_STORE, &name, DEADLINE);
    let began = std::time::Instant::now();
    let ended = tokio::time::timeout(DEADLINE, pass(&data_store, shared)).await;
    let (action, result) = match ended {
        Ok(Ok(action)) => (action, "done"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the DataStore could not be written");
            (Action::requeue(shared.backoff.next(&name)), error.category())
        }
        Err(_) => {
            busy.cut();
            (Action::requeue(shared.backoff.next(&name)), "deadline")
        }
    };
    process.metrics.reconcile_ended(names::DATA_STORE, result, began.elapsed());
    action
}

async fn pass(data_store: &Arc<DataStore>, shared: &Shared) -> Result<Action, kamaji_apply::Error> {
    if data_store.annotations().contains_key(contract::annotations::PAUSED) {
        return Ok(Action::await_change());
    }
    let name = data_store.name_any();
    let tenants = shared.stores.tenants.store.state();
    let users = StoreUsers::of(data_store, &tenants);
    // One that goes is opened like any other as long as it has tenants: they go once their data is erased.
    if !is_deleted(data_store) {
        hold(data_store, shared).await?;
    } else if users.tenants.is_empty() {
        return release(data_store, shared).await;
    }
    shared.secrets.follow(&ObjectRef::new(&name), credentials::references(data_store));
    let verdict = check(data_store, shared).await.map(|warnings| places::warned(data_store, warnings));
    let usable = verdict.is_ok();
    write_status(data_store, shared, users, &verdict).await?;
    if !usable {
        return Ok(Action::requeue(shared.backoff.next(&name).min(RETRY)));
    }
    if let Some(opened) = shared.pool.get(&name) {
        sizes::sample(&shared.sizes, data_store, Arc::clone(&opened.store), &tenants);
    }
    reserved::free(data_store, shared).await?;
    places::tidy(data_store, shared, &tenants).await?;
    shared.backoff.reset(&name);
    Ok(Action::requeue(shared.backoff.spread(PROBE)))
}

/// Reason and sentence of a DataStore that cannot be used.
type Fault = (&'static str, String);

/// Opens the datastore and asks it whether it answers. The sentence of success holds what it warns about.
async fn check(data_store: &DataStore, shared: &Shared) -> Result<String, Fault> {
    let name = data_store.name_any();
    let read = credentials::read(&shared.context.process.client, data_store).await;
    // Secrets that are deleted together with the DataStore are gone before its tenants are.
    let keeps = is_deleted(data_store) || read.as_ref().is_err_and(credentials::Error::is_unknown);
    let opened = read
        .map_err(|error| (reason::of_material(&error), error.to_string()))
        .and_then(|material| open(data_store, material, shared));
    let opened = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            if !keeps {
                shared.pool.remove(&name);
            }
            return Err(fault);
        }
    };
    match opened.store.probe().await {
        Ok(health) => {
            let known = shared.pool.get(&name);
            if !known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &opened)) {
                // The pool keeps what was open before: tenants have it.
                first_endpoint::check(data_store, known.as_ref().map(|known| &known.connection), &health)?;
                shared.pool.put(&name, opened);
                wake_tenants(&name, shared);
            }
            Ok(health.sentences().join(". "))
        }
        // The pool keeps what is open: its circuit fails fast, and tenants that need nothing go on.
        Err(error) => Err((reason::of_call(&error, &data_store.spec), error.to_string())),
    }
}

fn open(data_store: &DataStore, material: Material, shared: &Shared) -> Result<Arc<Opened>, Fault> {
    if let Some(opened) = shared.pool.get(&data_store.name_any())
        && opened.connection == material.connection
        && opened.authority_pem == material.authority
        && opened.authority_key == material.authority_key
    {
        return Ok(opened);
    }
    if let Some(sentence) = expired(&material.authority) {
        return Err((reason::TLS, sentence));
    }
    if data_store.spec.driver == Driver::Nats && material.connection.basic_auth.is_none() {
        let sentence = "spec.basicAuth is missing: on NATS the tenant logs in with it; give a username and a password";
        return Err((reason::BASIC_AUTH, sentence.to_owned()));
    }
    let signs = data_store.spec.driver == Driver::Etcd;
    let authority = signs.then(|| Authority::from_pem(&material.authority, &material.authority_key)).transpose();
    let authority =
        authority.map_err(|error| (reason::TLS, format!("spec.tlsConfig.certificateAuthority: {error}")))?;
    let store = kamaji_datastore::open(&material.connection)
        .map_err(|error| (reason::of_call(&error, &data_store.spec), error.to_string()))?;
    Ok(Arc::new(Opened {
        connection: material.connection,
        store,
        authority,
        authority_pem: material.authority,
        authority_key: material.authority_key,
    }))
}

/// Why the authorities cannot be used any more: Go programs refuse what has ended, our own TLS library does not look.
fn expired(bundle: &[u8]) -> Option<String> {
    let authorities = Certificate::bundle_from_pem(bundle).ok().filter(|all| !all.is_empty())?;
    let now = Timestamp::now();
    let last = authorities.iter().map(Certificate::not_after).max().filter(|last| *last < now)?;
    Some(format!(
        "spec.tlsConfig.certificateAuthority.certificate: it ended at {last}; give the authority that signs the \
         server's certificate now"
    ))
}

fn wake_tenants(name: &str, shared: &Shared) {
    for tenant in shared.stores.concerned(name) {
        let _ = shared.tenants.send(tenant);
    }
}

async fn hold(data_store: &DataStore, shared: &Shared) -> Result<(), kamaji_apply::Error> {
    let finalizer = contract::finalizers::DATASTORE_IN_USE;
    if data_store.finalizers().iter().any(|present| present == finalizer) {
        return Ok(());
    }
    let mut finalizers = data_store.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    let held = shared.context.applier.set_finalizers(data_store, finalizers).await?;
    shared.stores.data_stores.recent.wrote(&held);
    Ok(())
}

fn is_deleted(data_store: &DataStore) -> bool {
    data_store.metadata.deletion_timestamp.is_some()
}

/// Lets a DataStore go that no tenant uses.
async fn release(data_store: &DataStore, shared: &Shared) -> Result<Action, kamaji_apply::Error> {
    let finalizer = contract::finalizers::DATASTORE_IN_USE;
    let rest: Vec<String> = data_store.finalizers().iter().filter(|present| *present != finalizer).cloned().collect();
    if rest.len() != data_store.finalizers().len() {
        match shared.context.applier.set_finalizers(data_store, rest).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    shared.close(&data_store.name_any());
    Ok(Action::await_change())
}

async fn write_status(
    data_store: &DataStore,
    shared: &Shared,
    users: StoreUsers,
    verdict: &Result<String, Fault>,
) -> Result<(), kamaji_apply::Error> {
    let now = Time(Timestamp::now());
    let generation = data_store.metadata.generation;
    let (holds, reason, message) = match verdict {
        Ok(warnings) => (ConditionStatus::True, reason::VALID, warnings.as_str()),
        Err((reason, sentence)) => (ConditionStatus::False, *reason, sentence.as_str()),
    };
    let mut status = data_store.status.clone().unwrap_or_default();
    let was_ready = status.ready;
    status.observed_generation = generation;
    let still_used = is_deleted(data_store)
        .then(|| format!("still used by {}; delete or move these tenants first", users.tenants.join(", ")));
    tell(&mut status, users);
    status.login = login(data_store, shared, status.login.take());
    status.ready = verdict.is_ok();
    let mut all = status.conditions.take().unwrap_or_default();
    let new = conditions::condition(VALIDATION, holds, reason, message, generation, &now);
    let changed = conditions::set(&mut all, new);
    if let Some(sentence) = still_used {
        let unmet = ConditionStatus::False;
        let used = conditions::condition(DELETION, unmet, "DataStoreStillUsed", &sentence, generation, &now);
        conditions::set(&mut all, used);
    }
    status.conditions = Some(all);
    if changed && (!message.is_empty() || was_ready != status.ready) {
        let (kind, reason, note) = reason::event(verdict.is_ok(), reason, message);
        shared.context.event(data_store, kind, reason, "Check", note).await;
    }
    save(data_store, shared, status).await
}

fn tell(status: &mut DataStoreStatus, StoreUsers { tenants, names }: StoreUsers) {
    status.used_by = (!tenants.is_empty()).then_some(tenants);
    status.taken_names = (!names.is_empty()).then_some(names);
}

/// The user name that the server took. Until one was, it is the last one: what cannot be read now may be it still.
fn login(data_store: &DataStore, shared: &Shared, last: Option<String>) -> Option<String> {
    data_store.spec.basic_auth.as_ref()?;
    let opened = shared.pool.get(&data_store.name_any());
    match opened.as_ref().and_then(|opened| opened.connection.basic_auth.as_ref()) {
        Some(login) => Some(login.username.clone()).filter(|name| !name.is_empty()),
        None => last,
    }
}

async fn save(data_store: &DataStore, shared: &Shared, status: DataStoreStatus) -> Result<(), kamaji_apply::Error> {
    if data_store.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut desired = data_store.clone();
    desired.status = Some(status);
    let applied = shared.context.applier.apply_status(&desired, data_store).await?;
    shared.stores.data_stores.applied(applied);
    Ok(())
}
