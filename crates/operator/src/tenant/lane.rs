//! One kind in a session: its watch, when it is looked at next, and what is wrong with it.

use std::{task::Context, time::Duration};

use kamaji_plan::{status::conditions::Trouble, tenant_cluster::TenantCluster};
use kube::{ResourceExt as _, core::WatchEvent};
use tokio::time::Instant;

use super::{
    backoff::Backoff,
    kinds::{Kept, Kind, with_type},
    look::{Failure, Looked},
    records::{Records, digest, is_ours, trim},
    watch::Watch,
    workloads::Workloads,
};

/// Looks at one kind follow each other no faster, whatever happens to its objects: whoever changes an object again and
/// again must not keep the operator busy.
const PACE: Duration = Duration::from_secs(1);

/// One kind.
pub(super) struct Lane {
    /// Which one.
    pub(super) kind: Kind,
    /// Tells of changes; `None` until the first look, and after it ended.
    pub(super) watch: Option<Watch>,
    /// When to look.
    pub(super) due: Option<Instant>,
    /// Everything of the present plan was tried once.
    pub(super) tried: bool,
    wanted: u64,
    looked: Option<Instant>,
    failures: Vec<Failure>,
    failing_since: Option<Instant>,
    backoff: Backoff,
}

impl Lane {
    /// A kind that was never looked at; its time is now.
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            watch: None,
            due: Some(Instant::now()),
            tried: false,
            wanted: 0,
            looked: None,
            failures: Vec::new(),
            failing_since: None,
            backoff: Backoff::new(),
        }
    }

    /// Has it looked at, if the plan wants something else of this kind than before.
    pub(super) fn plan(&mut self, cluster: &TenantCluster) {
        let wanted = with_type!(self.kind, K => digest_of_all::<K>(cluster));
        if self.wanted != wanted {
            self.wanted = wanted;
            self.tried = false;
            self.backoff.reset();
            self.due = Some(Instant::now());
        }
    }

    /// Notes how a look ended.
    pub(super) fn looked(&mut self, looked: Looked) {
        let now = Instant::now();
        self.looked = Some(now);
        self.failures = looked.failures;
        if self.failures.is_empty() {
            self.tried = true;
            self.due = None;
            self.failing_since = None;
            self.backoff.reset();
            return;
        }
        self.failing_since.get_or_insert(now);
        let passing = self.failures.iter().any(|failure| matches!(failure, Failure::Passing(_)));
        self.tried = !passing;
        self.due = Some(now + if passing { self.backoff.next() } else { self.backoff.long() });
    }

    /// Has it looked at soon.
    pub(super) fn doubt(&mut self) {
        let now = Instant::now();
        let at = self.looked.map_or(now, |looked| now.max(looked + PACE));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// What is wrong: what somebody has to change, and what should have passed by itself within `grace`.
    pub(super) fn troubles(&self, grace: Duration) -> impl Iterator<Item = &Trouble> {
        let overdue = self.failing_since.is_some_and(|since| since.elapsed() >= grace);
        self.failures.iter().filter_map(move |failure| match failure {
            Failure::Lasting(trouble) => Some(trouble),
            Failure::Passing(trouble) => overdue.then_some(trouble),
        })
    }

    /// Whether the last look left nothing undone.
    pub(super) fn is_clean(&self) -> bool {
        self.tried && self.failures.is_empty()
    }

    /// Reads one line of its watch.
    pub(super) fn hear(&mut self, line: &[u8], records: &Records, workloads: &mut Workloads) {
        if with_type!(self.kind, K => is_news::<K>(line, records, workloads)) {
            self.doubt();
        }
    }

    /// The next line of its watch, or `None` when the watch ended.
    pub(super) fn poll_line(&mut self, context: &mut Context<'_>) -> std::task::Poll<Option<Vec<u8>>> {
        match &mut self.watch {
            Some(watch) => watch.poll_line(context),
            None => std::task::Poll::Pending,
        }
    }
}

