//! Watches the Secrets that DataStores refer to, one by one by name: the operator does not own them, and must not see
//! any other Secret of their namespaces.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::DataStore;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher, watcher::Config},
};
use tokio::{sync::mpsc::UnboundedSender, task::AbortHandle};

type Name = (String, String);

/// Running watches, by the DataStore that needs them.
pub struct SecretWatch {
    client: Client,
    wake: UnboundedSender<ObjectRef<DataStore>>,
    running: Mutex<HashMap<String, HashMap<Name, AbortHandle>>>,
}

impl SecretWatch {
    /// Watches nothing yet; what changes is told to `wake`.
    pub fn new(client: Client, wake: UnboundedSender<ObjectRef<DataStore>>) -> Self {
        Self { client, wake, running: Mutex::default() }
    }

    /// Watches exactly these Secrets for a DataStore.
    pub fn follow(&self, data_store: &str, secrets: &BTreeSet<Name>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let own = running.entry(data_store.to_owned()).or_default();
        own.retain(|name, task| {
            let wanted = secrets.contains(name);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for name in secrets {
            if own.get(name).is_none_or(AbortHandle::is_finished) {
                own.insert(name.clone(), self.start(data_store, name));
            }
        }
        if own.is_empty() {
            running.remove(data_store);
        }
    }

    fn start(&self, data_store: &str, (namespace, name): &Name) -> AbortHandle {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), namespace);
        let config = Config::default().fields(&format!("metadata.name={name}"));
        let (wake, data_store) = (self.wake.clone(), data_store.to_owned());
        tokio::spawn(async move {
            let mut events = watcher(api, config).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                        let _ = wake.send(ObjectRef::new(&data_store));
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Err(error) => tracing::debug!(%error, data_store, "the watch of a Secret starts again"),
                }
            }
        })
        .abort_handle()
    }
}
