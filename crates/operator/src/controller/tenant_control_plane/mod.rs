//! The controller of TenantControlPlanes.
//!
//! [`steps`] reads like the list of a pass: observe, resolve, expose, issue and store side by side, plan, apply; then
//! the status says how it went.

mod claim;
mod erase;
pub mod error;
mod expose;
mod finish;
mod force;
mod former;
mod granted;
mod internal_ca;
mod issue;
mod keys;
mod namesake;
mod observe;
mod place;
mod record;
mod report;
mod revision;
mod secrets;
mod store;
mod tenant_side;
mod told;
mod vanished;
mod write;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kamaji_api::{DataStore, TenantControlPlane, contract};
use kamaji_plan::{
    control_plane,
    exposed::Exposed,
    internal_ca::InternalCa,
    issuance::Moment,
    issued::Issued,
    resolve::{self, Resolved},
    status::{conditions::Trouble, tenant::TenantReport},
    stored::Stored,
};
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

use self::{
    error::{Error, Halt},
    granted::Granted,
    internal_ca::Copies,
    report::Unwritten,
    revision::Revisions,
    told::Told,
};
use super::{
    context::Context,
    intake,
    keyring::Keyring,
    named_watch::NamedWatch,
    names,
    pool::Pool,
    stores::{Stores, Wake, object_key},
    timed::timed,
};
use crate::tenant::Sessions;

/// What all passes share.
pub struct Shared {
    /// Flags, write door, Events.
    pub context: Context,
    /// The watch stores.
    pub stores: Stores,
    /// Last good Secrets.
    pub keyring: Arc<Keyring>,
    /// Open datastores.
    pub pool: Arc<Pool>,
    /// Makes private keys.
    pub keys: keys::Keys,
    /// Sessions with the tenants' own APIs.
    pub sessions: Arc<Sessions>,
    /// Rights that were seen complete.
    pub granted: Granted,
    /// Template revisions that were seen.
    pub revisions: Revisions,
    /// Held by whoever writes down its place on a DataStore.
    pub placing: tokio::sync::Mutex<()>,
    /// What could only be told by Events.
    pub unwritten: Unwritten,
    /// What was told once and is not told again.
    pub told: Told,
    /// Owners' ConfigMaps with certificate authorities.
    pub authorities: NamedWatch<ConfigMap, TenantControlPlane>,
    /// The copies of them that were good.
    pub copies: Copies,
    data_stores: UnboundedSender<ObjectRef<DataStore>>,
    backoff: super::backoff::Backoff,
}

impl Shared {
    /// Nothing is known yet.
    pub fn new(
        context: Context,
        stores: Stores,
        keyring: Arc<Keyring>,
        pool: Arc<Pool>,
        sessions: Arc<Sessions>,
        wake: &Wake,
    ) -> Self {
        let authorities = NamedWatch::new(context.process.client.clone(), wake.tenants.clone());
        Self {
            context,
            stores,
            keyring,
            pool,
            keys: keys::Keys::default(),
            sessions,
            granted: Granted::default(),
            revisions: Revisions::default(),
            placing: tokio::sync::Mutex::default(),
            unwritten: Unwritten::default(),
            told: Told::default(),
            authorities,
            copies: Copies::default(),
            data_stores: wake.data_stores.clone(),
            backoff: super::backoff::Backoff::default(),
        }
    }

    /// Every tenant is observed again after about this long, reading only: a lost event is a delay, never a stall.
    fn resync(&self) -> Duration {
        self.context.process.options.resync_period
    }

    /// The clock of one pass.
    pub fn moment(&self) -> Moment {
        let deadline = self.context.process.options.certificate_expiration_deadline;
        Moment {
            now: Timestamp::now(),
            renew_before: SignedDuration::try_from(deadline).unwrap_or(SignedDuration::from_hours(24)),
        }
    }

    /// Has a DataStore looked at: it did not do what it was asked. One that refuses a name does what it should.
    fn doubt(&self, data_store: &str, failed: &kamaji_datastore::Error) {
        use kamaji_datastore::Error::{Conflict, InvalidName};
        if matches!(failed, Conflict { .. } | InvalidName { .. }) {
            return;
        }
        let _ = self.data_stores.send(ObjectRef::new(data_store));
    }

