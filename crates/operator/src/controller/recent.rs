//! What this process wrote and its watches have not yet seen.
//!
//! A watch is a moment behind. A pass that follows a write at once would find the old object, or none, and do the work
//! again; for a certificate that means another key and a needless rollout.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

/// After this long the watch is right, whatever was written: a delete may have overtaken the answer to our write.
const TRUST: Duration = Duration::from_secs(10);

/// Own writes by object.
pub struct Recent<K: Resource<DynamicType = ()> + 'static>(Mutex<HashMap<ObjectRef<K>, (Arc<K>, Instant)>>);

impl<K: Resource<DynamicType = ()> + Clone + 'static> Default for Recent<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Recent<K> {
    /// Remembers the API server's answer to a write.
    pub fn wrote(&self, object: &K) {
        let key = ObjectRef::from_obj(object);
        self.entries().insert(key, (Arc::new(object.clone()), Instant::now()));
    }

    /// The newest known state of an object: ours, or the store's.
    pub fn newest(&self, store: &Store<K>, key: &ObjectRef<K>) -> Option<Arc<K>> {
        let stored = store.get(key);
        let mut entries = self.entries();
        let Some((own, since)) = entries.get(key) else { return stored };
        let own = Arc::clone(own);
        let overtaken = stored.as_ref().is_some_and(|stored| version(stored.as_ref()) >= version(own.as_ref()));
        if overtaken || since.elapsed() > TRUST {
            entries.remove(key);
            return stored;
        }
        Some(own)
    }

    /// Forgets an object that a watch saw deleted, unless it was written again since.
    pub fn deleted(&self, object: &K) {
        let key = ObjectRef::from_obj(object);
        let mut entries = self.entries();
        if entries.get(&key).is_some_and(|(own, _)| own.meta().uid == object.meta().uid) {
            entries.remove(&key);
        }
    }

    /// Forgets an object that this process deleted.
    pub fn forget(&self, key: &ObjectRef<K>) {
        self.entries().remove(key);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, (Arc<K>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions are decimal numbers that grow (Kubernetes API concepts, "Resource versions").
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}
