use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::Value;

use super::*;

const NAMESPACE: &str = "kamaji-system";
const NAME: &str = "kamaji.clastix.io";

/// How the connection of one candidate behaves.
#[derive(Clone, Default)]
struct Link(Arc<AtomicU8>);

impl Link {
    const UP: u8 = 0;
    /// No request arrives.
    const CUT: u8 = 1;
    /// Requests arrive, answers do not.
    const DEAF: u8 = 2;
    /// Every request is refused.
    const REFUSING: u8 = 3;

    fn set(&self, mode: u8) {
        self.0.store(mode, Ordering::Relaxed);
    }
}

/// An API server that knows one Lease.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    version: Arc<AtomicU64>,
    requests: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Server {
    fn client(&self, link: &Link) -> Client {
        let (server, link) = (self.clone(), link.clone());
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let (server, link) = (server.clone(), link.clone());
                async move {
                    let mode = link.0.load(Ordering::Relaxed);
                    let answer = match mode {
                        Link::CUT => std::future::pending().await,
                        Link::REFUSING => status(StatusCode::SERVICE_UNAVAILABLE),
                        _ => server.answer(request).await,
                    };
                    if mode == Link::DEAF {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, std::convert::Infallible>(answer)
                }
            }),
            NAMESPACE,
        )
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let method = request.method().clone();
        let body = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        *self.requests.lock().unwrap().entry(method.to_string()).or_default() += 1;
        let mut lease = self.lease.lock().unwrap();
        match (method, lease.as_mut()) {
            (Method::GET, Some(lease)) => json_response(lease),
            (Method::POST, None) => {
                let mut created = body;
                self.stamp(&mut created);
                json_response(lease.insert(created))
            }
            (Method::POST, Some(_)) => status(StatusCode::CONFLICT),
            (Method::PATCH, Some(lease)) => {
                if lease["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return status(StatusCode::CONFLICT);
                }
                for (key, value) in body["spec"].as_object().unwrap() {
                    lease["spec"][key] = value.clone();
                }
                self.stamp(lease);
                json_response(lease)
            }
            (_, None) => status(StatusCode::NOT_FOUND),
            (method, Some(_)) => panic!("unexpected {method}"),
        }
    }

    fn stamp(&self, lease: &mut Value) {
        lease["metadata"]["resourceVersion"] = self.version.fetch_add(1, Ordering::Relaxed).to_string().into();
    }

    fn put(&self, spec: &Value) {
        let mut lease = json!({ "metadata": { "name": NAME }, "spec": spec });
        self.stamp(&mut lease);
        *self.lease.lock().unwrap() = Some(lease);
    }

    fn spec(&self) -> LeaseSpec {
        let lease = self.lease.lock().unwrap().clone().unwrap();
        serde_json::from_value(lease["spec"].clone()).unwrap()
    }

    fn holder(&self) -> String {
        self.spec().holder_identity.unwrap_or_default()
    }
}

fn json_response(value: &Value) -> Response<Body> {
    Response::new(Body::from(value.to_string().into_bytes()))
}

fn status(code: StatusCode) -> Response<Body> {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    let body =
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16() });
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