    fn forget(&self, tenant_uid: &str) {
        self.keyring.drop_tenant(tenant_uid);
        self.sessions.stop(tenant_uid);
        self.granted.forget(tenant_uid);
        self.revisions.forget(tenant_uid);
        self.unwritten.forget(tenant_uid);
        self.told.forget(tenant_uid);
        self.copies.forget(tenant_uid);
        self.backoff.reset(tenant_uid);
    }
}

/// Runs until a stop is asked for and the passes in flight have ended.
pub async fn run(shared: Arc<Shared>, wake: UnboundedReceiver<ObjectRef<TenantControlPlane>>) {
    let cap = shared.context.process.options.max_concurrent_reconciles;
    let cap = cap.map_or(0, |cap| u16::try_from(cap.get()).unwrap_or(u16::MAX));
    let store = shared.stores.tenants.store.clone();
    let process = shared.context.process.clone();
    let queue = intake::queue(&process, names::TENANT_CONTROL_PLANE, UnboundedReceiverStream::new(wake));
    let reconcile = |tenant: Arc<TenantControlPlane>, shared: Arc<Shared>| {
        let span = tracing::info_span!("tenant", tenant = object_key(tenant.as_ref()));
        vanished::settle(&shared, &ObjectRef::from_obj(tenant.as_ref()));
        Box::pin(async move { Ok::<_, std::convert::Infallible>(reconcile(tenant, &shared).await) }.instrument(span))
    };
    let never = |_: Arc<TenantControlPlane>, error: &std::convert::Infallible, _: Arc<Shared>| match *error {};
    applier(reconcile, never, Arc::clone(&shared), store, queue, Config::default().concurrency(cap))
        .for_each(|ended| {
            // It went without its finalizer being taken off by us.
            if let Err(kube::runtime::controller::Error::ObjectNotFound(gone)) = ended {
                intake::forget(&process, names::TENANT_CONTROL_PLANE, gone.namespace.as_deref(), &gone.name);
                let gone = ObjectRef::new(&gone.name).within(gone.namespace.as_deref().unwrap_or_default());
                shared.authorities.follow(&gone, BTreeSet::new());
                vanished::settle(&shared, &gone);
            }
            std::future::ready(())
        })
        .await;
}

async fn reconcile(tenant: Arc<TenantControlPlane>, shared: &Shared) -> Action {
    let process = &shared.context.process;
    if !intake::may_begin(process, shared.stores.ready()).await {
        return Action::await_change();
    }
    // Deleted since it was queued: on a standby that may be long ago.
    let (namespace, name) = (tenant.namespace(), tenant.name_any());
    let Some(tenant) = shared.stores.tenants.get(namespace.as_deref(), &name) else {
        intake::forget(process, names::TENANT_CONTROL_PLANE, namespace.as_deref(), &name);
        return Action::await_change();
    };
    let deadline = process.options.reconcile_timeout;
    let busy = process.progress.started(names::TENANT_CONTROL_PLANE, object_key(tenant.as_ref()), deadline);
    let began = std::time::Instant::now();
    let (action, result) = if let Ok(ended) = tokio::time::timeout(deadline, pass(&tenant, shared)).await {
        drop(busy);
        ended
    } else {
        busy.cut();
        tracing::warn!(seconds = deadline.as_secs(), "the pass took longer than its deadline and was cut");
        (Action::requeue(shared.backoff.next(&tenant.uid().unwrap_or_default())), "deadline")
    };
    process.metrics.reconcile_ended(names::TENANT_CONTROL_PLANE, result, began.elapsed());
    action
}

