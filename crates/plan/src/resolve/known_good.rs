//! How a tenant's pods are told to reach its datastores: as it was found to work.
//!
//! What somebody has just written into a DataStore may be wrong, and it would roll the pods of all its tenants. So they are
//! told of it once the DataStore was opened with it. While nothing is open, as after a restart of the operator, pods that
//! run keep what they have.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, VolumeMount},
};
use kamaji_api::{DataStore, Driver, TenantControlPlane};

use super::observed::{Observed, container};
use crate::{
    component::{kine, kube_apiserver},
    override_record,
    resolved::{Override, Tls},
};

/// kine's arguments where it has a client certificate, unless the user set others.
const CLIENT_CERTIFICATE: [&str; 2] = ["--cert-file=/certs/server.crt", "--key-file=/certs/server.key"];

/// A DataStore as it was last opened. Where tenants use kine its first endpoint answered then, or before with this
/// specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGood {
    /// Its name.
    pub name: String,
    /// Its endpoints, `host:port` each.
    pub endpoints: Vec<String>,
    /// What the server is shown; `None` in clear text.
    pub tls: Option<Tls>,
}

impl KnownGood {
    /// What the specification says: for tenants that have no pods yet, which wait until it was found to work.
    fn specified(name: &str, store: &DataStore) -> Self {
        let tls = store.spec.tls_config.as_ref().map(|tls| match tls.client_certificate {
            Some(_) => Tls::ClientCertificate,
            None => Tls::Authority,
        });
        Self { name: name.to_owned(), endpoints: store.spec.endpoints.clone(), tls }
    }
}

/// How the tenant's own DataStore is reached.
pub(super) fn own(name: &str, store: &DataStore, observed: &Observed<'_>) -> KnownGood {
    if let Some(known) = find(observed, name) {
        return known.clone();
    }
    let specified = KnownGood::specified(name, store);
    let Some(live) = observed.deployment else { return specified };
    if store.spec.driver == Driver::Etcd {
        KnownGood { endpoints: servers(live).unwrap_or(specified.endpoints), ..specified }
    } else {
        // The endpoint is in a Secret, which knows the one before.
        let tls = container(live, kine::NAME).map_or(specified.tls, |kine| shown(kine, live));
        KnownGood { tls, ..specified }
    }
}

/// The endpoints of the DataStore that keeps a single resource of the tenant; `None` when only its specification tells.
pub(super) fn elsewhere(tenant: &TenantControlPlane, entry: &Override, observed: &Observed<'_>) -> Option<Vec<String>> {
    if let Some(known) = find(observed, &entry.store) {
        return Some(known.endpoints.clone());
    }
    // Without its record there, the pods have the resource on another DataStore.
    let is_there =
        |store: &DataStore| store.metadata.name.as_ref() == Some(&entry.store) && override_record::is_on(tenant, store);
    let live = observed.deployment.filter(|_| observed.data_stores.iter().any(|store| is_there(store)))?;
    let (_, endpoints) = overrides(live).into_iter().find(|(resource, _)| *resource == entry.resource)?;
    Some(endpoints.into_iter().map(str::to_owned).collect())
}

/// Resources that the pods keep on a second datastore, and its endpoints as they were told of them.
pub fn overrides(live: &Deployment) -> Vec<(&str, Vec<&str>)> {
    let entries = flag(live, "--etcd-servers-overrides=").unwrap_or_default().split(',');
    entries
        .filter_map(|entry| entry.split_once('#'))
        .filter_map(|(resource, urls)| Some((resource, hosts(urls, ';')?)))
        .collect()
}

fn find<'a>(observed: &Observed<'a>, name: &str) -> Option<&'a KnownGood> {
    observed.known_good.iter().find(|known| known.name == name)
}

/// The etcd that the pods were told of.
fn servers(live: &Deployment) -> Option<Vec<String>> {
    let hosts = hosts(flag(live, "--etcd-servers=")?, ',')?;
    Some(hosts.into_iter().map(str::to_owned).collect())
}

/// What this kine shows its server.
fn shown(kine: &Container, live: &Deployment) -> Option<Tls> {
    let pod = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut prepares = pod.and_then(|pod| pod.init_containers.as_deref()).unwrap_or_default().iter();
    // The user may have one of that name.
    let has_files = |mount: &VolumeMount| mount.name == kine::CONFIG_VOLUME;
    prepares.find(|init| init.name == kine::INIT_NAME && init.volume_mounts.iter().flatten().any(has_files))?;
    let mut arguments = kine.args.iter().flatten();
    let is_certified = arguments.any(|argument| CLIENT_CERTIFICATE.contains(&argument.as_str()));
    Some(if is_certified { Tls::ClientCertificate } else { Tls::Authority })
}

fn flag<'a>(live: &'a Deployment, name: &str) -> Option<&'a str> {
    let arguments = container(live, kube_apiserver::NAME)?.args.as_ref()?;
    arguments.iter().find_map(|argument| argument.strip_prefix(name))
}

