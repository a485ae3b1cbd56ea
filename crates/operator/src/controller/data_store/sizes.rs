//! How much the datastores hold: asked now and then beside their probes, and shown in the metrics.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kamaji_api::{DataStore, Driver, TenantControlPlane};
use kamaji_datastore::{Sizes, Store, Tenant};
use kamaji_plan::claim;
use kube::ResourceExt;
use tracing::Instrument;

/// A datastore is asked at most this often: a server with many databases looks at all of their files.
const PERIOD: Duration = Duration::from_mins(1);
/// Shorter than what a driver gives one request: who is slow with this answer is not taken for one that is away.
const DEADLINE: Duration = Duration::from_secs(3);

/// What the datastores said last, by the name of their DataStore.
#[derive(Default)]
pub struct Sampled(Mutex<HashMap<String, Sample>>);

struct Sample {
    /// UID of the DataStore: another one of the same name is another server.
    uid: Option<String>,
    asked: Instant,
    sizes: Option<Arc<Sizes>>,
}

impl Sampled {
    /// What the server of a DataStore said last.
    pub fn get(&self, data_store: &DataStore) -> Option<Arc<Sizes>> {
        let samples = self.samples();
        let sample = samples.get(&data_store.name_any())?;
        sample.sizes.clone().filter(|_| sample.uid == data_store.metadata.uid)
    }

    /// Forgets a DataStore that is gone.
    pub fn remove(&self, name: &str) {
        self.samples().remove(name);
    }

    /// Whether a DataStore is due at `now`; then it counts as asked.
    fn begin(&self, data_store: &DataStore, now: Instant) -> bool {
        let (name, uid) = (data_store.name_any(), &data_store.metadata.uid);
        let mut samples = self.samples();
        if let Some(sample) = samples.get_mut(&name).filter(|sample| sample.uid == *uid) {
            let due = now.saturating_duration_since(sample.asked) >= PERIOD;
            if due {
                sample.asked = now;
            }
            return due;
        }
        samples.insert(name, Sample { uid: uid.clone(), asked: now, sizes: None });
        true
    }

    /// Keeps the answer to what was asked at `asked`, unless its DataStore went away meanwhile.
    fn end(&self, name: &str, asked: Instant, sizes: Sizes) {
        if let Some(sample) = self.samples().get_mut(name).filter(|sample| sample.asked == asked) {
            sample.sizes = Some(Arc::new(sizes));
        }
    }

    fn samples(&self) -> MutexGuard<'_, HashMap<String, Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a DataStore that answers how much it holds, when that is due. Nobody waits for it, and without an answer the last
/// one stays.
pub fn sample(
    sampled: &Arc<Sampled>,
    data_store: &DataStore,
    store: Arc<dyn Store>,
    tenants: &[Arc<TenantControlPlane>],
) {
    let asked = Instant::now();
    if !sampled.begin(data_store, asked) {
        return;
    }
    let (name, tenants) = (data_store.name_any(), told_of(data_store, tenants));
    let sampled = Arc::clone(sampled);
    let ask = async move {
        match tokio::time::timeout(DEADLINE, store.sizes(&tenants)).await {
            Ok(Ok(sizes)) => sampled.end(&name, asked, sizes),
            Ok(Err(error)) => tracing::debug!(%error, "the datastore did not tell its size"),
            Err(_) => tracing::debug!("the datastore did not tell its size in time"),
        }
    };
    tokio::spawn(ask.in_current_span());
}

/// The tenants whose size the server tells cheaply. An etcd knows no sizes below its own: it would count keys, one by one.
fn told_of(data_store: &DataStore, tenants: &[Arc<TenantControlPlane>]) -> Vec<Tenant> {
    if data_store.spec.driver == Driver::Etcd {
        return Vec::new();
    }
    let name = data_store.name_any();
    let schemas = tenants.iter().filter_map(|tenant| place(tenant)).filter(|(store, _)| *store == name);
    schemas.map(|(_, schema)| Tenant { schema, user: String::new(), password: None }).collect()
}

/// The DataStore and the schema that hold a tenant's data, once they do.
pub fn place(tenant: &TenantControlPlane) -> Option<(String, String)> {
    let schema = tenant.status.as_ref()?.storage.setup.schema.clone().filter(|schema| !schema.is_empty())?;
    Some((claim::used_store(tenant)?, schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data_store(driver: &str, uid: &str) -> DataStore {
        serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "store", "uid": uid},
            "spec": {"driver": driver, "endpoints": ["store:1"]},
        }))
        .unwrap()
    }

    fn tenant(store: &str, schema: Option<&str>) -> Arc<TenantControlPlane> {
        let mut tenant = TenantControlPlane::default();
        let status = tenant.status.get_or_insert_default();
        status.storage.data_store_name = Some(store.to_owned());
        status.storage.setup.schema = schema.map(str::to_owned);
        Arc::new(tenant)
    }

    fn bytes(sampled: &Sampled, data_store: &DataStore) -> Option<u64> {
        sampled.get(data_store)?.bytes
    }

    fn holding(bytes: u64) -> Sizes {
        Sizes { bytes: Some(bytes), ..Sizes::default() }
    }

    #[test]
    fn a_datastore_is_asked_once_in_a_minute_and_keeps_its_last_answer() {
        let (sampled, store) = (Sampled::default(), data_store("etcd", "one"));
        let start = Instant::now();
        assert!(sampled.begin(&store, start));
        assert_eq!(bytes(&sampled, &store), None);
        sampled.end("store", start, holding(5));
        assert!(!sampled.begin(&store, start + Duration::from_secs(59)));
        // The second request is not answered.
        assert!(sampled.begin(&store, start + PERIOD));
        assert_eq!(bytes(&sampled, &store), Some(5));
        assert!(!sampled.begin(&store, start + PERIOD + Duration::from_secs(59)));
    }

    #[test]
    fn a_datastore_that_is_gone_leaves_nothing_to_its_namesake() {
        let (sampled, store, namesake) = (Sampled::default(), data_store("etcd", "one"), data_store("etcd", "two"));
        let start = Instant::now();
        sampled.begin(&store, start);
        sampled.end("store", start, holding(5));
        assert_eq!(bytes(&sampled, &namesake), None);
        assert!(sampled.begin(&namesake, start + Duration::from_secs(1)), "it was not asked yet");
        sampled.end("store", start, holding(6));
        assert_eq!(bytes(&sampled, &namesake), None, "the answer was the other's");
        sampled.remove("store");
        sampled.end("store", start + Duration::from_secs(1), holding(7));
        assert_eq!(bytes(&sampled, &namesake), None, "it is gone");
    }

    #[test]
    fn only_tenants_that_have_their_schema_there_are_asked_for_and_none_of_an_etcd() {
        let tenants = [tenant("store", Some("a")), tenant("store", None), tenant("elsewhere", Some("b"))];
        let asked = |driver| {
            let asked = told_of(&data_store(driver, "one"), &tenants).into_iter();
            asked.map(|tenant| tenant.schema).collect::<Vec<_>>()
        };
        assert_eq!(asked("PostgreSQL"), ["a"]);
        assert_eq!(asked("etcd"), Vec::<String>::new());
    }
}
