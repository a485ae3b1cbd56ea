//! Sees every state of every tenant's Secrets, from the outside.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, events::v1::Event},
};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinHandle;

type Data = BTreeMap<String, ByteString>;

/// Watches the Secrets of one namespace for as long as it lives.
pub struct Witness {
    seen: Arc<Mutex<HashMap<Key, Vec<Data>>>>,
    task: JoinHandle<()>,
    events: Api<Event>,
}

/// UID of the tenant, and name of the Secret.
type Key = (String, String);

impl Witness {
    /// Sees what is there and what comes.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let seen: Arc<Mutex<HashMap<Key, Vec<Data>>>> = Arc::default();
        let events = watcher(Api::<Secret>::namespaced(client.clone(), namespace), watcher::Config::default());
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = events.default_backoff().boxed();
            while let Some(event) = events.next().await {
                let Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) = event else { continue };
                let Some(owner) = secret.owner_references().first().map(|owner| owner.uid.clone()) else { continue };
                let data = secret.data.clone().unwrap_or_default();
                let mut notes = notes.lock().unwrap();
                let states = notes.entry((owner, secret.name_any())).or_default();
                if states.last() != Some(&data) {
                    states.push(data);
                }
            }
        });
        Self { seen, task, events: Api::namespaced(client.clone(), namespace) }
    }

    /// How many Secrets it has seen, deleted ones included.
    pub fn secrets(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Names of Secrets whose data was not always the same, with the number of changes.
    pub fn changed(&self) -> BTreeMap<String, usize> {
        let seen = self.seen.lock().unwrap();
        let changed = seen.iter().filter(|(_, states)| states.len() > 1);
        changed.map(|((_, name), states)| (name.clone(), states.len() - 1)).collect()
    }

    /// Changes of which no Event tells: each Event excuses one change of the Secrets that it names.
    pub async fn unexplained(&self) -> BTreeMap<String, usize> {
        let events = self.events.list(&ListParams::default()).await.unwrap();
        let told = |name: &str| {
            let named =
                |note: &str| note.split(|c: char| c.is_whitespace() || ":,.;".contains(c)).any(|word| word == name);
            let issued = |event: &&Event| {
                matches!(event.reason.as_deref(), Some("CertificateIssued" | "KeyRotated"))
                    && event.note.as_deref().is_some_and(named)
            };
            events.iter().filter(issued).count()
        };
        self.changed().into_iter().filter(|(name, changes)| told(name) < *changes).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
