//! The datastore from the outside: what of the benchmark is in it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use etcd_client::{
    Certificate, Client, ConnectOptions, DeleteOptions, GetOptions, Identity, Permission, TlsOptions, UserAddOptions,
};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kamaji_api::DataStore;
use kamaji_api::data_store::{ContentRef, Driver};
use kube::Api;
use serde::Serialize;

use crate::tenant::store_prefix;

/// One call may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A session as the datastore's administrator.
pub struct Etcd {
    client: Client,
}

/// What of the benchmark's tenants is in the datastore, and how many accounts there are in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The benchmark's users.
    pub users: usize,
    /// The benchmark's roles.
    pub roles: usize,
    /// The benchmark's keys.
    pub keys: i64,
    /// Users and roles that are not the benchmark's.
    pub others: BTreeSet<String>,
}

impl Contents {
    /// Whether nothing of the benchmark is there.
    pub fn is_empty(&self) -> bool {
        self.users == 0 && self.roles == 0 && self.keys == 0
    }
}

impl Etcd {
    /// Signs in with what the DataStore says.
    ///
    /// # Errors
    /// When the DataStore is missing, is no etcd with client certificates, or does not answer.
    pub async fn of_data_store(client: &kube::Client, name: &str) -> Result<Self> {
        let api: Api<DataStore> = Api::all(client.clone());
        let store = api.get_opt(name).await.with_context(|| format!("DataStore {name} cannot be read"))?;
        let Some(store) = store else { bail!("there is no DataStore {name}: name another with --data-store") };
        if store.spec.driver != Driver::Etcd {
            bail!("DataStore {name} is no etcd: name another with --data-store");
        }
        let tls = store.spec.tls_config.as_ref().with_context(|| format!("DataStore {name} has no tlsConfig"))?;
        let signing_in =
            tls.client_certificate.as_ref().with_context(|| format!("DataStore {name} has no clientCertificate"))?;
        let authority = content(client, &tls.certificate_authority.certificate).await?;
        let certificate = content(client, &signing_in.certificate).await?;
        let key = content(client, &signing_in.private_key).await?;
        let endpoint = store.spec.endpoints.first().with_context(|| format!("DataStore {name} has no endpoint"))?;
        let (host, port) = endpoint
            .rsplit_once(':')
            .with_context(|| format!("endpoint {endpoint} of DataStore {name} has no port"))?;
        let address = address(client, host).await?;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(authority))
            .identity(Identity::from_pem(certificate, key))
            .domain_name(host.trim_matches(['[', ']']));
        let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(TIMEOUT).with_timeout(TIMEOUT);
        let url = format!("https://{address}:{port}");
        let client = Client::connect([&url], Some(options))
            .await
            .with_context(|| format!("DataStore {name} cannot be reached at {url}"))?;
        let mut etcd = Self { client };
        etcd.contents().await.with_context(|| format!("DataStore {name} does not answer at {url}"))?;
        Ok(etcd)
    }

    /// Counts.
    pub async fn contents(&mut self) -> Result<Contents> {
        let prefix = store_prefix();
        let users = self.client.user_list().await.context("etcd does not list its users")?;
        let roles = self.client.role_list().await.context("etcd does not list its roles")?;
        let keys = GetOptions::new().with_prefix().with_count_only();
        let keys = self.client.get(format!("/{prefix}"), Some(keys)).await.context("etcd does not count keys")?;
        let is_ours = |name: &&String| name.starts_with(&prefix);
        let others = |kind: &str, names: &[String]| -> BTreeSet<String> {
            names.iter().filter(|name| !is_ours(name)).map(|name| format!("{kind} {name}")).collect()
        };
        Ok(Contents {
            users: users.users().iter().filter(is_ours).count(),
            roles: roles.roles().iter().filter(is_ours).count(),
            keys: keys.count(),
            others: &others("user", users.users()) | &others("role", roles.roles()),
        })
    }

    /// Gives one of the benchmark's names a user, a role and a permission, as a tenant's.
    pub async fn grant(&mut self, name: &str) -> Result<()> {
        let what = || format!("etcd grants {name} nothing");
        self.client.role_add(name).await.with_context(what)?;
        let permission = Permission::read_write(format!("/{name}/")).with_range_end(format!("/{name}0"));
        self.client.role_grant_permission(name, permission).await.with_context(what)?;
        self.client.user_add(name, "", Some(UserAddOptions::new().with_no_pwd())).await.with_context(what)?;
        self.client.user_grant_role(name, name).await.with_context(what)?;
        Ok(())
    }

    /// Deletes all users, roles and keys of the benchmark.
    pub async fn sweep(&mut self) -> Result<()> {
        let prefix = store_prefix();
        for user in self.client.user_list().await?.users().iter().filter(|name| name.starts_with(&prefix)) {
            self.client.user_delete(user).await.with_context(|| format!("etcd user {user} was not deleted"))?;
        }
        for role in self.client.role_list().await?.roles().iter().filter(|name| name.starts_with(&prefix)) {
            self.client.role_delete(role).await.with_context(|| format!("etcd role {role} was not deleted"))?;
        }
        let all = DeleteOptions::new().with_prefix();
        self.client.delete(format!("/{prefix}"), Some(all)).await.context("etcd keys were not deleted")?;
        Ok(())
    }
}