/// One pass: what it found, then how it ended.
async fn pass(tenant: &Arc<TenantControlPlane>, shared: &Shared) -> (Action, &'static str) {
    let uid = tenant.uid().unwrap_or_default();
    if tenant.annotations().contains_key(contract::annotations::PAUSED) {
        shared.sessions.stop(&uid);
        return (Action::await_change(), "paused");
    }
    let mut findings = Findings::default();
    let ended = if tenant.metadata.deletion_timestamp.is_some() {
        shared.sessions.stop(&uid);
        shared.authorities.follow(&ObjectRef::from_obj(tenant.as_ref()), BTreeSet::new());
        match finish::finish(shared, tenant).await {
            Ok(()) => {
                shared.forget(&uid);
                return (Action::await_change(), "released");
            }
            Err(halt) => Err(halt),
        }
    } else {
        let ended = steps(tenant, shared, &mut findings).await;
        tenant_side::keep(shared, &findings);
        findings.tenant = shared.sessions.report(&uid);
        ended
    };
    if let Err(Halt::Failed(Error::Store { name, source })) = &ended {
        shared.doubt(name, source);
    }
    match report::report(shared, tenant, &findings, &ended).await {
        Ok(()) => report::next(shared, &uid, &ended),
        Err(error) => {
            tracing::warn!(%error, "the status could not be written");
            (Action::requeue(shared.backoff.next(&uid)), error.category())
        }
    }
}

/// What a pass found, as far as it came.
#[derive(Default)]
pub struct Findings {
    resolved: Option<Resolved>,
    service: Option<Service>,
    exposed: Option<Exposed>,
    issued: Option<Issued>,
    stored: Option<Stored>,
    kubeadm_checksum: Option<String>,
    deployment: Option<Deployment>,
    tenant: Option<TenantReport>,
}

/// Goes through all steps. What is wrong and kept none of them from being done comes back as trouble.
async fn steps(
    tenant: &Arc<TenantControlPlane>,
    shared: &Shared,
    findings: &mut Findings,
) -> Result<Option<Trouble>, Halt> {
    let moment = shared.moment();
    let mut observed = observe::observe(shared, tenant).await?;
    findings.deployment = observed.deployment.as_deref().cloned();
    findings.service = observed.service.as_deref().cloned();
    resolve::readable(tenant)?;
    let choice = place::choose(shared, tenant, observed.deployment.as_deref())?;
    let resolved = observed.resolve(shared, tenant, &choice.data_store, moment.now)?;
    let resolved = findings.resolved.insert(resolved).clone();
    let tenants = &shared.stores.tenants;
    claim::check(shared, &resolved, &observed, &tenants.store.state())?;
    place::record(shared, tenant, observed.deployment.as_deref(), &choice).await?;
    let held = finish::hold(shared, tenant, || claim::check(shared, &resolved, &observed, &tenants.all())).await?;
    secrets::let_go(shared, &observed.going).await?;

    let (issued, stored) = futures::join!(
        async {
            let (roots, exposed) = futures::try_join!(
                issue::roots(shared, tenant, &resolved, &observed, &moment),
                timed(
                    &shared.context,
                    contract::labels::component::SERVICE,
                    expose::expose(shared, &resolved, &observed, &mut findings.service),
                ),
            )?;
            let issued = issue::issue(shared, &resolved, &exposed, &observed, &roots, &moment).await?;
            Ok::<_, Halt>((exposed, issued))
        },
        store::store(shared, &resolved, &observed, held, &moment),
    );
    let (stored, trouble) = match stored {
        Ok(found) => (findings.stored.insert(found.stored).clone(), found.trouble),
        // What the other side found is worth reporting even so.
        Err(halt) => {
            if let Ok((exposed, issued)) = issued {
                findings.exposed = Some(exposed);
                findings.issued = Some(issued);
            }
            return Err(halt);
        }
    };
    let (exposed, issued) = issued?;
    let plan = control_plane::plan(&resolved, &exposed, &issued, &stored, observed.deployment.as_deref());
    findings.exposed = Some(exposed);
    findings.issued = Some(issued);
    internal_ca::announce(shared, &resolved, observed.deployment.as_deref()).await;
    let written = write::write(shared, &resolved, &observed, plan).await?;
    findings.kubeadm_checksum = written.kubeadm_checksum;
    findings.deployment = Some(written.deployment);
    let internal = || resolved.internal_ca.as_ref().and_then(InternalCa::trouble);
    Ok(trouble.or_else(internal).or_else(|| issue::ending(&observed, &moment)))
}

/// The reconcile's own view of an error's word, for metrics.
fn category(halt: &Halt) -> &'static str {
    match halt {
        Halt::Waiting { .. } => "waiting",
        Halt::Rejected(_) => "rejected",
        Halt::Failed(error) => Error::category(error),
    }
}
