//! Addons whose pods do not come up, and why.

use std::{borrow::Cow, time::Duration};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kamaji_plan::status::conditions::Trouble;
use kube::{
    Resource as _, ResourceExt as _,
    api::ListParams,
    core::{ObjectList, Request},
};
use tokio::time::Instant;

use super::{
    connection::Connection,
    error::Error,
    kinds::{Kept, Pods},
};

/// Pods of a workload that are looked at; one that fails is enough to tell.
const PODS: u32 = 20;
const PODS_LIMIT: usize = 1024 * 1024;

/// The longest wait between two looks at the pods of one workload.
const LONGEST: Duration = Duration::from_mins(5);

/// Longest part of an image name that a condition repeats, in characters.
const IMAGE_LENGTH: usize = 300;

/// The workloads that have fewer pods than they should. Usually none.
#[derive(Debug)]
pub(super) struct Workloads {
    missing: Vec<Workload>,
    patience: Duration,
}

#[derive(Debug)]
struct Workload {
    kind: Cow<'static, str>,
    namespace: String,
    name: String,
    pods: Pods,
    wait: Duration,
    check_at: Instant,
    trouble: Option<Trouble>,
}

impl Workloads {
    /// Pods may take `patience` to come up before they are looked at.
    pub(super) fn new(patience: Duration) -> Self {
        Self { missing: Vec::new(), patience }
    }

    /// Notes how many pods an object that is wanted has.
    pub(super) fn saw<K: Kept>(&mut self, object: &K) {
        let Some(pods) = object.pods() else { return };
        if pods.available >= pods.wanted {
            self.forget(object);
            return;
        }
        let check_at = Instant::now() + self.patience;
        if let Some(known) = self.missing.iter_mut().find(|known| known.is(object)) {
            if known.pods != pods {
                known.pods = pods;
                known.wait = self.patience;
                known.check_at = check_at;
            }
            return;
        }
        self.missing.push(Workload {
            kind: K::kind(&()),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            pods,
            wait: self.patience,
            check_at,
            trouble: None,
        });
    }

    /// Forgets a workload.
    pub(super) fn forget<K: Kept>(&mut self, object: &K) {
        self.missing.retain(|known| !known.is(object));
        self.missing.shrink_to_fit();
    }

    /// When pods are to be looked at next.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.missing.iter().map(|workload| workload.check_at).min()
    }

    /// Looks at the pods of the workloads whose time has come.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn check(&mut self, connection: &Connection) -> Result<(), Error> {
        let now = Instant::now();
        for workload in self.missing.iter_mut().filter(|workload| workload.check_at <= now) {
            workload.wait = (workload.wait * 2).min(LONGEST);
            workload.check_at = now + workload.wait;
            let pods = workload.list(connection).await?;
            workload.trouble = pods.iter().find_map(|pod| workload.explain(pod));
        }
        Ok(())
    }

    /// What keeps pods from coming up, for a condition.
    pub(super) fn troubles(&self) -> impl Iterator<Item = Trouble> {
        self.missing.iter().filter_map(|workload| workload.trouble.clone())
    }
}

impl Workload {
    fn is<K: Kept>(&self, object: &K) -> bool {
        self.kind == K::kind(&())
            && object.meta().name.as_ref() == Some(&self.name)
            && object.meta().namespace.as_ref() == Some(&self.namespace)
    }

    async fn list(&self, connection: &Connection) -> Result<Vec<Pod>, Error> {
        let verb = format!("list the pods of {}", self.name);
        let params = ListParams::default().labels(&self.pods.selector).limit(PODS);
        let request = Request::new(Pod::url_path(&(), Some(&self.namespace))).list(&params);
        let request = request.map_err(|error| Error::Unreadable { verb: verb.clone(), detail: error.to_string() })?;
        let bytes = connection.read(request, &verb, PODS_LIMIT).await?;
        let list: ObjectList<Pod> =
            serde_json::from_slice(&bytes).map_err(|error| Error::Unreadable { verb, detail: error.to_string() })?;
        Ok(list.items)
    }

