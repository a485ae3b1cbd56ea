//! What a controller takes up: its queue, and when a pass of it may begin. Once a stop is asked for that is nothing more,
//! and passes in flight end.

use std::convert::Infallible;

use futures::{Stream, StreamExt};
use kube::{Resource, runtime::reflector::ObjectRef};

use super::stores::key;
use crate::process::Process;

/// The queue of a controller as its applier takes it, until a stop is asked for. Whoever woke an object, it waits for
/// its pass from here on.
pub fn queue<K, S>(
    process: &Process,
    controller: &'static str,
    wakes: S,
) -> impl Stream<Item = Result<ObjectRef<K>, Infallible>> + use<K, S>
where
    K: Resource<DynamicType = ()>,
    S: Stream<Item = ObjectRef<K>>,
{
    let (progress, leadership) = (process.progress.clone(), process.leadership.clone());
    let shutdown = process.shutdown.clone();
    wakes
        .inspect(move |woken| {
            // A standby takes up nothing, however long its queue: that is no reason to call it stuck.
            if leadership.is_held() {
                progress.queued(controller, key(woken.namespace.as_deref(), &woken.name));
            }
        })
        .map(Ok)
        .take_until(async move { shutdown.requested().await })
}

/// Says that the object does not exist, so that nobody waits for a pass of it.
pub fn forget(process: &Process, controller: &'static str, namespace: Option<&str>, name: &str) {
    process.progress.forgotten(controller, key(namespace, name));
}

/// Waits until a pass may begin, and tells whether: this is the leader, the stores are `filled`, and no stop was asked for.
pub async fn may_begin(process: &Process, filled: impl Future<Output = ()>) -> bool {
    let begins = async {
        process.leadership.acquired().await;
        filled.await;
    };
    goes_on(process, begins).await
}

/// Waits for `awaited`, and tells whether to go on: not when a stop is asked for before it has come.
async fn goes_on(process: &Process, awaited: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = process.shutdown.requested() => false,
        () = awaited => true,
    }
}

/// Ends when a stop is asked for before the stores are `filled`, and never otherwise. No pass has begun by then, and an
/// applier whose store has not been filled would wait for it all the same.
pub async fn stopped_before(process: &Process, filled: impl Future<Output = ()>) {
    if goes_on(process, filled).await {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc, time::Duration};

    use clap::Parser;
    use http::{Request, Response};
    use kamaji_api::TenantControlPlane;
    use kube::{Client, client::Body};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;
    use crate::{
        cli::manager::ManagerArgs,
        controller::names::TENANT_CONTROL_PLANE,
        process::{
            leader::{Election, Leadership},
            progress::{PATIENCE, Progress},
            shutdown::Shutdown,
        },
        telemetry::metrics::Metrics,
    };

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        manager: ManagerArgs,
    }

    /// Of a server that never answers.
    fn client() -> Client {
        let silence = |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>();
        Client::new(tower::service_fn(silence), "default")
    }

    fn process(leadership: Leadership) -> Process {
        let flags = ["test", "--pod-namespace=default", "--serviceaccount-name=kamaji"];
        Process {
            options: Arc::new(Flags::try_parse_from(flags).unwrap().manager.validate().unwrap()),
            client: client(),
            leadership,
            progress: Progress::new(),
            metrics: Metrics::new(),
            shutdown: Shutdown::new(),
        }
    }

    fn tenant() -> ObjectRef<TenantControlPlane> {
        ObjectRef::new("t").within("ns")
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_woken_waits_for_a_pass_until_it_is_found_gone() {
        let process = process(Leadership::always());
        let (wake, wakes) = mpsc::unbounded_channel();
        let mut queue = pin!(queue(&process, TENANT_CONTROL_PLANE, UnboundedReceiverStream::new(wakes)));
        wake.send(tenant()).unwrap();
        assert_eq!(queue.next().await, Some(Ok(tenant())));
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        let stuck = process.progress.stuck();
        assert_eq!(stuck.len(), 1);
        let sentence = stuck[0].to_string();
        assert!(sentence.starts_with("tenantcontrolplane ns/t has waited for 61 s, and no reconcile"), "{sentence}");
        forget(&process, TENANT_CONTROL_PLANE, Some("ns"), "t");
        assert_eq!(process.progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_standby() {
        let standby = Election::new(client(), "default", "lease", "standby".to_owned()).leadership();
        let process = process(standby);
        let (wake, wakes) = mpsc::unbounded_channel();
        let mut queue = pin!(queue(&process, TENANT_CONTROL_PLANE, UnboundedReceiverStream::new(wakes)));
        wake.send(tenant()).unwrap();
        assert_eq!(queue.next().await, Some(Ok(tenant())));
        tokio::time::advance(PATIENCE * 2).await;
        assert_eq!(process.progress.stuck(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_taken_up_after_a_stop() {
        let process = process(Leadership::always());
        let (wake, wakes) = mpsc::unbounded_channel();
        let mut queue = pin!(queue(&process, TENANT_CONTROL_PLANE, UnboundedReceiverStream::new(wakes)));
        wake.send(tenant()).unwrap();
        assert!(goes_on(&process, std::future::ready(())).await);
        process.shutdown.request();
        assert_eq!(queue.next().await, None);
        assert!(!goes_on(&process, std::future::pending()).await);
        assert!(!goes_on(&process, std::future::ready(())).await);
        stopped_before(&process, std::future::pending()).await;
    }
}