/// `None` when one of them is nothing that we write.
fn hosts(urls: &str, separator: char) -> Option<Vec<&str>> {
    urls.split(separator).map(|url| url.strip_prefix("https://")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn data_store(name: &str, driver: &str, tls: &Value) -> DataStore {
        serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": name},
            "spec": {"driver": driver, "endpoints": ["typo:1"], "tlsConfig": tls},
        }))
        .unwrap()
    }

    fn authority() -> Value {
        json!({"certificateAuthority": {"certificate": {"content": ""}}})
    }

    /// Pods with these arguments of a container, and init containers of these names with a mount of this volume each.
    fn pods(container: &str, arguments: &[&str], init: &[(&str, &str)]) -> Deployment {
        let mounting = |volume: &str| json!([{"name": volume, "mountPath": "/kine"}]);
        let init: Vec<Value> =
            init.iter().map(|(name, volume)| json!({"name": name, "volumeMounts": mounting(volume)})).collect();
        serde_json::from_value(json!({"spec": {"selector": {}, "template": {"spec": {
            "containers": [{"name": "other", "args": ["--etcd-servers=https://other:1"]}, {"name": container, "args": arguments}],
            "initContainers": init,
        }}}}))
        .unwrap()
    }

    fn known(name: &str) -> KnownGood {
        KnownGood { name: name.to_owned(), endpoints: vec!["works:1".to_owned()], tls: Some(Tls::ClientCertificate) }
    }

    #[test]
    fn what_was_found_to_work_goes_before_what_the_pods_have_and_that_before_what_is_written() {
        let store = data_store("main", "etcd", &authority());
        let live = pods("kube-apiserver", &["--v=2", "--etcd-servers=https://had:1,https://had:2"], &[]);
        let all = [known("another"), known("main")];
        let endpoints = |known_good, deployment| {
            own("main", &store, &Observed { known_good, deployment, ..Observed::default() }).endpoints
        };
        assert_eq!(endpoints(&all, Some(&live)), ["works:1"]);
        assert_eq!(endpoints(&all, None), ["works:1"]);
        assert_eq!(endpoints(&all[..1], Some(&live)), ["had:1", "had:2"]);
        assert_eq!(endpoints(&all[..1], None), ["typo:1"]);
    }

    #[test]
    fn pods_that_tell_nothing_of_use_are_told_what_is_written() {
        let store = data_store("main", "etcd", &authority());
        for arguments in
            [&[][..], &["--etcd-servers="], &["--etcd-servers=unix:///uds/kine"], &["--etcd-servers=https://a:1,b"]]
        {
            let live = pods("kube-apiserver", arguments, &[]);
            let observed = Observed { deployment: Some(&live), ..Observed::default() };
            assert_eq!(own("main", &store, &observed).endpoints, ["typo:1"], "{arguments:?}");
        }
    }

    #[test]
    fn kine_keeps_the_kind_of_tls_that_it_has() {
        let certificate = ["--cert-file=/certs/server.crt", "--key-file=/certs/server.key"];
        let (users, ours) = (("chmod", "mine"), ("chmod", "kine-config"));
        let mine = ["--cert-file=/mine/server.crt", "--key-file=/mine/server.key"];
        let cases = [
            (&[][..], &[][..], None),
            (&[], &[users, ("mine", "kine-config")], None),
            (&[], &[users, ours], Some(Tls::Authority)),
            (&mine, &[ours], Some(Tls::Authority)),
            (&certificate, &[ours], Some(Tls::ClientCertificate)),
        ];
        for (arguments, init, wanted) in cases {
            let (live, open) = (pods("kine", arguments, init), [known("main")]);
            let tls = |written: &Value, known_good| {
                let store = data_store("main", "PostgreSQL", written);
                own("main", &store, &Observed { deployment: Some(&live), known_good, ..Observed::default() }).tls
            };
            for written in [Value::Null, authority()] {
                assert_eq!(tls(&written, &[]), wanted, "{arguments:?} {init:?} {written}");
                assert_eq!(tls(&written, &open), Some(Tls::ClientCertificate));
            }
        }
        let no_kine = pods("kube-apiserver", &[], &[]);
        let observed = Observed { deployment: Some(&no_kine), ..Observed::default() };
        assert_eq!(own("main", &data_store("main", "MySQL", &authority()), &observed).tls, Some(Tls::Authority));
        assert_eq!(own("main", &data_store("main", "MySQL", &Value::Null), &observed).tls, None);
    }

    #[test]
    fn a_single_resource_stays_where_it_is_recorded_to_be() {
        let flag = "--etcd-servers-overrides=/events#https://a:1;https://a:2,apps/*#https://b:1,broken,/pods#b:2";
        let live = pods("kube-apiserver", &[flag], &[]);
        assert_eq!(overrides(&live), [("/events", vec!["a:1", "a:2"]), ("apps/*", vec!["b:1"])]);
        assert_eq!(overrides(&pods("kube-apiserver", &[], &[])), []);

        let mut tenant = TenantControlPlane::default();
        tenant.metadata.uid = Some("uid".to_owned());
        let (bare, mut recorded) = (data_store("two", "etcd", &authority()), data_store("two", "etcd", &authority()));
        recorded.metadata.annotations = Some([(override_record::key(&tenant), String::new())].into());
        let endpoints = |resource: &str, store: &DataStore, known_good: &[KnownGood]| {
            let entry = Override { resource: resource.to_owned(), store: "two".to_owned(), endpoints: Vec::new() };
            let data_stores = [Arc::new(store.clone())];
            let deployment = Some(&live);
            elsewhere(
                &tenant,
                &entry,
                &Observed { data_stores: &data_stores, deployment, known_good, ..Observed::default() },
            )
        };
        assert_eq!(endpoints("/events", &recorded, &[]).unwrap(), ["a:1", "a:2"]);
        assert_eq!(endpoints("/events", &recorded, &[known("two")]).unwrap(), ["works:1"]);
        assert_eq!(endpoints("/secrets", &recorded, &[]), None);
        assert_eq!(endpoints("/events", &bare, &[known("main")]), None, "it is on another one until now");
    }
}