    /// Why a pod waits, where that is not a matter of the tenant's nodes: a pod that has no node is no trouble of ours.
    fn explain(&self, pod: &Pod) -> Option<Trouble> {
        let status = pod.status.as_ref()?;
        let init = status.init_container_statuses.iter().flatten();
        let (reason, why) =
            init.chain(status.container_statuses.iter().flatten()).find_map(|container| explain(pod, container))?;
        let Self { kind, namespace, name, pods: Pods { wanted, available, .. }, .. } = self;
        Some(Trouble::new(
            reason,
            format!(
                "The {kind} {namespace}/{name} of the tenant's cluster has {available} of {wanted} pods available: {why}."
            ),
        ))
    }
}

// Alternating reasons of the same cause give the same sentence: each other one would be a write.
fn explain(pod: &Pod, container: &ContainerStatus) -> Option<(&'static str, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let name = &container.name;
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "RegistryUnavailable" => {
            let containers =
                pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
            let image = containers.into_iter().find(|other| other.name == *name).and_then(|found| found.image.clone());
            let image: String = image.unwrap_or_default().chars().take(IMAGE_LENGTH).collect();
            Some((
                "ImageNotPulled",
                format!(
                    "the image {image} of its container {name} cannot be pulled; correct the addon's image, or give the nodes access to it"
                ),
            ))
        }
        "CrashLoopBackOff" => {
            Some(("PodsNotAvailable", format!("its container {name} ends again and again; its log says why")))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(("PodsNotAvailable", format!("its container {name} cannot be started ({reason})")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSet;
    use serde_json::{Value, json};

    use super::*;

    fn daemon_set(wanted: i32, available: i32) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"namespace": "kube-system", "name": "kube-proxy"},
            "spec": {"selector": {"matchLabels": {"k8s-app": "kube-proxy"}}, "template": {}},
            "status": {
                "desiredNumberScheduled": wanted, "numberAvailable": available, "currentNumberScheduled": wanted,
                "numberMisscheduled": 0, "numberReady": available,
            },
        }))
        .unwrap()
    }

    fn pod(waiting: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "kube-proxy-x"},
            "spec": {"containers": [{"name": "kube-proxy", "image": "registry.example/kube-proxy:v9"}]},
            "status": {"containerStatuses": [{
                "name": "kube-proxy", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": waiting},
            }]},
        }))
        .unwrap()
    }

    fn workload() -> Workload {
        let mut workloads = Workloads::new(Duration::from_secs(30));
        workloads.saw(&daemon_set(1, 0));
        workloads.missing.pop().unwrap()
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_pulled_is_named_in_one_lasting_sentence() {
        let workload = workload();
        let told = |reason: &str| workload.explain(&pod(&json!({"reason": reason}))).unwrap();
        assert_eq!(told("ErrImagePull"), told("ImagePullBackOff"));
        assert_eq!(
            told("ErrImagePull").message,
            "The DaemonSet kube-system/kube-proxy of the tenant's cluster has 0 of 1 pods available: the image \
             registry.example/kube-proxy:v9 of its container kube-proxy cannot be pulled; correct the addon's image, or \
             give the nodes access to it."
        );
    }

    #[tokio::test]
    async fn a_pod_that_is_about_to_start_or_has_no_node_is_no_trouble() {
        let workload = workload();
        assert_eq!(workload.explain(&pod(&json!({"reason": "ContainerCreating"}))), None);
        let mut unscheduled = pod(&json!({}));
        unscheduled.status = None;
        assert_eq!(workload.explain(&unscheduled), None);
    }

    #[tokio::test]
    async fn a_workload_is_looked_at_after_some_patience_and_forgotten_when_it_is_up() {
        let mut workloads = Workloads::new(Duration::from_secs(30));
        assert_eq!(workloads.next_check(), None);
        workloads.saw(&daemon_set(0, 0));
        assert_eq!(workloads.next_check(), None, "a tenant without nodes");
        workloads.saw(&daemon_set(1, 0));
        let first = workloads.next_check().unwrap();
        assert!(first > Instant::now() + Duration::from_secs(20));
        workloads.saw(&daemon_set(1, 0));
        assert_eq!(workloads.next_check(), Some(first), "the same again does not put it off");
        workloads.saw(&daemon_set(1, 1));
        assert_eq!(workloads.next_check(), None);
    }
}
