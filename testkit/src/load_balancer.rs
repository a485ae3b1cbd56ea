//! The load balancer of a cluster without one: gives Services of type LoadBalancer an address of a pool.
//!
//! It writes `status.loadBalancer.ingress[].ip` and nothing else; traffic to the address is the network's business
//! (kube-proxy answers on it once packets arrive at the node). It holds no state: what is given stands in the statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::address_pool::{self, AddressPool};
use crate::wait::Steady;

/// When to try again what the API server did not take.
const RETRY: Duration = Duration::from_secs(1);

/// Why the load balancer does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pool cannot be used.
    #[error(transparent)]
    Pool(#[from] address_pool::Error),
    /// The watch ended by itself, which a watch does not do.
    #[error("the watch on Services ended")]
    Ended,
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::Ended => "ended",
        }
    }
}

/// Namespace and name.
type Key = (String, String);

/// Runs until it is dropped; outages of the API server are waited out.
///
/// `pool`: ranges in CIDR notation, separated by commas. A Service gets one address per IP family that it has and the
/// pool offers: the one it has, else its `spec.loadBalancerIP` if that is free, else the lowest free one. When the pool
/// is empty it waits for one. Services with a `loadBalancerClass` are somebody else's.
pub async fn run(client: Client, pool: &str) -> Result<Infallible, Error> {
    let pool = AddressPool::parse(pool)?;
    let mut events = pin!(watcher(Api::<Service>::all(client.clone()), watcher::Config::default()).backoff(Steady));
    let mut services: BTreeMap<Key, Service> = BTreeMap::new();
    let mut listing: BTreeMap<Key, Service> = BTreeMap::new();
    let mut failed = false;
    loop {
        let event = tokio::select! {
            event = events.next() => Some(event.ok_or(Error::Ended)?),
            () = tokio::time::sleep(RETRY), if failed => None,
        };
        match event {
            Some(Ok(Event::Init)) => {
                listing.clear();
                continue;
            }
            Some(Ok(Event::InitApply(service))) => {
                listing.insert(key(&service), service);
                continue;
            }
            Some(Ok(Event::InitDone)) => services = std::mem::take(&mut listing),
            Some(Ok(Event::Apply(service))) => {
                services.insert(key(&service), service);
            }
            Some(Ok(Event::Delete(service))) => {
                services.remove(&key(&service));
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "Services are not watched at the moment");
                continue;
            }
            None => {}
        }
        failed = false;
        for assignment in assign(&services, &pool) {
            match write(&client, &assignment).await {
                Ok(service) => {
                    services.insert(assignment.key, service);
                }
                // Changed or gone meanwhile: the watch brings what it is now.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    let (namespace, name) = &assignment.key;
                    tracing::warn!(%error, namespace, name, "the address of this Service was not written");
                    failed = true;
                }
            }
        }
    }
}

fn key(service: &Service) -> Key {
    (service.namespace().unwrap_or_default(), service.name_any())
}

#[expect(clippy::disallowed_methods, reason = "this plays a load balancer, which writes a status that is not ours")]
async fn write(client: &Client, assignment: &Assignment) -> Result<Service, kube::Error> {
    let (namespace, name) = &assignment.key;
    let ingress: Vec<_> = assignment.addresses.iter().map(|address| json!({ "ip": address })).collect();
    let patch = json!({
        // Whatever this was decided on must still hold.
        "metadata": { "resourceVersion": assignment.resource_version },
        "status": { "loadBalancer": { "ingress": ingress } },
    });
    Api::<Service>::namespaced(client.clone(), namespace)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
}

#[derive(Debug, PartialEq, Eq)]
struct Assignment {
    key: Key,
    resource_version: Option<String>,
    addresses: Vec<IpAddr>,
}

/// What is to be written, given what is.
fn assign(services: &BTreeMap<Key, Service>, pool: &AddressPool) -> Vec<Assignment> {
    // The older Service keeps an address that two have.
    let mut ordered: Vec<(&Key, &Service)> = services.iter().collect();
    ordered.sort_by_key(|(_, service)| service.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let mut used: BTreeSet<IpAddr> = BTreeSet::new();
    let mut held: BTreeMap<&Key, Vec<IpAddr>> = BTreeMap::new();
    for (key, service) in &ordered {
        if is_load_balancer(service) {
            let addresses =
                current(service).into_iter().filter(|address| pool.contains(*address) && used.insert(*address));
            held.insert(key, addresses.collect());
        }
    }
    let mut assignments = Vec::new();
    for (key, service) in ordered {
        let current = current(service);
        let wanted = if !is_load_balancer(service) {
            // The API server clears the status of a Service that is no load balancer any more; this is for one that
            // does not, and leaves alone what is not ours.
            if current.is_empty() || !current.iter().all(|address| pool.contains(*address)) {
                continue;
            }
            Vec::new()
        } else if service.metadata.deletion_timestamp.is_some() {
            continue;
        } else {
            wanted(service, held.get(key).map_or(&[], Vec::as_slice), pool, &mut used)
        };
        if wanted != current {
            assignments.push(Assignment {
                key: key.clone(),
                resource_version: service.resource_version(),
                addresses: wanted,
            });
        }
    }
    assignments
}

fn is_load_balancer(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none())
}

