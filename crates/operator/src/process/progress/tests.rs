use super::*;

const DEADLINE: Duration = Duration::from_secs(30);
const TENANT: &str = "TenantControlPlane";
const DATA_STORE: &str = "DataStore";

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// Lets each of these tenants have a pass that is cut at its deadline.
async fn cut(progress: &Progress, tenants: &[&str]) {
    let passes: Vec<InFlight> = tenants.iter().map(|name| progress.started(TENANT, *name, DEADLINE)).collect();
    pass(DEADLINE).await;
    passes.into_iter().for_each(InFlight::cut);
}

fn waiting(object: &str, seconds: u64) -> Stuck {
    Stuck::Queued { controller: TENANT, object: object.to_owned(), seconds }
}

#[tokio::test(start_paused = true)]
async fn is_not_ready_until_every_watch_delivered() {
    let progress = Progress::starting(PATIENCE);
    assert_eq!(progress.stuck(), [Stuck::Starting]);
    let (tenants, secrets) = (progress.watch("TenantControlPlanes"), progress.watch("Secrets"));
    tenants.ready();
    secrets.broken(&"forbidden");
    let stuck = progress.stuck();
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].to_string(), "the watch of Secrets has not delivered its objects yet: forbidden");
    secrets.ready();
    assert_eq!(progress.stuck(), []);
}

#[tokio::test(start_paused = true)]
async fn tolerates_a_short_break_of_a_watch_and_reports_a_long_one() {
    let progress = Progress::new();
    let watch = progress.watch("Secrets");
    watch.ready();
    watch.broken(&"connection refused");
    for _ in 0..4 {
        pass(PATIENCE / 4).await;
        watch.broken(&"timed out");
        assert_eq!(progress.stuck(), []);
    }
    pass(Duration::from_secs(1)).await;
    let stuck = progress.stuck();
    assert_eq!(stuck[0].to_string(), "the watch of Secrets has been broken for 61 s: timed out");
    watch.ready();
    assert_eq!(progress.stuck(), []);
    watch.broken(&"again");
    drop(watch);
    pass(PATIENCE * 2).await;
    assert_eq!(progress.stuck(), []);
}

#[tokio::test(start_paused = true)]
async fn takes_the_silence_of_a_watch_that_was_broken_for_its_return() {
    let progress = Progress::new();
    let watch = progress.watch("Secrets");
    watch.ready();
    for _ in 0..8 {
        watch.broken(&"connection refused");
        pass(Duration::from_secs(10)).await;
    }
    assert_eq!(progress.stuck().len(), 1);
    pass(WATCH_SILENCE).await;
    assert_eq!(progress.stuck(), []);
    watch.broken(&"connection refused");
    assert_eq!(progress.stuck(), [], "a new break has its own minute");
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_was_cut_is_no_progress() {
    let progress = Progress::new();
    progress.queued(TENANT, "ns/t");
    for _ in 0..2 {
        cut(&progress, &["ns/t"]).await;
    }
    assert_eq!(progress.stuck(), []);
    pass(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [waiting("ns/t", 61)]);
    let next = progress.started(TENANT, "ns/t", DEADLINE);
    assert_eq!(progress.stuck(), [waiting("ns/t", 61)], "one more try is no progress yet");
    drop(next);
    assert_eq!(progress.stuck(), []);
    let next = progress.started(TENANT, "ns/t", DEADLINE);
    pass(DEADLINE).await;
    assert_eq!(progress.stuck(), [], "it starts with a clean slate");
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn the_passes_of_datastores_do_not_hide_tenants_that_are_stuck() {
    let progress = Progress::new();
    progress.queued(TENANT, "ns/queued");
    for _ in 0..3 {
        cut(&progress, &["ns/t", "ns/u"]).await;
        drop(progress.started(DATA_STORE, "default", DEADLINE));
    }
    assert_eq!(progress.stuck(), ["ns/queued", "ns/t", "ns/u"].map(|name| waiting(name, 90)));
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_work_hides_nothing_and_is_not_missed() {
    let progress = Progress::new();
    drop(progress.started(TENANT, "ns/t", DEADLINE));
    pass(PATIENCE * 10).await;
    drop(progress.started(DATA_STORE, "default", DEADLINE));
    assert_eq!(progress.stuck(), []);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_hangs_is_its_own_trouble_while_others_get_somewhere() {
    let progress = Progress::new();
    for _ in 0..4 {
        cut(&progress, &["ns/hangs"]).await;
        drop(progress.started(TENANT, "ns/waits", DEADLINE));
    }
    assert_eq!(progress.stuck(), []);
    cut(&progress, &["ns/hangs"]).await;
    cut(&progress, &["ns/hangs"]).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [waiting("ns/hangs", 181)]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_woken_during_its_own_long_pass_is_not_stuck() {
    let progress = Progress::new();
    let long = progress.started(TENANT, "ns/t", PATIENCE * 5);
    progress.queued(TENANT, "ns/t");
    pass(PATIENCE * 4).await;
    assert_eq!(progress.stuck(), []);
    drop(long);
    assert_eq!(progress.stuck(), []);
    pass(PATIENCE + Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [waiting("ns/t", 301)]);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_during_a_pass_that_is_cut_does_not_restart_the_waiting_time() {
    let progress = Progress::new();
    for _ in 0..3 {
        let reconcile = progress.started(TENANT, "ns/t", DEADLINE);
        pass(DEADLINE).await;
        progress.queued(TENANT, "ns/t");
        reconcile.cut();
    }
    assert_eq!(progress.stuck(), [waiting("ns/t", 90)]);
}

#[tokio::test(start_paused = true)]
async fn reports_a_reconcile_that_outlives_its_deadline() {
    let progress = Progress::new();
    let reconcile = progress.started(TENANT, "ns/t", DEADLINE);
    let quick = progress.started(TENANT, "ns/u", DEADLINE);
    drop(quick);
    pass(DEADLINE + DEADLINE_MARGIN).await;
    assert_eq!(progress.stuck(), []);
    pass(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [Stuck::InFlight { controller: TENANT, object: "ns/t".into(), seconds: 61 }]);
    drop(reconcile);
    assert_eq!(progress.stuck(), []);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_long_pass_of_another_object_is_not_stuck_before_its_deadline() {
    let progress = Progress::new();
    let long = progress.started(TENANT, "ns/long", PATIENCE * 2);
    progress.queued(TENANT, "ns/waits");
    pass(PATIENCE * 2).await;
    assert_eq!(progress.stuck(), []);
    pass(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [waiting("ns/waits", 121)]);
    drop(long);
}

#[tokio::test(start_paused = true)]
async fn reports_a_queue_only_while_nothing_of_its_controller_ends() {
    let progress = Progress::new();
    progress.queued(TENANT, "ns/slow");
    pass(PATIENCE).await;
    progress.queued(TENANT, "ns/slow");
    drop(progress.started(TENANT, "ns/other", DEADLINE));
    pass(PATIENCE).await;
    assert_eq!(progress.stuck(), [], "another reconcile ended just a minute ago");
    pass(Duration::from_secs(1)).await;
    assert_eq!(progress.stuck(), [waiting("ns/slow", 121)]);
    let _reconcile = progress.started(TENANT, "ns/slow", DEADLINE);
    assert_eq!(progress.stuck(), []);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_went_away_waits_no_more() {
    let progress = Progress::new();
    progress.queued(TENANT, "ns/t");
    progress.forgotten(TENANT, "ns/t");
    pass(PATIENCE * 2).await;
    assert_eq!(progress.stuck(), []);
}
