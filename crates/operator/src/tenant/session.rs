//! The task of one tenant.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use kamaji_api::contract;
use kamaji_apply::{Applier, Fence};
use kamaji_plan::{
    status::{conditions::Trouble, tenant::InPlace},
    tenant_cluster::TenantCluster,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch::Receiver},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Timing, Wish,
    backoff::Backoff,
    connection::Connection,
    counts::Counts,
    error::Error,
    kinds::{Kind, with_type},
    lane::Lane,
    look::{Failure, Halt, Looked, Looker},
    records::Records,
    reporter::Reporter,
    watch::Watch,
    workloads::Workloads,
};

/// A session waits for its turn no longer than this: tenants that hang must not hold up others.
const TURN: Duration = Duration::from_secs(5);

/// As [`TURN`], for what was in place before: it is to be back within five seconds, however many tenants hang.
const HEALING_TURN: Duration = Duration::from_secs(1);

/// Keeps the objects of one tenant in place, for as long as it is polled.
pub(super) struct Session {
    wishes: Receiver<Wish>,
    fence: Arc<dyn Fence>,
    timing: Timing,
    reporter: Reporter,
    counts: Arc<Counts>,
    turns: Arc<Semaphore>,
    records: Records,
    workloads: Workloads,
    away_since: Option<Instant>,
    backoff: Backoff,
    /// What the plan itself finds wrong, and what it holds.
    troubles: Vec<Trouble>,
    planned: InPlace,
    generation: Option<i64>,
}

/// Why a connection is given up.
enum Ended {
    /// Another one is wanted at once: the endpoint or the credentials changed.
    Redial,
    /// It broke, or never came to be.
    Broken(Trouble),
    /// The session is over.
    Stopped,
}

impl Session {
    pub(super) fn new(
        wishes: Receiver<Wish>,
        fence: Arc<dyn Fence>,
        timing: Timing,
        reporter: Reporter,
        counts: Arc<Counts>,
        turns: Arc<Semaphore>,
    ) -> Self {
        Self {
            wishes,
            fence,
            timing,
            reporter,
            counts,
            turns,
            records: Records::default(),
            workloads: Workloads::new(timing.patience),
            away_since: None,
            backoff: Backoff::new(),
            troubles: Vec::new(),
            planned: InPlace::default(),
            generation: None,
        }
    }

    /// Runs until nobody wishes anything any more, or this process may not write.
    pub(super) async fn run(mut self) {
        while let Some(wish) = self.serving().await {
            // Boxed: the state of a handshake would stay a part of this task for as long as the tenant lives.
            let ended = match Box::pin(Connection::open(&wish.endpoint, &wish.credentials)).await {
                Ok(connection) => Box::pin(self.serve(&connection, &wish)).await,
                Err(error) => Ended::Broken(away(&error)),
            };
            match ended {
                Ended::Redial => self.backoff.reset(),
                Ended::Broken(trouble) => self.wait(&wish, trouble).await,
                Ended::Stopped => return,
            }
        }
    }

    /// The wish, once its pods answer.
    async fn serving(&mut self) -> Option<Wish> {
        let serving = self.wishes.wait_for(|wish| wish.rollout.ready > 0).await;
        serving.ok().map(|wish| wish.clone())
    }

    /// Waits before the next attempt; a change that promises something cuts it short.
    async fn wait(&mut self, failed: &Wish, trouble: Trouble) {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        tracing::debug!(reason = trouble.reason, message = trouble.message, "the tenant's API is away");
        if since.elapsed() >= self.timing.grace {
            self.reporter.unreachable(trouble);
        }
        let promising = |wish: &Wish| !wish.is_reached_like(failed) || wish.rollout != failed.rollout;
        tokio::select! {
            () = sleep(self.backoff.next()) => {}
            _ = self.wishes.wait_for(promising) => self.backoff.reset(),
        }
    }

