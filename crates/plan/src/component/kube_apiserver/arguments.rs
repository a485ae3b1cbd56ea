//! kube-apiserver's flags (docs/reference/compatibility.md, "kube-apiserver").

use crate::{
    component::{
        arguments::{Arguments, flag_name},
        kine, konnectivity,
        shutdown::SHUTDOWN_DELAY_SECONDS,
    },
    exposed::Exposed,
    resolved::Resolved,
    stored::Stored,
    template::TemplateRevision,
};

const PKI: &str = "/etc/kubernetes/pki";

/// From this minor on kube-apiserver answers lists of a past version from snapshots, and forgets them when its own
/// compactor runs. A tenant has none, because its etcd compacts itself: tokens of chunked lists would never expire.
const LISTS_FROM_SNAPSHOTS: u32 = 34;

/// The argument list: the operator's flags sorted, then the user's as written.
///
/// The flags that keep the tenant reachable and inside its part of the datastore cannot be overridden: the user's are
/// dropped. The others are defaults that a user's flag replaces.
pub fn arguments(resolved: &Resolved, exposed: &Exposed, stored: &Stored) -> Vec<String> {
    let managed = managed(resolved, exposed, stored);
    let user: Vec<String> = resolved
        .extra_args(|extra| extra.api_server.as_ref())
        .iter()
        .filter(|argument| !managed.contains(flag_name(argument)))
        .cloned()
        .collect();
    let given = |name: &str| user.iter().any(|argument| flag_name(argument) == name);
    let mut arguments = managed;
    for (name, value) in defaults(resolved) {
        if !given(name) {
            arguments.default_to(name, value);
        }
    }
    if !given("authorization-config") && !given("authorization-mode") {
        arguments.default_to("authorization-mode", "Node,RBAC");
    }
    let compacts = resolved.store.kine.is_some();
    if resolved.revision >= TemplateRevision::R1 && resolved.version.minor >= LISTS_FROM_SNAPSHOTS && !compacts {
        // Beside the user's own gates: kube-apiserver merges repeated flags, the last one wins.
        arguments.set("feature-gates", "ListFromCacheSnapshot=false");
    }
    let mut list = arguments.to_list();
    list.extend(user);
    list
}

fn managed(resolved: &Resolved, exposed: &Exposed, stored: &Stored) -> Arguments {
    let network = &resolved.network;
    let advertise = network.advertise_address.unwrap_or(exposed.address);
    let mut arguments = Arguments::default();
    arguments
        .set("advertise-address", advertise.to_string())
        .set("client-ca-file", format!("{PKI}/ca.crt"))
        .set_list("enable-admission-plugins", &resolved.admission_plugins)
        .set_list("service-cluster-ip-range", &network.service_cidrs)
        .set("kubelet-client-certificate", format!("{PKI}/apiserver-kubelet-client.crt"))
        .set("kubelet-client-key", format!("{PKI}/apiserver-kubelet-client.key"))
        .set_list("kubelet-preferred-address-types", &resolved.preferred_address_types)
        .set("proxy-client-cert-file", format!("{PKI}/front-proxy-client.crt"))
        .set("proxy-client-key-file", format!("{PKI}/front-proxy-client.key"))
        .set("requestheader-allowed-names", "front-proxy-client")
        .set("requestheader-client-ca-file", format!("{PKI}/front-proxy-ca.crt"))
        .set("secure-port", network.port.to_string())
        .set("service-account-key-file", format!("{PKI}/sa.pub"))
        .set("service-account-signing-key-file", format!("{PKI}/sa.key"))
        .set("tls-cert-file", format!("{PKI}/apiserver.crt"))
        .set("tls-private-key-file", format!("{PKI}/apiserver.key"));
    if resolved.store.kine.is_some() {
        // kine has the schema, and compacts.
        arguments.set("etcd-servers", kine::ADDRESS);
    } else {
        etcd(&mut arguments, resolved, stored);
    }
    if resolved.konnectivity.is_some() {
        arguments.set("egress-selector-config-file", konnectivity::EGRESS_SELECTOR_FILE);
    }
    arguments
}

fn etcd(arguments: &mut Arguments, resolved: &Resolved, stored: &Stored) {
    let store = &resolved.store;
    let urls =
        |endpoints: &[String]| endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect::<Vec<_>>();
    // The prefix, the authorities and the client certificate are the same on every etcd.
    let overrides: Vec<String> = store
        .overrides
        .iter()
        .map(|entry| format!("{}#{}", entry.resource, urls(&entry.endpoints).join(";")))
        .collect();
    arguments
        .set_list("etcd-servers", &urls(&store.endpoints))
        .set_list("etcd-servers-overrides", &overrides)
        .set("etcd-prefix", format!("/{}", stored.schema))
        // Tenants must not compact a datastore that they share; it compacts itself.
        .set("etcd-compaction-interval", "0")
        .set("etcd-cafile", format!("{PKI}/etcd/ca.crt"))
        .set("etcd-certfile", format!("{PKI}/etcd/server.crt"))
        .set("etcd-keyfile", format!("{PKI}/etcd/server.key"));
}

fn defaults(resolved: &Resolved) -> Vec<(&'static str, String)> {
    let mut defaults = vec![
        ("allow-privileged", "true".to_owned()),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("service-account-issuer", resolved.service_account_issuer.clone()),
    ];
    if resolved.revision >= TemplateRevision::R1 {
        // The Service's endpoints must be gone before the socket closes, else a rolling restart refuses connections.
        defaults.push(("shutdown-delay-duration", format!("{SHUTDOWN_DELAY_SECONDS}s")));
    }
    defaults
}
