//! Waiting for objects by a watch, never by asking again.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::watch_object;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why the wait ended without what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Time ran out.
    #[error("{kind} {name} was not as awaited after {seconds} s; it was last: {last}")]
    TimedOut {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// How long it was waited, in seconds.
        seconds: u64,
        /// The object as it was last, as JSON without Secret data; or that it did not exist; or why it is not known.
        last: String,
    },
    /// The watch ended by itself, which a watch does not do.
    #[error("the watch on {kind} {name} ended")]
    Ended {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed_out",
            Self::Ended { .. } => "ended",
        }
    }
}

/// Waits until the object exists and `condition` holds for it; gives it as it then was.
///
/// A server that is away for a while is waited for too. The error of a timeout shows the object as it was last.
pub async fn wait_for<K, F>(api: &Api<K>, name: &str, timeout: Duration, condition: F) -> Result<K, Error>
where
    K: Resource<DynamicType: Default> + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
    F: Fn(&K) -> bool,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let select = |object: Option<K>| object.filter(|object| condition(object)).ok_or(());
    watch_until(api, &kind, name, timeout, select).await
}

/// Waits until the object is gone, or another of the same name has taken its place.
pub async fn wait_for_deletion<K>(api: &Api<K>, name: &str, uid: Option<&str>, timeout: Duration) -> Result<(), Error>
where
    K: Resource<DynamicType: Default> + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let select = |object: Option<K>| match object {
        Some(object) if uid.is_none() || object.uid().as_deref() == uid => Err(()),
        Some(_) | None => Ok(()),
    };
    watch_until(api, &kind, name, timeout, select).await
}

/// `select` gives what to return, or `Err` to go on waiting.
async fn watch_until<K, T, F>(api: &Api<K>, kind: &str, name: &str, timeout: Duration, select: F) -> Result<T, Error>
where
    K: Resource<DynamicType: Default> + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
    F: Fn(Option<K>) -> Result<T, ()>,
{
    let mut last = "not known yet".to_owned();
    let found = tokio::time::timeout(timeout, async {
        let mut objects = pin!(watch_object(api.clone(), name).backoff(Steady));
        while let Some(event) = objects.next().await {
            match event {
                Ok(object) => {
                    let seen = object.as_ref().map_or_else(|| "absent".to_owned(), describe);
                    match select(object) {
                        Ok(found) => return Some(found),
                        Err(()) => last = seen,
                    }
                }
                Err(error) => last = format!("not known: {error}"),
            }
        }
        None
    })
    .await;
    let (kind, name) = (kind.to_owned(), name.to_owned());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Error::Ended { kind, name }),
        Err(_elapsed) => Err(Error::TimedOut { kind, name, seconds: timeout.as_secs(), last }),
    }
}

/// A test asks a server that is away at the same short interval, since nobody else suffers.
#[derive(Debug)]
pub(crate) struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// One line of JSON, without what nobody reads (managedFields) and nobody may read (Secret data).
fn describe<K: Resource<DynamicType: Default> + Serialize>(object: &K) -> String {
    match serde_json::to_value(object) {
        Ok(mut value) => {
            crate::dump::redact(&K::kind(&K::DynamicType::default()), &mut value);
            Value::to_string(&value)
        }
        Err(error) => format!("not serialisable: {error}"),
    }
}
