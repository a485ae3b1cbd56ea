//! One watched kind, as every controller reads it.

use std::sync::Arc;

use kamaji_apply::{Applied, Outcome};
use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

use super::recent::Recent;

/// What the watch of a kind has seen, and what this process wrote since.
pub struct Cache<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// What the watch has seen.
    pub store: Store<K>,
    /// What this process wrote.
    pub recent: Recent<K>,
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Cache<K> {
    /// A cache over the store of a watch.
    pub fn new(store: Store<K>) -> Arc<Self> {
        Arc::new(Self { store, recent: Recent::default() })
    }

    /// The newest known state of an object.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        let key = match namespace {
            Some(namespace) => key.within(namespace),
            None => key,
        };
        self.recent.newest(&self.store, &key)
    }

    /// All of them, each in its newest known state.
    pub fn all(&self) -> Vec<Arc<K>> {
        let stored = self.store.state();
        stored
            .into_iter()
            .map(|object| self.recent.newest(&self.store, &ObjectRef::from_obj(object.as_ref())).unwrap_or(object))
            .collect()
    }

    /// Remembers what an apply left behind; gives the object as it is now.
    pub fn applied(&self, applied: Applied<K>) -> K {
        if applied.outcome != Outcome::Unchanged {
            self.recent.wrote(&applied.object);
        }
        applied.object
    }
}