/// A replica whose election runs.
struct Candidate {
    link: Link,
    leadership: Leadership,
    release: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Candidate {
    fn start(server: &Server, identity: &str) -> Self {
        let link = Link::default();
        let election = Election::new(server.client(&link), NAMESPACE, NAME, identity.to_owned());
        let (leadership, release) = (election.leadership(), CancellationToken::new());
        let task = tokio::spawn(election.run(release.clone()));
        Self { link, leadership, release, task }
    }

    /// How long it takes this replica to act.
    async fn time_to_act(&self) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(Duration::from_mins(2), self.leadership.acquired()).await.unwrap();
        began.elapsed()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_creates_the_lease_and_keeps_it() {
    let server = Server::default();
    let first = Candidate::start(&server, "first");
    assert!(first.time_to_act().await < RETRY);
    let second = Candidate::start(&server, "second");
    let created = server.spec();
    pass(60).await;
    assert!(first.leadership.is_held() && !second.leadership.is_held());
    let renewed = server.spec();
    assert_eq!(renewed.holder_identity.as_deref(), Some("first"));
    assert_eq!((renewed.lease_duration_seconds, renewed.lease_transitions), (Some(10), Some(0)));
    assert_eq!(renewed.acquire_time, created.acquire_time);
    assert!(renewed.renew_time > created.renew_time);
    let requests = server.requests.lock().unwrap().clone();
    assert!((28..=31).contains(&requests["PATCH"]), "a renewal each two seconds and no more: {requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_holder_is_replaced_when_its_promise_ran_out_and_not_before() {
    let server = Server::default();
    let first = Candidate::start(&server, "first");
    first.time_to_act().await;
    let second = Candidate::start(&server, "second");
    pass(20).await;
    first.task.abort();
    let after = second.time_to_act().await;
    assert!((Duration::from_secs(8)..Duration::from_secs(15)).contains(&after), "{after:?}");
    assert!(!first.leadership.is_held());
    assert_eq!(server.spec().lease_transitions, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let server = Server::default();
    let first = Candidate::start(&server, "first");
    first.time_to_act().await;
    let second = Candidate::start(&server, "second");
    pass(5).await;
    first.release.cancel();
    let after = second.time_to_act().await;
    assert!(after < Duration::from_secs(3), "{after:?}");
    first.task.await.unwrap();
    first.leadership.lost().await;
    assert_eq!(server.holder(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_reads_as_client_go_writes_it() {
    let server = Server::default();
    let only = Candidate::start(&server, "only");
    only.time_to_act().await;
    only.release.cancel();
    only.task.await.unwrap();
    let released = server.spec();
    assert_eq!((released.holder_identity.as_deref(), released.lease_duration_seconds), (Some(""), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_duration_that_another_holder_wrote_is_honoured() {
    for (seconds, spec) in [
        (15, json!({ "holderIdentity": "go_1", "leaseDurationSeconds": 15, "leaseTransitions": 7 })),
        (60, json!({ "holderIdentity": "go_1", "leaseDurationSeconds": 60, "leaseTransitions": 7 })),
        (15, json!({ "holderIdentity": "go_1", "leaseTransitions": 7 })),
    ] {
        let server = Server::default();
        server.put(&spec);
        let after = Candidate::start(&server, "ours").time_to_act().await;
        assert!((seconds..=seconds + 3).contains(&after.as_secs()), "{after:?} for a promise of {seconds} s");
        assert_eq!(server.spec().lease_transitions, Some(8));
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_renews_is_never_replaced() {
    let server = Server::default();
    let ours = {
        server.put(&json!({ "holderIdentity": "go_1", "leaseDurationSeconds": 15, "leaseTransitions": 1 }));
        Candidate::start(&server, "ours")
    };
    for renewal in 0..20 {
        pass(10).await;
        server.put(&json!({ "holderIdentity": "go_1", "leaseDurationSeconds": 15, "leaseTransitions": 1, "strategy": renewal.to_string() }));
        assert!(!ours.leadership.is_held());
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_without_answers_stops_before_its_promise_runs_out() {
    for mode in [Link::CUT, Link::DEAF, Link::REFUSING] {
        let server = Server::default();
        let only = Candidate::start(&server, "only");
        only.time_to_act().await;
        pass(9).await;
        only.link.set(mode);
        let began = Instant::now();
        only.leadership.lost().await;
        assert!(began.elapsed() <= RENEW_DEADLINE, "{:?}", began.elapsed());
        assert!(!only.leadership.is_held());
        assert!(Fence::check(&only.leadership).is_err());
        only.link.set(Link::UP);
        only.task.await.unwrap();
        assert!(!only.leadership.is_held(), "a lost Lease is not taken up again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_break_is_survived() {
    for mode in [Link::CUT, Link::DEAF, Link::REFUSING] {
        let server = Server::default();
        let only = Candidate::start(&server, "only");
        only.time_to_act().await;
        for _ in 0..10 {
            pass(7).await;
            only.link.set(mode);
            pass(3).await;
            only.link.set(Link::UP);
            assert!(only.leadership.is_held());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_under_its_holder_does_not_make_two_of_them() {
    let server = Server::default();
    let first = Candidate::start(&server, "first");
    first.time_to_act().await;
    let second = Candidate::start(&server, "second");
    pass(5).await;
    for _ in 0..50 {
        *server.lease.lock().unwrap() = None;
        for _ in 0..70 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!(first.leadership.is_held() && second.leadership.is_held()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_is_lost_at_once_where_nothing_is_held() {
    let server = Server::default();
    server.put(&json!({ "holderIdentity": "other", "leaseDurationSeconds": 3600 }));
    let standby = Candidate::start(&server, "standby");
    pass(3).await;
    Fence::lost(&standby.leadership).await;
    assert_eq!(Fence::check(&standby.leadership), Err(FenceLost));
    assert!(Leadership::always().is_held() && Fence::check(&Leadership::always()).is_ok());
}

/// Three candidates whose connections break in every way, at random moments of 25 runs of four minutes.
#[tokio::test(start_paused = true)]
async fn never_two_act_at_once() {
    for seed in 1..=25_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let server = Server::default();
        let mut candidates: Vec<_> = (0..3).map(|n| Candidate::start(&server, &format!("{seed}-{n}"))).collect();
        let mut acted = 0;
        for step in 0..240 {
            tokio::time::sleep(Duration::from_millis(500 + random(1000))).await;
            let holders = candidates.iter().filter(|c| c.leadership.is_held()).count();
            assert!(holders <= 1, "seed {seed}, step {step}: {holders} act");
            acted += holders;
            let index = usize::try_from(random(3)).unwrap();
            match random(20) {
                0 => candidates[index].link.set(Link::CUT),
                1 => candidates[index].link.set(Link::DEAF),
                2 => candidates[index].link.set(Link::REFUSING),
                3..=6 => candidates[index].link.set(Link::UP),
                7 => candidates[index].release.cancel(),
                8 => candidates[index].task.abort(),
                _ => {}
            }
            // A process that lost the Lease or was killed starts anew, under another name.
            if candidates[index].task.is_finished() {
                candidates[index] = Candidate::start(&server, &format!("{seed}-restarted-{step}"));
            }
        }
        assert!(acted > 50, "seed {seed}: somebody acted in only {acted} of 240 steps");
    }
}