async fn content(client: &kube::Client, from: &ContentRef) -> Result<Vec<u8>> {
    if let Some(content) = &from.content {
        return Ok(content.0.clone());
    }
    let reference = from.secret_reference.as_ref().context("the DataStore names neither content nor a Secret")?;
    let (namespace, name) =
        (reference.namespace.as_deref().unwrap_or_default(), reference.name.as_deref().unwrap_or_default());
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get(name).await.with_context(|| format!("Secret {namespace}/{name} cannot be read"))?;
    let value = secret.data.as_ref().and_then(|data| data.get(&reference.key_path));
    let value = value.with_context(|| format!("Secret {namespace}/{name} has no key {}", reference.key_path))?;
    Ok(value.0.clone())
}

/// An address for `host` that this machine can use: the cluster's names do not resolve outside it.
async fn address(client: &kube::Client, host: &str) -> Result<String> {
    let written = |ip: &str| match ip.parse() {
        Ok(IpAddr::V6(_)) => format!("[{ip}]"),
        Ok(IpAddr::V4(_)) | Err(_) => ip.to_owned(),
    };
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok(written(host.trim_matches(['[', ']'])));
    }
    let found = match in_cluster(host) {
        Some(InCluster::Pod { namespace, name }) => {
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            api.get(name).await?.status.and_then(|status| status.pod_ip)
        }
        Some(InCluster::Service { namespace, name }) => {
            let api: Api<Service> = Api::namespaced(client.clone(), namespace);
            api.get(name).await?.spec.and_then(|spec| spec.cluster_ip).filter(|ip| ip != "None")
        }
        None => Some(host.to_owned()),
    };
    found.map(|ip| written(&ip)).with_context(|| format!("{host} has no address yet"))
}

#[derive(Debug, PartialEq, Eq)]
enum InCluster<'a> {
    Pod { namespace: &'a str, name: &'a str },
    Service { namespace: &'a str, name: &'a str },
}

/// What a name ending in `.svc` or `.svc.<domain>` stands for.
fn in_cluster(host: &str) -> Option<InCluster<'_>> {
    let parts: Vec<&str> = host.split('.').collect();
    let svc = parts.iter().position(|part| *part == "svc")?;
    match parts.get(..svc)? {
        [name, namespace] => Some(InCluster::Service { namespace, name }),
        [name, _, namespace] => Some(InCluster::Pod { namespace, name }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pods_from_services_and_from_names_outside() {
        let pod = in_cluster("etcd-default-0.etcd-default.kamaji-system.svc");
        assert_eq!(pod, Some(InCluster::Pod { namespace: "kamaji-system", name: "etcd-default-0" }));
        let service = in_cluster("etcd.kamaji-system.svc.cluster.local");
        assert_eq!(service, Some(InCluster::Service { namespace: "kamaji-system", name: "etcd" }));
        assert_eq!(in_cluster("etcd.example.org"), None);
    }
}
