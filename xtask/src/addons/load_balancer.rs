//! Gives Services of type `LoadBalancer` an address. kube-proxy answers on it, so nothing else is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// A network that addresses are taken from, from the second one up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    base: IpAddr,
    /// How many addresses may be given.
    size: u32,
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (base, length) = text.split_once('/').ok_or_else(|| format!("{text} is not a network"))?;
        let base: IpAddr = base.parse().map_err(|_| format!("{base} is not an address"))?;
        let length: u32 = length.parse().map_err(|_| format!("{length} is not a prefix length"))?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let host_bits = u32::checked_sub(bits, length).ok_or_else(|| format!("/{length} is too long"))?;
        // Network and broadcast address stay out; more than 16 bits nobody needs.
        Ok(Self { base, size: (1_u32 << host_bits.min(16)).saturating_sub(2) })
    }
}

impl Pool {
    fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (1..=self.size).map(move |offset| match self.base {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().wrapping_add(offset))),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().wrapping_add(u128::from(offset)))),
        })
    }
}

/// Watches Services for ever.
pub async fn run(client: Client, pools: Vec<Pool>) -> Result<()> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    let mut fresh = BTreeMap::new();
    let mut is_complete = false;
    let mut events = watcher(Api::<Service>::all(client.clone()), Config::default()).default_backoff().boxed();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(()),
            Err(error) => {
                eprintln!("watching services: {error}");
                continue;
            }
        };
        let changed = match event {
            Event::Init => {
                fresh.clear();
                Vec::new()
            }
            Event::InitApply(service) => {
                fresh.insert(key(&service), service);
                Vec::new()
            }
            Event::InitDone => {
                services = std::mem::take(&mut fresh);
                is_complete = true;
                services.keys().cloned().collect()
            }
            Event::Apply(service) => {
                let key = key(&service);
                services.insert(key.clone(), service);
                vec![key]
            }
            Event::Delete(service) => {
                services.remove(&key(&service));
                // An address has become free: someone may wait for it.
                services.keys().cloned().collect()
            }
        };
        if !is_complete {
            continue;
        }
        for key in changed {
            if let Err(error) = serve(&client, &pools, &mut services, &key).await {
                eprintln!("service {key}: {error}");
            }
        }
    }
}

async fn serve(client: &Client, pools: &[Pool], services: &mut BTreeMap<String, Service>, key: &str) -> Result<()> {
    let Some(service) = services.get(key).filter(|service| is_ours(service)) else { return Ok(()) };
    let taken: BTreeSet<IpAddr> =
        services.iter().filter(|(other, _)| *other != key).flat_map(|(_, service)| given(service)).collect();
    let wanted = choose(service, pools, &taken);
    if wanted == given(service) || wanted.is_empty() {
        return Ok(());
    }
    let ingress: Vec<_> = wanted.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
    let api = Api::<Service>::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    #[allow(clippy::disallowed_methods, reason = "stands in for a cloud's controller; no part of the product")]
    let stored = api.patch_status(&service.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    services.insert(key.to_owned(), stored);
    Ok(())
}

/// One address per family of the Service: the one it has, the one it asks for, or the first that is free.
fn choose(service: &Service, pools: &[Pool], taken: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let asked: Option<IpAddr> = spec.load_balancer_ip.and_then(|ip| ip.parse().ok());
    let has = given(service);
    let families = spec.ip_families.unwrap_or_else(|| vec!["IPv4".into()]);
    families
        .iter()
        .filter_map(|family| {
            let pool = pools.iter().find(|pool| pool.base.is_ipv6() == (family == "IPv6"))?;
            let is_free = |ip: &IpAddr| !taken.contains(ip) && pool.addresses().any(|other| other == *ip);
            // Who asks for an address gets that one or none.
            if let Some(asked) = asked.filter(|ip| ip.is_ipv6() == pool.base.is_ipv6()) {
                return Some(asked).filter(is_free);
            }
            has.iter().copied().find(is_free).or_else(|| pool.addresses().find(is_free))
        })
        .collect()
}

fn is_ours(service: &Service) -> bool {
    service.metadata.deletion_timestamp.is_none()
        && service
            .spec
            .as_ref()
            .is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none())
}

fn given(service: &Service) -> Vec<IpAddr> {
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    ingress.into_iter().flatten().filter_map(|entry| entry.ip.as_ref()?.parse().ok()).collect()
}

fn key(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> Vec<Pool> {
        ["10.77.1.0/24", "fd77:0:0:1::/112"].iter().map(|text| text.parse().unwrap()).collect()
    }

    fn service(spec: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap()
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_dual_stack_service_gets_one_address_per_family() {
        let service = service(&json!({"type": "LoadBalancer", "ipFamilies": ["IPv6", "IPv4"]}));
        assert_eq!(choose(&service, &pools(), &BTreeSet::new()), ips(&["fd77:0:0:1::1", "10.77.1.1"]));
    }

    #[test]
    fn a_taken_address_is_not_given_again() {
        let service = service(&json!({"type": "LoadBalancer"}));
        let taken = ips(&["10.77.1.1", "10.77.1.2"]).into_iter().collect();
        assert_eq!(choose(&service, &pools(), &taken), ips(&["10.77.1.3"]));
    }

    #[test]
    fn an_address_that_was_asked_for_is_given_or_none() {
        let service = service(&json!({"type": "LoadBalancer", "loadBalancerIP": "10.77.1.9"}));
        assert_eq!(choose(&service, &pools(), &BTreeSet::new()), ips(&["10.77.1.9"]));
        assert!(choose(&service, &pools(), &ips(&["10.77.1.9"]).into_iter().collect()).is_empty());
    }

    #[test]
    fn another_controllers_class_is_left_alone() {
        assert!(!is_ours(&service(&json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/x"}))));
        assert!(is_ours(&service(&json!({"type": "LoadBalancer"}))));
    }
}
