//! The certificates that kube-apiserver serves and presents, and konnectivity-server's
//! (docs/reference/compatibility.md, "Certificates").

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract::keys;
use kamaji_pki::{
    Certificate, KeyAlgorithm, Profile, Usage,
    check::{self, Expected},
};

use super::{BACKDATE, Content, LEAF_LIFETIME, Moment, Request, Signer, algorithm_after, rotation_requested, value};
use crate::{
    address::is_dns_name,
    component::konnectivity,
    control_plane::{kubeadm_config, names::TenantSecret},
    exposed::Exposed,
    resolved::Resolved,
    template::TemplateRevision,
};

/// One leaf certificate: where it is kept, what it says, who signs it.
struct Leaf {
    secret: TenantSecret,
    keys: (&'static str, &'static str),
    common_name: &'static str,
    usage: Usage,
    signer: Signer,
}

const LEAVES: [Leaf; 4] = [
    Leaf {
        secret: TenantSecret::ApiServer,
        keys: (keys::API_SERVER_CERT, keys::API_SERVER_KEY),
        common_name: "kube-apiserver",
        usage: Usage::Server,
        signer: Signer::Ca,
    },
    Leaf {
        secret: TenantSecret::KubeletClient,
        keys: (keys::API_SERVER_KUBELET_CLIENT_CERT, keys::API_SERVER_KUBELET_CLIENT_KEY),
        common_name: "kube-apiserver-kubelet-client",
        usage: Usage::Client,
        signer: Signer::Ca,
    },
    Leaf {
        secret: TenantSecret::FrontProxyClient,
        keys: (keys::FRONT_PROXY_CLIENT_CERT, keys::FRONT_PROXY_CLIENT_KEY),
        common_name: "front-proxy-client",
        usage: Usage::Client,
        signer: Signer::FrontProxyCa,
    },
    Leaf {
        secret: TenantSecret::KonnectivityCertificate,
        keys: (keys::TLS_CERT, keys::TLS_KEY),
        common_name: konnectivity::USER,
        usage: Usage::ServerAndClient,
        signer: Signer::Ca,
    },
];

/// The tenant's two authorities, parsed.
#[derive(Clone, Copy, Debug)]
pub struct Authorities<'a> {
    /// The tenant's authority.
    pub ca: &'a Certificate,
    /// The front-proxy authority.
    pub front_proxy_ca: &'a Certificate,
}

/// The leaf certificates that have to be issued, with the reasons.
pub fn missing<'a>(
    resolved: &Resolved,
    exposed: &Exposed,
    authorities: &Authorities<'_>,
    tenant_algorithm: KeyAlgorithm,
    live: impl Fn(TenantSecret) -> Option<&'a Secret>,
    moment: &Moment,
) -> Vec<Request> {
    let (dns_names, ip_addresses) = api_server_names(resolved, exposed);
    LEAVES
        .iter()
        .filter(|leaf| leaf.secret != TenantSecret::KonnectivityCertificate || resolved.konnectivity.is_some())
        .filter_map(|leaf| {
            let serves = leaf.secret == TenantSecret::ApiServer;
            let (dns_names, ip_addresses): (&[String], &[IpAddr]) =
                if serves { (&dns_names, &ip_addresses) } else { (&[], &[]) };
            let authority = match leaf.signer {
                Signer::Ca => authorities.ca,
                Signer::FrontProxyCa => authorities.front_proxy_ca,
            };
            let existing = live(leaf.secret);
            let expected = Expected {
                dns_names,
                ip_addresses,
                common_name: Some(leaf.common_name),
                organizations: organizations(resolved, leaf.secret),
                authority: Some(authority),
                ..Expected::new(leaf.usage)
            };
            let reasons = reasons(leaf, existing, &expected, moment);
            if reasons.is_empty() {
                return None;
            }
            let old_key = existing.map(|secret| value(secret, leaf.keys.1)).unwrap_or_default();
            let now = moment.now;
            Some(Request {
                secret: leaf.secret,
                reasons,
                content: vec![Content::Certificate {
                    certificate_key: leaf.keys.0,
                    private_key_key: leaf.keys.1,
                    profile: Profile {
                        common_name: leaf.common_name.to_owned(),
                        organizations: Vec::new(),
                        dns_names: dns_names.to_vec(),
                        ip_addresses: ip_addresses.to_vec(),
                        usage: leaf.usage,
                        not_before: now.saturating_sub(BACKDATE).unwrap_or(now),
                        not_after: now.saturating_add(LEAF_LIFETIME).unwrap_or(now),
                    },
                    signer: leaf.signer,
                    algorithm: algorithm_after(old_key, tenant_algorithm),
                }],
            })
        })
        .collect()
}

/// The groups that a certificate must have, no others; `None` where any will do.
///
/// The Go operator puts konnectivity into `system:masters`. That is taken away when the tenant leaves its template,
/// because then the pods roll anyway.
pub(super) fn organizations(resolved: &Resolved, secret: TenantSecret) -> Option<&'static [String]> {
    let konnectivity = matches!(secret, TenantSecret::KonnectivityCertificate | TenantSecret::KonnectivityKubeconfig);
    (konnectivity && resolved.revision >= TemplateRevision::R1).then_some(&[])
}

fn reasons(leaf: &Leaf, existing: Option<&Secret>, expected: &Expected<'_>, moment: &Moment) -> Vec<String> {
    let Some(secret) = existing else { return vec!["the Secret is missing".to_owned()] };
    let (certificate, key) = (value(secret, leaf.keys.0), value(secret, leaf.keys.1));
    let violations = check::pair(certificate, key, expected, moment.now, moment.renew_before);
    let mut reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
    if rotation_requested(secret) {
        reasons.push("a rotation was asked for".to_owned());
    }
    reasons
}

/// DNS names, sorted, and addresses, in order, of kube-apiserver's certificate (kubeadm v1beta4).
pub fn api_server_names(resolved: &Resolved, exposed: &Exposed) -> (Vec<String>, Vec<IpAddr>) {
    let mut names: BTreeSet<String> =
        ["node", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).into();
    names.insert(format!("kubernetes.default.svc.{}", resolved.network.cluster_domain));
    let mut addresses: Vec<IpAddr> = resolved.network.kubernetes_service_ip.into_iter().collect();
    addresses.push(exposed.address);
    let sans = kubeadm_config::cert_sans(resolved, exposed);
    for entry in std::iter::once(&exposed.public_host).chain(&sans) {
        match entry.parse::<IpAddr>() {
            Ok(address) => addresses.push(address),
            Err(_) if is_dns_name(entry, true) => {
                names.insert(entry.clone());
            }
            Err(_) => {}
        }
    }
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    (names.into_iter().collect(), addresses)
}
