//! What this process wrote and its watches have not yet seen.
//!
//! A watch is a moment behind. A pass that follows a write at once would find the old object, or none, and do the work
//! again; for a certificate that means another key and a needless rollout. And when the watch catches up, it tells
//! nothing new: whoever wrote has read the answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

/// After this long the watch is right, whatever was written or deleted.
const TRUST: Duration = Duration::from_secs(10);

struct Entry<K> {
    /// The answer to our write; `None` where the watch reported a deletion.
    object: Option<Arc<K>>,
    version: u64,
    since: Instant,
}

/// Own writes by object.
pub struct Recent<K: Resource<DynamicType = ()> + 'static>(Mutex<HashMap<ObjectRef<K>, Entry<K>>>);

impl<K: Resource<DynamicType = ()> + Clone + 'static> Default for Recent<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Recent<K> {
    /// Remembers the API server's answer to a write. An answer that arrives after the watch has seen the object deleted
    /// is old news.
    pub fn wrote(&self, object: &K) {
        let version = version(object);
        let mut entries = self.entries();
        let key = ObjectRef::from_obj(object);
        if entries.get(&key).is_some_and(|entry| entry.object.is_none() && entry.version >= version) {
            return;
        }
        entries.insert(key, Entry { object: Some(Arc::new(object.clone())), version, since: Instant::now() });
    }

    /// The newest known state of an object: ours, or the store's.
    pub fn newest(&self, store: &Store<K>, key: &ObjectRef<K>) -> Option<Arc<K>> {
        let stored = store.get(key);
        let mut entries = self.entries();
        let Some(own) = entries.get(key).and_then(|entry| entry.object.clone().map(|own| (own, entry.since))) else {
            return stored;
        };
        let (own, since) = own;
        let overtaken = stored.as_ref().is_some_and(|stored| version(stored.as_ref()) >= version(own.as_ref()));
        if overtaken || since.elapsed() > TRUST {
            entries.remove(key);
            return stored;
        }
        Some(own)
    }

    /// Tells whether what a watch has just put into its store is our own write and nothing more. Forgets the write when
    /// the watch has caught up with it.
    pub fn echoes(&self, object: &K) -> bool {
        let key = ObjectRef::from_obj(object);
        let mut entries = self.entries();
        let Some(own) = entries.get(&key).map(|entry| entry.version) else { return false };
        let seen = version(object);
        if seen >= own {
            entries.remove(&key);
        }
        seen == own
    }

    /// Forgets an object that a watch saw deleted (or lost sight of), unless it was written again since.
    pub fn deleted(&self, object: &K) {
        let version = version(object);
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.object.is_some() || entry.since.elapsed() < TRUST);
        let entry = Entry { object: None, version, since: Instant::now() };
        let key = ObjectRef::from_obj(object);
        if entries.get(&key).is_none_or(|own| own.version <= version) {
            entries.insert(key, entry);
        }
    }

    /// Forgets an object that this process deleted.
    pub fn forget(&self, key: &ObjectRef<K>) {
        self.entries().remove(key);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, Entry<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions are decimal numbers that grow, over all objects (Kubernetes API concepts, "Resource versions").
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{reflector::store::Writer, watcher::Event};

    use super::*;

    fn object(version: u64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("one".to_owned());
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    fn key() -> ObjectRef<ConfigMap> {
        ObjectRef::from_obj(&object(1))
    }

    fn newest(recent: &Recent<ConfigMap>, stored: Option<u64>) -> Option<u64> {
        let mut writer = Writer::<ConfigMap>::default();
        if let Some(stored) = stored {
            writer.apply_watcher_event(&Event::Apply(object(stored)));
        }
        recent.newest(&writer.as_reader(), &key()).map(|found| version(found.as_ref()))
    }

    #[test]
    fn an_own_write_counts_until_the_watch_has_it() {
        let recent = Recent::default();
        recent.wrote(&object(5));
        assert_eq!(newest(&recent, None), Some(5));
        assert_eq!(newest(&recent, Some(4)), Some(5));
        assert_eq!(newest(&recent, Some(6)), Some(6));
        assert_eq!(newest(&recent, None), None, "the write was overtaken and is forgotten");
    }

    #[test]
    fn only_the_very_write_is_an_echo() {
        let recent = Recent::default();
        recent.wrote(&object(5));
        assert!(!recent.echoes(&object(4)), "somebody else's change, which ours followed");
        assert!(recent.echoes(&object(5)));
        assert!(!recent.echoes(&object(5)), "a watch that starts again tells everything anew");
        recent.wrote(&object(7));
        assert!(!recent.echoes(&object(8)));
        assert_eq!(newest(&recent, None), None, "the watch is ahead of the write");
    }

    #[test]
    fn a_deletion_ends_the_memory_of_earlier_writes_only() {
        let recent = Recent::default();
        recent.wrote(&object(5));
        recent.deleted(&object(6));
        assert_eq!(newest(&recent, None), None);
        recent.wrote(&object(5));
        assert_eq!(newest(&recent, None), None, "the answer came after the deletion");
        recent.wrote(&object(7));
        recent.deleted(&object(6));
        assert_eq!(newest(&recent, None), Some(7), "written again since");
    }
}
