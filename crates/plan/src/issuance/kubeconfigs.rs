//! The kubeconfigs of administrators, kube-controller-manager, kube-scheduler and konnectivity-server
//! (docs/reference/compatibility.md, "Kubeconfigs").

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_api::contract::{keys, names};
use kamaji_pki::{
    Certificate, KeyAlgorithm, Profile, Usage,
    check::{self, Expected, ExpectedKubeconfig},
    kubeconfig,
};

use super::{Content, LEAF_LIFETIME, Moment, Request, algorithm_after, leaves, rotation_requested, value};
use crate::{component::konnectivity, control_plane::names::TenantSecret, exposed::Exposed, resolved::Resolved};

/// One kubeconfig: where it is kept, whom it names, and how its user reaches the API server.
struct Entry {
    key: &'static str,
    /// Name of the cluster entry; the tenant's name where there is none.
    cluster: Option<&'static str>,
    user: &'static str,
    organization: Option<&'static str>,
    server: Server,
}

#[derive(Clone, Copy)]
enum Server {
    /// The endpoint that clients outside are told.
    Public,
    /// The Service, by its name in the management cluster.
    Service,
    /// The API server in the same pod.
    Pod,
    /// The same, by its name: what the Go operator writes for konnectivity-server.
    Localhost,
}

const ADMIN: (&str, Option<&str>) = ("kubernetes-admin", Some("kubeadm:cluster-admins"));
const SUPER_ADMIN: (&str, Option<&str>) = ("kubernetes-super-admin", Some("system:masters"));

const ADMIN_ENTRIES: [Entry; 4] = [
    administrator(keys::ADMIN_CONF, ADMIN, Server::Public),
    administrator(keys::ADMIN_SVC, ADMIN, Server::Service),
    administrator(keys::SUPER_ADMIN_CONF, SUPER_ADMIN, Server::Public),
    administrator(keys::SUPER_ADMIN_SVC, SUPER_ADMIN, Server::Service),
];

const fn administrator(
    key: &'static str,
    (user, organization): (&'static str, Option<&'static str>),
    server: Server,
) -> Entry {
    Entry { key, cluster: None, user, organization, server }
}

const CONTROLLER_MANAGER_ENTRIES: [Entry; 1] = [Entry {
    key: keys::CONTROLLER_MANAGER_CONF,
    cluster: None,
    user: "system:kube-controller-manager",
    organization: None,
    server: Server::Pod,
}];

const SCHEDULER_ENTRIES: [Entry; 1] = [Entry {
    key: keys::SCHEDULER_CONF,
    cluster: None,
    user: "system:kube-scheduler",
    organization: None,
    server: Server::Pod,
}];

const KONNECTIVITY_ENTRIES: [Entry; 1] = [Entry {
    key: keys::KONNECTIVITY_SERVER_CONF,
    cluster: Some("kubernetes"),
    user: konnectivity::USER,
    organization: None,
    server: Server::Localhost,
}];

/// The kubeconfig Secrets that have to be written, with the reasons. Good entries of a Secret stay as they are.
pub fn missing<'a>(
    resolved: &Resolved,
    exposed: &Exposed,
    ca: &Certificate,
    ca_pem: &[u8],
    tenant_algorithm: KeyAlgorithm,
    live: impl Fn(TenantSecret) -> Option<&'a Secret>,
    moment: &Moment,
) -> Vec<Request> {
    let mut secrets: Vec<(TenantSecret, &[Entry])> = vec![
        (TenantSecret::AdminKubeconfig, &ADMIN_ENTRIES),
        (TenantSecret::ControllerManagerKubeconfig, &CONTROLLER_MANAGER_ENTRIES),
        (TenantSecret::SchedulerKubeconfig, &SCHEDULER_ENTRIES),
    ];
    if resolved.konnectivity.is_some() {
        secrets.push((TenantSecret::KonnectivityKubeconfig, &KONNECTIVITY_ENTRIES));
    }
    let mut requests = Vec::new();
    for (secret, entries) in secrets {
        let existing = live(secret);
        let rotate = existing.is_some_and(rotation_requested);
        let mut reasons = Vec::new();
        let mut content = Vec::new();
        for entry in entries {
            let file = existing.map(|secret| value(secret, entry.key)).unwrap_or_default();
            let wanted = server(resolved, exposed, entry.server);
            let own: Vec<String> = entry.organization.iter().map(|&name| name.to_owned()).collect();
            let organizations = match secret {
                TenantSecret::KonnectivityKubeconfig => leaves::organizations(resolved, secret),
                _ => Some(own.as_slice()),
            };
            let found = faults((entry, organizations), file, &wanted, (ca, ca_pem), moment);
            if found.is_empty() && !rotate {
                content.push(Content::Keep { key: entry.key, value: ByteString(file.to_vec()) });
                continue;
            }
            reasons.extend(found.iter().map(|fault| format!("{}: {fault}", entry.key)));
            let old_key = kubeconfig::parse(file).map(|parsed| parsed.client_key).unwrap_or_default();
            content.push(Content::Kubeconfig {
                key: entry.key,
                cluster_name: entry.cluster.unwrap_or(&resolved.name).to_owned(),
                server: wanted,
                profile: Profile {
                    common_name: entry.user.to_owned(),
                    organizations: own,
                    dns_names: Vec::new(),
                    ip_addresses: Vec::new(),
                    usage: Usage::Client,
                    not_before: ca.not_before(),
                    not_after: moment.now.saturating_add(LEAF_LIFETIME).unwrap_or(moment.now),
                },
                algorithm: algorithm_after(&old_key, tenant_algorithm),
            });
        }
        if rotate {
            reasons.push("a rotation was asked for".to_owned());
        }
        if existing.is_none() {
            reasons = vec!["the Secret is missing".to_owned()];
        }
        if !reasons.is_empty() {
            requests.push(Request { secret, reasons, content });
        }
    }
    requests
}

fn faults(
    (entry, organizations): (&Entry, Option<&[String]>),
    file: &[u8],
    server: &str,
    (ca, ca_pem): (&Certificate, &[u8]),
    moment: &Moment,
) -> Vec<String> {
    let client =
        Expected { common_name: Some(entry.user), organizations, authority: Some(ca), ..Expected::new(Usage::Client) };
    let expected = ExpectedKubeconfig { server, authority_pem: ca_pem, client };
    check::kubeconfig(file, &expected, moment.now, moment.renew_before).iter().map(ToString::to_string).collect()
}

fn server(resolved: &Resolved, exposed: &Exposed, server: Server) -> String {
    match server {
        Server::Public => format!("https://{}", exposed.public_endpoint),
        Server::Service => {
            format!("https://{}:{}", names::service_host(&resolved.name, &resolved.namespace), exposed.port)
        }
        Server::Pod => format!("https://127.0.0.1:{}", exposed.port),
        Server::Localhost => format!("https://localhost:{}", exposed.port),
    }
}

/// Whether this is konnectivity-server's kubeconfig as the Go operator makes it: its user is in a group, and its
/// certificate lives for ten years.
pub(super) fn is_go_operators_konnectivity(secret: &Secret) -> bool {
    let file = value(secret, keys::KONNECTIVITY_SERVER_CONF);
    if file.is_empty() {
        return false;
    }
    let client = kubeconfig::parse(file).ok().and_then(|parsed| Certificate::from_pem(&parsed.client_certificate).ok());
    client.is_some_and(|client| !client.organizations().is_empty())
}
