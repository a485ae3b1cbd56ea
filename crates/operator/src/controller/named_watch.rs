//! Watches objects that the operator does not own, one by one by name: it must not see any other of their namespaces.
//!
//! Secrets that DataStores refer to, ConfigMaps that tenants refer to. Only their metadata is watched: whoever is woken
//! reads what it needs.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use kamaji_apply::store::WATCH_SECONDS;
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher, watcher::Config},
};
use tokio::{sync::mpsc::UnboundedSender, task::AbortHandle};

/// Namespace and name.
pub type Name = (String, String);

/// Watches objects of kind `K` for objects of kind `W`.
pub struct NamedWatch<K, W: Resource<DynamicType = ()>> {
    client: Client,
    wake: UnboundedSender<ObjectRef<W>>,
    running: Arc<Mutex<Running<W>>>,
    of: std::marker::PhantomData<fn() -> K>,
}

/// Who follows what. An object that several follow is watched once.
struct Running<W: Resource<DynamicType = ()>> {
    followers: HashMap<ObjectRef<W>, BTreeSet<Name>>,
    tasks: HashMap<Name, AbortHandle>,
}

impl<K, W> NamedWatch<K, W>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
    W: Resource<DynamicType = ()> + Send + 'static,
    ObjectRef<W>: Hash + Eq + Clone + Send,
{
    /// Watches nothing yet; what changes is told to `wake`.
    pub fn new(client: Client, wake: UnboundedSender<ObjectRef<W>>) -> Self {
        let running = Running { followers: HashMap::new(), tasks: HashMap::new() };
        Self { client, wake, running: Arc::new(Mutex::new(running)), of: std::marker::PhantomData }
    }

    /// Watches exactly these objects for `who`. What changes from now on wakes it, so it reads them after this.
    pub fn follow(&self, who: &ObjectRef<W>, objects: BTreeSet<Name>) {
        let mut running = lock(&self.running);
        let same = running.followers.get(who).map_or(objects.is_empty(), |followed| *followed == objects);
        if same && objects.iter().all(|name| running.tasks.get(name).is_some_and(|task| !task.is_finished())) {
            return;
        }
        if objects.is_empty() {
            running.followers.remove(who);
        } else {
            running.followers.insert(who.clone(), objects.clone());
        }
        let Running { followers, tasks } = &mut *running;
        tasks.retain(|name, task| {
            let wanted = followers.values().any(|followed| followed.contains(name));
            if !wanted {
                task.abort();
            }
            wanted
        });
        for name in objects {
            if tasks.get(&name).is_none_or(AbortHandle::is_finished) {
                let task = self.start(&name);
                tasks.insert(name, task);
            }
        }
    }

    fn start(&self, watched: &Name) -> AbortHandle {
        let (namespace, name) = watched;
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), namespace);
        let config = Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
        let (wake, running, watched) = (self.wake.clone(), Arc::clone(&self.running), watched.clone());
        tokio::spawn(async move {
            let mut events = watcher(api, config).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => {
                        let running = lock(&running);
                        let concerned = running.followers.iter().filter(|(_, followed)| followed.contains(&watched));
                        for (who, _) in concerned {
                            let _ = wake.send(who.clone());
                        }
                    }
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Err(error) => {
                        let (kind, name) = (K::kind(&()), watched.1.as_str());
                        tracing::debug!(%error, %kind, name, "the watch of an object starts again");
                    }
                }
            }
        })
        .abort_handle()
    }
}

fn lock<W: Resource<DynamicType = ()>>(running: &Mutex<Running<W>>) -> MutexGuard<'_, Running<W>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