fn current(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.into_iter().flat_map(|status| status.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).collect()
}

fn wanted(service: &Service, held: &[IpAddr], pool: &AddressPool, used: &mut BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let requested: Option<IpAddr> = spec.load_balancer_ip.as_deref().and_then(|address| address.parse().ok());
    let families = spec.ip_families.clone().unwrap_or_else(|| vec!["IPv4".to_owned()]);
    let mut addresses = Vec::new();
    for ipv6 in families.iter().map(|family| family == "IPv6") {
        let kept = held.iter().copied().find(|address| address.is_ipv6() == ipv6);
        let asked =
            requested.filter(|address| address.is_ipv6() == ipv6 && pool.contains(*address) && !used.contains(address));
        let chosen = kept.or(asked).or_else(|| pool.addresses(ipv6).find(|address| !used.contains(address)));
        used.extend(chosen);
        addresses.extend(chosen);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, created: u32, fields: &serde_json::Value, addresses: &[&str]) -> (Key, Service) {
        let mut spec = json!({ "type": "LoadBalancer", "ipFamilies": ["IPv4"] });
        json_merge(&mut spec, fields);
        let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address })).collect();
        let service: Service = serde_json::from_value(json!({
            "metadata": {
                "namespace": "default", "name": name, "resourceVersion": "7",
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"),
            },
            "spec": spec,
            "status": { "loadBalancer": { "ingress": ingress } },
        }))
        .unwrap();
        (key(&service), service)
    }

    fn json_merge(into: &mut serde_json::Value, from: &serde_json::Value) {
        for (key, value) in from.as_object().cloned().unwrap_or_default() {
            into[key] = value;
        }
    }

    fn assigned(services: Vec<(Key, Service)>, pool: &str) -> Vec<(String, Vec<String>)> {
        assign(&services.into_iter().collect(), &AddressPool::parse(pool).unwrap())
            .into_iter()
            .map(|assignment| (assignment.key.1, assignment.addresses.iter().map(ToString::to_string).collect()))
            .collect()
    }

    fn expect(name: &str, addresses: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), addresses.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn gives_the_lowest_free_address() {
        let services = vec![
            service("a", 1, &json!({}), &["10.0.0.1"]),
            service("b", 2, &json!({}), &[]),
            service("c", 3, &json!({}), &["10.0.0.3"]),
            service("d", 4, &json!({}), &[]),
        ];
        assert_eq!(assigned(services, "10.0.0.0/24"), [expect("b", &["10.0.0.2"]), expect("d", &["10.0.0.4"])]);
    }

    #[test]
    fn gives_one_address_per_family() {
        let services = vec![service("a", 1, &json!({"ipFamilies": ["IPv6", "IPv4"]}), &[])];
        assert_eq!(assigned(services.clone(), "10.0.0.0/24,fd00::/120"), [expect("a", &["fd00::1", "10.0.0.1"])]);
        assert_eq!(assigned(services, "10.0.0.0/24"), [expect("a", &["10.0.0.1"])]);
    }

    #[test]
    fn takes_a_shared_address_from_the_younger() {
        let services = vec![service("a", 2, &json!({}), &["10.0.0.1"]), service("b", 1, &json!({}), &["10.0.0.1"])];
        assert_eq!(assigned(services, "10.0.0.0/24"), [expect("a", &["10.0.0.2"])]);
    }

    #[test]
    fn honours_a_requested_address_that_is_free() {
        let asks = json!({"loadBalancerIP": "10.0.0.9"});
        let services = vec![service("a", 1, &asks, &[]), service("b", 2, &asks, &[])];
        assert_eq!(assigned(services, "10.0.0.0/24"), [expect("a", &["10.0.0.9"]), expect("b", &["10.0.0.1"])]);
    }

    #[test]
    fn leaves_a_service_waiting_when_the_pool_is_empty() {
        let services = vec![service("a", 1, &json!({}), &["10.0.0.7"]), service("b", 2, &json!({}), &[])];
        assert_eq!(assigned(services, "10.0.0.7/32"), []);
    }

    #[test]
    fn leaves_other_services_alone() {
        let services = vec![
            service("class", 1, &json!({"loadBalancerClass": "example.com/lb"}), &[]),
            service("cluster-ip", 2, &json!({"type": "ClusterIP"}), &[]),
            service("elsewhere", 3, &json!({"type": "ClusterIP"}), &["192.0.2.1"]),
        ];
        assert_eq!(assigned(services, "10.0.0.0/24"), []);
    }

    #[test]
    fn takes_the_address_from_what_is_no_load_balancer_any_more() {
        let services = vec![service("a", 1, &json!({"type": "ClusterIP"}), &["10.0.0.1"])];
        assert_eq!(assigned(services, "10.0.0.0/24"), [expect("a", &[])]);
    }
}