    /// Uses one connection until it ends.
    async fn serve(&mut self, connection: &Connection, wish: &Wish) -> Ended {
        let mut lanes = Kind::ALL.map(Lane::new);
        self.plan(&mut lanes);
        let mut turn = 0;
        loop {
            if let Err(ended) = self.work(connection, &mut lanes).await {
                return ended;
            }
            self.report(&lanes);
            let due = lanes.iter().filter_map(|lane| lane.due).chain(self.workloads.next_check()).min();
            tokio::select! {
                biased;
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return Ended::Stopped;
                    }
                    if !self.wishes.borrow_and_update().is_reached_like(wish) {
                        return Ended::Redial;
                    }
                    self.plan(&mut lanes);
                }
                () = at(due) => {}
                () = self.fence.lost() => return Ended::Stopped,
                (index, line) = next_line(&mut lanes, &mut turn) => {
                    if let Some(lane) = lanes.get_mut(index) {
                        if let Some(line) = line {
                            lane.hear(&line, &self.records, &mut self.workloads);
                        } else {
                            lane.watch = None;
                            lane.doubt();
                        }
                    }
                }
            }
        }
    }

    /// Plans anew, and has the kinds looked at of which something else is wanted.
    fn plan(&mut self, lanes: &mut [Lane]) {
        let (generation, plan) = {
            // Not marked as seen: it may name another endpoint than the one that is connected.
            let wish = self.wishes.borrow();
            (wish.generation, Arc::clone(&wish.plan))
        };
        let cluster = plan();
        for lane in lanes {
            lane.plan(&cluster);
        }
        self.generation = generation;
        self.planned = InPlace::of(&cluster);
        self.troubles = cluster.troubles;
    }

    /// Looks at every kind and workload whose time has come.
    async fn work(&mut self, connection: &Connection, lanes: &mut [Lane]) -> Result<(), Ended> {
        let now = Instant::now();
        let is_due = |lane: &Lane| lane.due.is_some_and(|due| due <= now);
        let turns = Arc::clone(&self.turns);
        let _turn = if lanes.iter().any(&is_due) { turn(&turns, patience(lanes)).await } else { None };
        let mut plan = None;
        for lane in lanes.iter_mut().filter(|lane| is_due(lane)) {
            let cluster = plan.get_or_insert_with(|| {
                let plan = Arc::clone(&self.wishes.borrow().plan);
                plan()
            });
            let applier =
                Applier::new(connection.client(), contract::FIELD_MANAGER).with_fence(Arc::clone(&self.fence));
            let outcome = self.look(connection, &applier, cluster, lane).await;
            self.counts.add(applier.writes());
            match outcome {
                Ok(looked) => lane.looked(looked),
                Err(Halt::Fenced) => return Err(Ended::Stopped),
                Err(Halt::Write(error)) => {
                    return Err(Ended::Broken(Trouble::new("TenantUnreachable", sentence(&error))));
                }
                Err(Halt::Read(error)) if error.ends_the_connection() => return Err(Ended::Broken(away(&error))),
                Err(Halt::Read(error)) => lane.looked(refused(&error)),
            }
            self.away_since = None;
        }
        if self.workloads.next_check().is_some_and(|at| at <= now)
            && let Err(error) = self.workloads.check(connection).await
            && error.ends_the_connection()
        {
            return Err(Ended::Broken(away(&error)));
        }
        Ok(())
    }

    /// One look at one kind, and a watch from there on.
    async fn look(
        &mut self,
        connection: &Connection,
        applier: &Applier,
        cluster: &TenantCluster,
        lane: &mut Lane,
    ) -> Result<Looked, Halt> {
        let mut looker =
            Looker { connection, applier, cluster, records: &mut self.records, workloads: &mut self.workloads };
        // Boxed: nine times the state of a look would make this task a large one.
        with_type!(lane.kind, K => {
            let found = Box::pin(looker.look::<K>()).await?;
            if lane.watch.is_none() {
                lane.watch = Some(Box::pin(Watch::open::<K>(connection, &found.version)).await?);
            }
            Ok(found)
        })
    }

    fn report(&mut self, lanes: &[Lane]) {
        let clean = lanes.iter().all(Lane::is_clean);
        let found = lanes.iter().flat_map(|lane| lane.troubles(self.timing.grace)).cloned();
        let troubles: Vec<Trouble> =
            self.troubles.iter().cloned().chain(found).chain(self.workloads.troubles()).collect();
        if lanes.iter().all(|lane| lane.tried) {
            self.backoff.reset();
        } else if troubles.is_empty() {
            // Under way.
            return;
        }
        let in_place = clean.then(|| self.planned.clone());
        self.reporter.reached(self.generation, troubles, in_place);
    }
}

/// How long kinds whose time has come wait for the session's turn. Nothing of the session is heard meanwhile, so that
/// one kind that is in place is reason enough not to wait long.
fn patience(lanes: &[Lane]) -> Duration {
    if lanes.iter().any(|lane| lane.tried) { HEALING_TURN } else { TURN }
}

/// The session's turn; without one it goes on all the same.
async fn turn(turns: &Semaphore, patience: Duration) -> Option<SemaphorePermit<'_>> {
    timeout(patience, turns.acquire()).await.ok()?.ok()
}

/// What is reported of an API that cannot be used.
fn away(error: &Error) -> Trouble {
    Trouble::new(error.reason(), format!("The tenant's API cannot be used: {error}."))
}

fn sentence(error: &kamaji_apply::Error) -> String {
    format!("The tenant's API cannot be used: {error}.")
}

/// A kind that the API server does not let us read: not for the moment, or not at all.
fn refused(error: &Error) -> Looked {
    let trouble = away(error);
    let lasting = matches!(error, Error::Refused { code: 400..=403 | 405 | 422, .. } | Error::Unreadable { .. });
    let failure = if lasting { Failure::Lasting(trouble) } else { Failure::Passing(trouble) };
    Looked { failures: vec![failure], ..Looked::default() }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The next line of any watch. Whose turn it is moves on, so that one that never rests does not hold up the others.
async fn next_line(lanes: &mut [Lane], turn: &mut usize) -> (usize, Option<Vec<u8>>) {
    poll_fn(|context| {
        for step in 0..lanes.len() {
            let index = (*turn + step) % lanes.len();
            let Some(lane) = lanes.get_mut(index) else { continue };
            if let Poll::Ready(line) = lane.poll_line(context) {
                *turn = index + 1;
                return Poll::Ready((index, line));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_others_hang_what_was_in_place_is_back_in_time_and_what_is_new_waits_longer() {
        let turns = Semaphore::new(1);
        let began = Instant::now();
        let hangs = turn(&turns, TURN).await;
        assert!(hangs.is_some() && began.elapsed() == Duration::ZERO, "a free turn is taken at once");
        let mut lanes = [Kind::ConfigMap, Kind::Role].map(Lane::new);
        assert!(turn(&turns, patience(&lanes)).await.is_none());
        assert_eq!(began.elapsed(), TURN);
        // The other kind has failed so far: waiting for it must not keep the first one from being heard.
        lanes[0].looked(Looked::default());
        assert!(turn(&turns, patience(&lanes)).await.is_none());
        assert_eq!(began.elapsed(), TURN + HEALING_TURN);
    }
}
