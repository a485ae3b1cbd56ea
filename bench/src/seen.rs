//! When objects appeared, became what was waited for, and went: from a watch, so to the millisecond.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long the first list may take.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// When one object was first seen in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// It existed.
    pub created: Option<Instant>,
    /// The condition held.
    pub done: Option<Instant>,
    /// It was gone.
    pub gone: Option<Instant>,
}

/// Marks by the objects' names.
pub type ByName = BTreeMap<String, Marks>;

/// A watch that takes down when things happened. It ends when this is dropped.
#[derive(Debug)]
pub struct Seen {
    marks: watch::Receiver<ByName>,
    task: AbortHandle,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// Begins to watch, and returns when the objects that are there already are known.
    ///
    /// # Errors
    /// When the first list does not arrive.
    pub async fn start<K>(api: Api<K>, is_done: fn(&K) -> bool) -> Result<Self>
    where
        K: Resource<DynamicType: Default> + Clone + Debug + Send + DeserializeOwned + 'static,
    {
        let (sender, marks) = watch::channel(ByName::new());
        let (listed, mut is_listed) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                let now = Instant::now();
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        let is_done = is_done(&object);
                        sender.send_modify(|marks| present(marks, object.name_any(), is_done, now));
                    }
                    Ok(Event::Delete(object)) => sender.send_modify(|marks| {
                        marks.entry(object.name_any()).or_default().gone.get_or_insert(now);
                    }),
                    Ok(Event::InitDone) => listed.send_modify(|is_listed| *is_listed = true),
                    Ok(Event::Init) => {}
                    Err(error) => eprintln!("  a watch was interrupted: {error}"),
                }
            }
        });
        let seen = Self { marks, task: task.abort_handle() };
        match tokio::time::timeout(FIRST_LIST, is_listed.wait_for(|is_listed| *is_listed)).await {
            Ok(Ok(_)) => Ok(seen),
            Ok(Err(_)) | Err(_) => {
                bail!(
                    "the cluster did not list {} within {} s",
                    K::plural(&K::DynamicType::default()),
                    FIRST_LIST.as_secs()
                )
            }
        }
    }

    /// Waits until `condition` holds; gives the marks as they then are, and whether it held before `limit` was over.
    pub async fn until(&mut self, limit: Duration, condition: impl FnMut(&ByName) -> bool) -> (ByName, bool) {
        let is_met = matches!(tokio::time::timeout(limit, self.marks.wait_for(condition)).await, Ok(Ok(_)));
        (self.marks.borrow().clone(), is_met)
    }

    /// Waits until the condition of all `names` has held.
    pub async fn all_done(&mut self, names: &[String], limit: Duration) -> (ByName, bool) {
        self.until(limit, |marks| names.iter().all(|name| marks.get(name).is_some_and(|one| one.done.is_some()))).await
    }

    /// Waits until all `names` are gone.
    pub async fn all_gone(&mut self, names: &[String], limit: Duration) -> (ByName, bool) {
        self.until(limit, |marks| names.iter().all(|name| marks.get(name).is_none_or(|one| one.gone.is_some()))).await
    }
}

fn present(marks: &mut ByName, name: String, is_done: bool, now: Instant) {
    let marks = marks.entry(name).or_default();
    marks.created.get_or_insert(now);
    if is_done {
        marks.done.get_or_insert(now);
    }
}

/// Seconds from `began` until the last of `marks`; `None` when one of them is missing.
pub fn last(began: Instant, marks: impl IntoIterator<Item = Option<Instant>>) -> Option<f64> {
    let mut last = began;
    for mark in marks {
        last = last.max(mark?);
    }
    Some((last - began).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_counts() {
        let (mut marks, early) = (ByName::new(), Instant::now());
        let late = early + Duration::from_secs(1);
        present(&mut marks, "a".into(), false, early);
        present(&mut marks, "a".into(), true, late);
        present(&mut marks, "a".into(), true, late + Duration::from_secs(1));
        assert_eq!(marks["a"], Marks { created: Some(early), done: Some(late), gone: None });
    }

    #[test]
    fn there_is_no_last_while_one_is_missing() {
        let began = Instant::now();
        let second = began + Duration::from_secs(1);
        assert_eq!(last(began, [Some(second), Some(began)]), Some(1.0));
        assert_eq!(last(began, [Some(second), None]), None);
    }
}
