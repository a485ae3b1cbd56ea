//! The sessions of all tenants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kamaji_api::TenantControlPlane;
use kamaji_apply::{Fence, WriteCounts};
use kamaji_plan::status::tenant::TenantReport;
use kube::runtime::reflector::ObjectRef;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender, watch},
    task::JoinHandle,
};
use tracing::Instrument as _;

use super::{Timing, Wish, counts::Counts, reporter::Reporter, session::Session};

/// Sessions that may hold their plan in memory at the same time: after a restart all tenants are looked at.
const TURNS: usize = 64;

/// The running sessions, by UID of the TenantControlPlane. They end when this is dropped.
pub struct Sessions {
    fence: Arc<dyn Fence>,
    timing: Timing,
    wake: UnboundedSender<ObjectRef<TenantControlPlane>>,
    counts: Arc<Counts>,
    turns: Arc<Semaphore>,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    wishes: watch::Sender<Wish>,
    report: watch::Receiver<TenantReport>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sessions {
    /// No session runs yet. Writes pass `fence`; a tenant whose report changes is sent to `wake`.
    pub fn new(fence: Arc<dyn Fence>, timing: Timing, wake: UnboundedSender<ObjectRef<TenantControlPlane>>) -> Self {
        Self {
            fence,
            timing,
            wake,
            counts: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS)),
            running: Mutex::default(),
        }
    }

    /// Gives a tenant's session a wish; starts it where there is none. Returns at once.
    pub fn keep(&self, uid: &str, tenant: ObjectRef<TenantControlPlane>, wish: Wish) {
        let mut running = self.running();
        if let Some(known) = running.get(uid).filter(|known| !known.task.is_finished()) {
            known.wishes.send_replace(wish);
            return;
        }
        let span = tracing::info_span!(
            "tenant session",
            tenant = format!("{}/{}", tenant.namespace.as_deref().unwrap_or_default(), tenant.name)
        );
        let (wishes, receiver) = watch::channel(wish);
        let (reports, report) = watch::channel(TenantReport::default());
        let reporter = Reporter::new(reports, self.wake.clone(), tenant);
        let session = Session::new(
            receiver,
            Arc::clone(&self.fence),
            self.timing,
            reporter,
            Arc::clone(&self.counts),
            Arc::clone(&self.turns),
        );
        let task = tokio::spawn(session.run().instrument(span));
        running.insert(uid.to_owned(), Running { wishes, report, task });
    }

    /// Ends a tenant's session, with whatever it was doing.
    pub fn stop(&self, uid: &str) {
        self.running().remove(uid);
    }

    /// What a tenant's session said last; `None` where there is no session.
    pub fn report(&self, uid: &str) -> Option<TenantReport> {
        self.running().get(uid).map(|running| running.report.borrow().clone())
    }

    /// Ends all sessions.
    pub fn stop_all(&self) {
        self.running().clear();
    }

    /// Counts the writes to all tenants together, of sessions that ended included. Does not keep the sessions alive.
    pub fn writes(&self) -> impl Fn() -> WriteCounts + Send + Sync + use<> {
        let counts = Arc::clone(&self.counts);
        move || counts.total()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