fn is_news<K: Kept>(line: &[u8], records: &Records, workloads: &mut Workloads) -> bool {
    match serde_json::from_slice::<WatchEvent<K>>(line) {
        Ok(WatchEvent::Added(mut object) | WatchEvent::Modified(mut object)) => {
            trim(&mut object);
            if records.holds(&object) {
                workloads.saw(&object);
                !records.is_known(&object)
            } else {
                // What others mark with the label is theirs.
                is_ours(&object)
            }
        }
        Ok(WatchEvent::Deleted(object)) => {
            tracing::debug!(kind = %K::kind(&()), object = object.name_any(), "gone, or its label is");
            workloads.forget(&object);
            true
        }
        // After an error the watch ends, and with its end the kind is looked at.
        Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) => false,
        Err(_) => true,
    }
}

fn digest_of_all<K: Kept>(cluster: &TenantCluster) -> u64 {
    let all = K::wanted(cluster).iter().chain(K::created_once(cluster)).map(digest);
    // Never that of a lane that has no plan yet.
    all.fold(1, |sum, digest| sum.rotate_left(5) ^ digest)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    use super::*;

    fn config_map(manager: &str, value: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "kube-system", "name": "addon", "resourceVersion": "7",
                "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {"f:key": {}}}}],
            },
            "data": {"key": value},
        })
    }

    fn news(records: &Records, kind: &str, object: &Value) -> bool {
        let line = json!({"type": kind, "object": object}).to_string();
        is_news::<ConfigMap>(line.as_bytes(), records, &mut Workloads::new(Duration::ZERO))
    }

    #[test]
    fn only_what_concerns_an_object_of_ours_is_news() {
        let mut records = Records::default();
        assert!(news(&records, "ADDED", &config_map("kamaji", "x")), "one that nobody wants any more");
        assert!(!news(&records, "ADDED", &config_map("kubectl", "x")), "a copied label");
        let mut settled: ConfigMap = serde_json::from_value(config_map("kamaji", "x")).unwrap();
        trim(&mut settled);
        records.settled(&settled, 1);
        assert!(!news(&records, "MODIFIED", &config_map("kamaji", "x")), "our own write");
        assert!(news(&records, "MODIFIED", &config_map("kamaji", "y")));
        assert!(news(&records, "MODIFIED", &config_map("by-hand", "x")), "its fields were taken");
        assert!(news(&records, "DELETED", &config_map("kamaji", "x")));
        let expired = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version"});
        assert!(!news(&records, "ERROR", &expired), "the end of the watch tells");
    }

    #[tokio::test]
    async fn failures_that_pass_are_told_only_when_they_last() {
        let mut lane = Lane::new(Kind::ConfigMap);
        let failed = |failure: Failure| Looked { failures: vec![failure], ..Looked::default() };
        let trouble = || Trouble::new("TenantObjectFailed", "no namespace");
        lane.looked(failed(Failure::Passing(trouble())));
        assert!(!lane.tried && lane.due.is_some());
        assert_eq!(lane.troubles(Duration::from_mins(1)).count(), 0);
        assert_eq!(lane.troubles(Duration::ZERO).count(), 1);
        lane.looked(failed(Failure::Lasting(trouble())));
        assert!(lane.tried && !lane.is_clean());
        assert_eq!(lane.troubles(Duration::from_mins(1)).count(), 1);
        lane.looked(Looked::default());
        assert!(lane.is_clean() && lane.due.is_none());
    }

    #[tokio::test]
    async fn looks_at_one_kind_keep_their_pace() {
        let mut lane = Lane::new(Kind::ConfigMap);
        lane.looked(Looked::default());
        lane.doubt();
        let due = lane.due.unwrap();
        assert!(due > Instant::now() + PACE / 2 && due <= Instant::now() + PACE);
        lane.doubt();
        assert_eq!(lane.due, Some(due));
    }
}
