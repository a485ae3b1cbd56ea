//! Shared watch caches, trimmed to what reads and the skip rule of [`Applier::apply`](crate::Applier::apply) need.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::InitialListStrategy;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::managed_fields;

/// The API server ends a watch after this many seconds, and it goes on where it was. A watch that has nothing to tell
/// looks like one whose connection is lost: a client whose read timeout is longer than this tells the two apart.
pub const WATCH_SECONDS: u32 = 80;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What can happen to a watch. None of it ends the stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server was not reached, or refused. The watch starts again by itself, later each time.
    #[error("the watch of {kind} objects was interrupted, it starts again by itself: {source}")]
    Interrupted {
        /// Kind.
        kind: String,
        /// What the watch saw.
        #[source]
        source: Box<watcher::Error>,
    },
    /// An object does not fit its type. It is left out of the store until it does; all others are served.
    #[error("{kind} {}{name} cannot be read: correct the object, it is ignored until then", prefix(namespace))]
    Malformed {
        /// Kind.
        kind: String,
        /// Namespace, empty for a cluster-scoped object.
        namespace: String,
        /// Name.
        name: String,
        /// What the parser says. May quote the object: do not show it for Secrets.
        detail: String,
    },
}

impl Error {
    /// Short, fixed word for metrics: `unavailable` or `malformed`.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Interrupted { .. } => "unavailable",
            Self::Malformed { .. } => "malformed",
        }
    }
}

fn prefix(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{namespace}/") }
}

/// Watches objects into a store.
///
/// `api` says where: `Api::all(client)` or `Api::namespaced(client, ..)`; the guard type keeps one malformed object
/// from stopping the watch. `label_selector` limits what is kept. `manager` is the field manager of the
/// [`Applier`](crate::Applier) whose ownership records are kept, as text (see [`trim`]).
///
/// Nothing happens until the stream is polled, and the store is as old as the last poll. Events of the initial list
/// come between `Init` and `InitDone`; the store is complete at `InitDone`. A streamed list comes from the API server's
/// own cache, which may be older than what was read or written before: whatever must never happen twice is decided by
/// the API server ([`Applier::create_if_absent`](crate::Applier::create_if_absent)), not by a store.
pub fn watch<K>(
    api: Api<DeserializeGuard<K>>,
    label_selector: Option<&str>,
    manager: &str,
) -> (Store<K>, BoxStream<'static, Result<watcher::Event<K>, Error>>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let manager = manager.to_owned();
    let config = watcher::Config { label_selector: label_selector.map(str::to_owned), ..watcher::Config::default() };
    watch_with(api, config, move |object| trim(object, &manager))
}

/// As [`watch`], with the caller's selectors, and with `trim` applied to each object before it is kept.
///
/// The list strategy and the timeout of `config` are overruled: the initial list is streamed where the API server can, which costs
/// neither side a copy of the whole list, and paged where it cannot (Kubernetes 1.31 and 1.33 by default).
pub fn watch_with<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    trim: impl Fn(&mut K) + Send + 'static,
) -> (Store<K>, BoxStream<'static, Result<watcher::Event<K>, Error>>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let (store, mut writer) = reflector::store();
    let seen = store.clone();
    let events = objects(api, config).filter_map(move |event| {
        let event = event.and_then(|event| unguard(event, &seen)).transpose();
        let event = event.map(|event| {
            event.map(|event| {
                let event = event.modify(&trim);
                writer.apply_watcher_event(&event);
                event
            })
        });
        std::future::ready(event)
    });
    (store, events.boxed())
}

/// Drops what no reader needs: ownership records of other managers, and the copy of the whole object that
/// `kubectl apply` keeps in an annotation. Ownership records of `manager` become text, a fifth of the memory; never
/// write a trimmed object back whole.
pub fn trim<K: Resource>(object: &mut K, manager: &str) {
    let meta = object.meta_mut();
    if let Some(entries) = &mut meta.managed_fields {
        entries.retain(|entry| managed_fields::is_of(entry, manager));
        entries.iter_mut().for_each(managed_fields::compact);
        entries.shrink_to_fit();
    }
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

type Guarded<K> = Result<watcher::Event<DeserializeGuard<K>>, watcher::Error>;

fn objects<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Result<watcher::Event<DeserializeGuard<K>>, Error>> + Send
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let config = watcher::Config { timeout: Some(WATCH_SECONDS), ..config };
    let paged = watcher(
        api.clone(),
        watcher::Config { initial_list_strategy: InitialListStrategy::ListWatch, ..config.clone() },
    );
    let streamed =
        watcher(api, watcher::Config { initial_list_strategy: InitialListStrategy::StreamingList, ..config });
    let state = (streamed.boxed(), Some(paged.boxed()));
    let events = stream::unfold(state, |(mut current, mut fallback): (BoxStream<'static, Guarded<K>>, _)| async move {
        loop {
            let event = current.next().await?;
            match fallback.take() {
                Some(paged) if matches!(&event, Err(error) if cannot_stream(error)) => current = paged,
                other => return Some((event, (current, other))),
            }
        }
    });
    events.backoff(Pauses::default()).map(|event| {
        event.map_err(|source| Error::Interrupted { kind: K::kind(&()).into_owned(), source: Box::new(source) })
    })
}

/// The longest time until a broken watch is tried again. One process has few watches, and nothing is healed without them.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// kube's pauses, which grow to a minute, cut short.
#[derive(Default)]
struct Pauses(watcher::DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(cut_short)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

// What is beyond the limit is spread below it, so that watches that broke together do not come back together.
fn cut_short(pause: Duration) -> Duration {
    let half = LONGEST_PAUSE / 2;
    if pause <= LONGEST_PAUSE { pause } else { half + Duration::from_millis(pause.subsec_millis().into()).mul_f64(2.5) }
}

fn cannot_stream(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
}

// A malformed object becomes an error. Its deletion becomes that of its last readable form, nothing if there was none.
fn unguard<K>(event: watcher::Event<DeserializeGuard<K>>, store: &Store<K>) -> Result<Option<watcher::Event<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let malformed = |invalid: InvalidObject| Error::Malformed {
        kind: K::kind(&()).into_owned(),
        namespace: invalid.metadata.namespace.unwrap_or_default(),
        name: invalid.metadata.name.unwrap_or_default(),
        detail: invalid.error,
    };
    Ok(Some(match event {
        Init => Init,
        InitDone => InitDone,
        InitApply(object) => InitApply(object.0.map_err(malformed)?),
        Apply(object) => Apply(object.0.map_err(malformed)?),
        Delete(DeserializeGuard(Ok(object))) => Delete(object),
        Delete(DeserializeGuard(Err(invalid))) => {
            let mut place = ObjectRef::<K>::new(invalid.metadata.name.as_deref().unwrap_or_default());
            place.namespace = invalid.metadata.namespace;
            return Ok(store.get(&place).map(|object| Delete(K::clone(&object))));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_stays_broken_is_tried_every_few_seconds() {
        let pauses: Vec<Duration> = Pauses::default().take(12).collect();
        assert!(pauses[0] < Duration::from_secs(2), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE), "{pauses:?}");
        assert!(pauses[5..].iter().all(|pause| *pause >= LONGEST_PAUSE / 2), "{pauses:?}");
    }
}
