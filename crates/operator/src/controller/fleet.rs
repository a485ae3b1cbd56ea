//! What the metrics say about the fleet, read from the shared stores during a scrape.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{conditions, contract};
use kamaji_pki::{Certificate, kubeconfig};
use kube::ResourceExt;

use super::{
    data_store::sizes::{Sampled, place},
    stores::Stores,
};
use crate::telemetry::metrics::{
    Certificates, DataStoreSample, ExposureStrategy, FleetSnapshot, TenantBytesSample, TenantSample,
};

/// The stores, and the end of each certificate that was read once.
pub struct Fleet {
    stores: Stores,
    sizes: Arc<Sampled>,
    renew_before: SignedDuration,
    /// End of validity by the Secret's UID and resource version; `None` when it cannot be read.
    ends: Mutex<HashMap<(String, String), Option<Timestamp>>>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Fleet {
    /// A view on the stores and on what the datastores hold; certificates that end within `deadline` count as expiring.
    pub fn new(stores: Stores, sizes: Arc<Sampled>, deadline: Duration) -> Self {
        let renew_before = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::from_hours(24));
        Self { stores, sizes, renew_before, ends: Mutex::default() }
    }

    /// Counts by owner's UID: certificate Secrets, then kubeconfig Secrets.
    fn certificates(&self) -> HashMap<String, (Certificates, Certificates)> {
        let now = Timestamp::now();
        let soon = now.saturating_add(self.renew_before).unwrap_or(now);
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashMap::new();
        let mut counts: HashMap<String, (Certificates, Certificates)> = HashMap::new();
        for secret in self.stores.secrets.store.state() {
            let Some(kind) = secret.labels().get(contract::labels::CERTIFICATE_LIFECYCLE).cloned() else { continue };
            let Some(owner) = secret.owner_references().first().map(|owner| owner.uid.clone()) else { continue };
            let key = (secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default());
            let end = ends.remove(&key).unwrap_or_else(|| first_end(&secret));
            seen.insert(key, end);
            let (x509, kubeconfigs) = counts.entry(owner).or_default();
            let count = if kind == contract::labels::LIFECYCLE_X509 { x509 } else { kubeconfigs };
            match end {
                Some(end) if end > soon => count.valid += 1,
                Some(end) if end > now => count.expiring += 1,
                _ => count.invalid += 1,
            }
        }
        *ends = seen;
        counts
    }
}

fn first_end(secret: &Secret) -> Option<Timestamp> {
    secret
        .data
        .iter()
        .flatten()
        .filter(|(key, _)| key.as_str() != contract::keys::CA_CERT)
        .filter_map(|(_, value)| {
            let certificate = Certificate::from_pem(&value.0).or_else(|error| match kubeconfig::parse(&value.0) {
                Ok(parsed) => Certificate::from_pem(&parsed.client_certificate),
                Err(_) => Err(error),
            });
            certificate.ok().map(|certificate| certificate.not_after())
        })
        .min()
}

impl FleetSnapshot for Fleet {
    fn tenants(&self, visit: &mut dyn FnMut(&TenantSample<'_>)) {
        let counts = self.certificates();
        for tenant in self.stores.tenants.store.state() {
            let status = tenant.status.clone().unwrap_or_default();
            let (x509, kubeconfig) = tenant.uid().and_then(|uid| counts.get(&uid).copied()).unwrap_or_default();
            let address = status.control_plane_endpoint.map(|endpoint| format!("https://{endpoint}"));
            let gateway = tenant.spec.control_plane.gateway.is_some();
            visit(&TenantSample {
                namespace: &tenant.namespace().unwrap_or_default(),
                name: &tenant.name_any(),
                kubernetes_version: &tenant.spec.kubernetes.version,
                data_store_driver: status.storage.driver.as_deref().unwrap_or_default(),
                address: address.as_deref().unwrap_or_default(),
                exposure_strategy: if gateway { ExposureStrategy::Gateway } else { ExposureStrategy::Service },
                phase: status.kubernetes_resources.version.status.map_or("", |phase| phase.as_str()),
                x509,
                kubeconfig,
            });
        }
    }

    fn data_stores(&self, visit: &mut dyn FnMut(&DataStoreSample<'_>)) {
        for data_store in self.stores.data_stores.store.state() {
            let status = data_store.status.clone().unwrap_or_default();
            let all = status.conditions.unwrap_or_default();
            let condition = conditions::find(&all, super::data_store::VALIDATION);
            let sizes = self.sizes.get(&data_store).unwrap_or_default();
            visit(&DataStoreSample {
                name: &data_store.name_any(),
                driver: data_store.spec.driver.as_str(),
                condition: condition.map_or("", |condition| condition.status.as_str()),
                ready: status.ready,
                tenants: status.used_by.map_or(0, |users| users.len()),
                size: sizes.bytes,
                in_use: sizes.bytes_in_use,
                quota: sizes.quota,
            });
        }
    }

    fn tenant_bytes(&self, visit: &mut dyn FnMut(&TenantBytesSample<'_>)) {
        let data_stores = self.stores.data_stores.store.state();
        let sizes: HashMap<String, _> =
            data_stores.iter().filter_map(|store| Some((store.name_any(), self.sizes.get(store)?))).collect();
        for tenant in self.stores.tenants.store.state() {
            let Some((data_store, schema)) = place(&tenant) else { continue };
            let size = sizes.get(&data_store).and_then(|sizes| sizes.tenants.get(&schema));
            if let Some(bytes) = size.and_then(|size| size.bytes) {
                visit(&TenantBytesSample {
                    data_store: &data_store,
                    namespace: &tenant.namespace().unwrap_or_default(),
                    name: &tenant.name_any(),
                    bytes,
                });
            }
        }
    }
}
