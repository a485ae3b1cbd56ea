//! Leader election against a real API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and acts as a user of the API"
)]
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kamaji_operator::process::leader::{Election, Leadership};
use kamaji_testkit::api_server::ApiServer;
use kube::Api;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NAME: &str = "kamaji.clastix.io";

struct Candidate {
    leadership: Leadership,
    release: CancellationToken,
    task: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &ApiServer, namespace: &str, identity: &str) -> Self {
        let election = Election::new(server.client().unwrap(), namespace, NAME, identity.to_owned());
        let (leadership, release) = (election.leadership(), CancellationToken::new());
        let task = tokio::spawn(election.run(release.clone()));
        Self { leadership, release, task }
    }

    async fn time_to_act(&self) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(30), self.leadership.acquired()).await.expect("nobody took over");
        began.elapsed()
    }
}

/// Looks on for as long as it lives, and counts the moments in which two acted.
struct Watchman {
    doubles: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchman {
    fn over(candidates: [&Candidate; 2]) -> Self {
        let leaderships = candidates.map(|candidate| candidate.leadership.clone());
        let (doubles, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stop) = (Arc::clone(&doubles), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if leaderships.iter().filter(|leadership| leadership.is_held()).count() > 1 {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::yield_now();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { doubles, done, thread: Some(thread) }
    }

    fn doubles(mut self) -> usize {
        self.done.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.doubles.load(Ordering::Relaxed)
    }
}

async fn lease(server: &ApiServer, namespace: &str) -> Lease {
    Api::<Lease>::namespaced(server.client().unwrap(), namespace).get(NAME).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_within_fifteen_seconds_and_two_never_act_at_once() {
    let server = ApiServer::shared().await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let first = Candidate::start(server, &namespace, "first");
    first.time_to_act().await;
    let second = Candidate::start(server, &namespace, "second");
    let watchman = Watchman::over([&first, &second]);
    assert_eq!(lease(server, &namespace).await.spec.unwrap().lease_duration_seconds, Some(10));

    first.task.abort();
    let after = second.time_to_act().await;
    assert!(after < Duration::from_secs(15), "took over after {after:?}");
    assert_eq!(watchman.doubles(), 0);
    let spec = lease(server, &namespace).await.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("second"), Some(1)));
    println!("took over after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_is_taken_at_once() {
    let server = ApiServer::shared().await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let first = Candidate::start(server, &namespace, "first");
    first.time_to_act().await;
    let second = Candidate::start(server, &namespace, "second");
    let watchman = Watchman::over([&first, &second]);

    first.release.cancel();
    first.task.await.unwrap();
    let after = second.time_to_act().await;
    assert!(after < Duration::from_secs(3), "took over after {after:?}");
    assert_eq!(watchman.doubles(), 0);
    assert_eq!(lease(server, &namespace).await.spec.unwrap().holder_identity.as_deref(), Some("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_from_the_server_stops_in_time() {
    let mut server = ApiServer::start().await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let first = Candidate::start(&server, &namespace, "first");
    first.time_to_act().await;
    server.pause().unwrap();
    let began = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), first.leadership.lost()).await.expect("goes on without the server");
    // Whoever waits takes the Lease ten seconds after the last renewal, and not before.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!first.leadership.is_held());
    server.resume().unwrap();
    server.restart().await.unwrap();
    let second = Candidate::start(&server, &namespace, "second");
    assert!(second.time_to_act().await < Duration::from_secs(15));
    assert!(!first.leadership.is_held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_right_to_the_lease_never_acts() {
    let server = ApiServer::shared().await.unwrap();
    let namespace = server.namespace().await.unwrap();
    let client = server.client_as("nobody", &[]).unwrap();
    let election = Election::new(client, &namespace, NAME, "nobody".to_owned());
    let leadership = election.leadership();
    let release = CancellationToken::new();
    let task = tokio::spawn(election.run(release.clone()));
    assert!(tokio::time::timeout(Duration::from_secs(5), leadership.acquired()).await.is_err());
    release.cancel();
    task.await.unwrap();
}
