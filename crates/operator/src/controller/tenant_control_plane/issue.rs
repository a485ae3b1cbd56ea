//! The issue step: the tenant's authorities, certificates and kubeconfigs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::TenantControlPlane;
use kamaji_apply::EventType;
use kamaji_pki::{Certificate, KeyAlgorithm};
use kamaji_plan::{
    control_plane::names::TenantSecret,
    exposed::Exposed,
    issuance::{self, Data, Moment, Request, authorities, kubeconfigs, leaves, mint},
    issued::Issued,
    rejection::Rejection,
    resolve::Resolved,
    status::conditions::Trouble,
};
use kube::Api;

use super::{
    Shared,
    error::{Error, Halt},
    keys, namesake,
    observe::Observed,
    secrets::{self, Good},
};
use crate::controller::timed::timed;

/// The Secrets that hold what the authorities sign.
const SIGNED: [TenantSecret; 8] = [
    TenantSecret::ApiServer,
    TenantSecret::KubeletClient,
    TenantSecret::FrontProxyClient,
    TenantSecret::AdminKubeconfig,
    TenantSecret::ControllerManagerKubeconfig,
    TenantSecret::SchedulerKubeconfig,
    TenantSecret::KonnectivityCertificate,
    TenantSecret::KonnectivityKubeconfig,
];

/// Makes sure that every certificate and kubeconfig is there and valid.
///
/// # Errors
/// [`Halt::Waiting`] when a root is lost or unreadable, [`Halt::Failed`] when something cannot be made or written.
pub async fn issue(
    shared: &Shared,
    resolved: &Resolved,
    exposed: &Exposed,
    observed: &Observed,
    roots: &Roots,
    moment: &Moment,
) -> Result<Issued, Halt> {
    let signed = SIGNED.into_iter().filter(|which| is_wanted(*which, resolved));
    // What was deleted or edited by hand comes back as it was, if it is still good: other bytes would roll the pods.
    let lost: BTreeMap<TenantSecret, Good> = signed
        .clone()
        .filter_map(|which| Some((which, secrets::lost(shared, &resolved.uid, which, observed.secrets.get(&which))?)))
        .collect();
    let requests = what_is_missing(resolved, exposed, observed, &lost, roots, moment)?;
    let signers = if requests.is_empty() { None } else { Some(Arc::new(roots.signers()?)) };
    let issued = try_join_all(requests.iter().filter_map(|request| {
        let signers = signers.as_ref()?;
        let handler = request.secret.component();
        Some(timed(&shared.context, handler, write(shared, resolved, observed, request, signers, moment)))
    }));
    let beyond_repair: BTreeSet<TenantSecret> = requests.iter().map(|request| request.secret).collect();
    let restored =
        try_join_all(lost.iter().filter(|(which, _)| !beyond_repair.contains(which)).map(async |(which, last)| {
            let live = observed.secrets.get(which);
            Ok::<_, Halt>((*which, secrets::restore(shared, resolved, *which, last, live, moment).await?))
        }));
    let (issued, restored) = futures::try_join!(issued, restored)?;
    let mut good: BTreeMap<TenantSecret, Good> = roots.secrets.clone();
    good.extend(signed.filter_map(|which| Some((which, Arc::clone(observed.secrets.get(&which)?)))));
    good.extend(issued.into_iter().chain(restored));
    for (which, secret) in &mut good {
        *secret = secrets::mend_metadata(shared, resolved, *which, Arc::clone(secret)).await?;
        shared.keyring.keep(&resolved.uid, *which, secret);
    }
    let secrets = good.iter().map(|(which, secret)| (*which, issuance::digest(secret))).collect();
    Ok(Issued { algorithm: roots.algorithm, secrets })
}

/// Whether the tenant has this Secret: konnectivity's only with the addon.
fn is_wanted(which: TenantSecret, resolved: &Resolved) -> bool {
    match which {
        TenantSecret::KonnectivityCertificate | TenantSecret::KonnectivityKubeconfig => resolved.konnectivity.is_some(),
        _ => true,
    }
}

/// What to tell of an authority that is near its end.
pub fn ending(observed: &Observed, moment: &Moment) -> Option<Trouble> {
    let mut live = TenantSecret::ROOTS.into_iter().filter_map(|which| Some((which, observed.secrets.get(&which)?)));
    live.find_map(|(which, secret)| authorities::ending(which, secret, moment))
}

fn what_is_missing(
    resolved: &Resolved,
    exposed: &Exposed,
    observed: &Observed,
    lost: &BTreeMap<TenantSecret, Good>,
    roots: &Roots,
    moment: &Moment,
) -> Result<Vec<Request>, Halt> {
    let live = |which: TenantSecret| lost.get(&which).or_else(|| observed.secrets.get(&which)).map(Arc::as_ref);
    let (ca, ca_pem) = roots.certificate(TenantSecret::Ca)?;
    let (front_proxy_ca, _) = roots.certificate(TenantSecret::FrontProxyCa)?;
    let authorities = leaves::Authorities { ca: &ca, front_proxy_ca: &front_proxy_ca };
    let algorithm = resolved.encryption_algorithm.unwrap_or(roots.algorithm);
    let mut requests = leaves::missing(resolved, exposed, &authorities, algorithm, live, moment);
    requests.extend(kubeconfigs::missing(resolved, exposed, &ca, ca_pem, algorithm, live, moment));
    Ok(requests)
}

async fn write(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    request: &Request,
    signers: &Arc<mint::Signers>,
    moment: &Moment,
) -> Result<(TenantSecret, Good), Halt> {
    let which = request.secret;
    let name = which.name(&resolved.name);
    let data = if request.algorithms().any(keys::is_slow) {
        let (request, signers) = (request.clone(), Arc::clone(signers));
        shared.keys.slowly(move || mint::data(&request, &signers), &name).await?
    } else {
        mint::data(request, signers).map_err(|source| Error::Mint { what: name.clone(), source })?
    };
    // Told before it is done: a change of keys that nobody was told of must not exist, even if this process ends now.
    if observed.deployment.is_some() || observed.secrets.contains_key(&which) {
        let note = format!("{name}: {}.", request.reasons.join("; "));
        shared.context.event(resolved.tenant.as_ref(), EventType::Normal, "CertificateIssued", "Issue", note).await;
    }
    shared.keyring.drop_secret(&resolved.uid, which);
    let written = match observed.secrets.get(&which) {
        None => secrets::create(shared, resolved, which, data).await?,
        Some(existing) => secrets::replace(shared, resolved, which, data, existing, moment).await?,
    };
    Ok((which, written))
}

/// The tenant's three roots.
pub struct Roots {
    /// The algorithm of the authority.
    pub algorithm: KeyAlgorithm,
    /// The three Secrets.
    pub secrets: BTreeMap<TenantSecret, Good>,
}

impl Roots {
    fn secret(&self, which: TenantSecret) -> Result<&Secret, Halt> {
        self.secrets
            .get(&which)
            .map(Arc::as_ref)
            .ok_or_else(|| Halt::poll("KeyMissing", format!("the Secret {} is not there", which.component())))
    }

    fn certificate(&self, which: TenantSecret) -> Result<(Certificate, &[u8]), Halt> {
        let (key, _) = authorities::pair_keys(which);
        let pem = issuance::value(self.secret(which)?, key);
        let certificate =
            Certificate::from_pem(pem).map_err(|source| Error::Mint { what: which.component().to_owned(), source })?;
        Ok((certificate, pem))
    }

    fn signers(&self) -> Result<mint::Signers, Halt> {
        let (ca, front_proxy_ca) = (self.secret(TenantSecret::Ca)?, self.secret(TenantSecret::FrontProxyCa)?);
        mint::Signers::new(ca, front_proxy_ca)
            .map_err(|source| Error::Mint { what: "the authorities".to_owned(), source }.into())
    }
}

/// Makes sure that the three roots are there. They are made once, and come back with the same bytes.
///
/// # Errors
/// [`Halt::Waiting`] when a root of a running tenant is lost or unreadable: only its owner can decide what then.
pub async fn roots(
    shared: &Shared,
    tenant: &TenantControlPlane,
    resolved: &Resolved,
    observed: &Observed,
    moment: &Moment,
) -> Result<Roots, Halt> {
    let recorded = observed.is_recorded(tenant);
    let made = try_join_all(TenantSecret::ROOTS.map(async |which| {
        let step = root(shared, resolved, observed, which, recorded, moment);
        let secret = timed(&shared.context, which.component(), step).await?;
        shared.keyring.keep(&resolved.uid, which, &secret);
        Ok::<_, Halt>((which, secret))
    }))
    .await?;
    let secrets: BTreeMap<TenantSecret, Good> = made.into_iter().collect();
    let algorithm = secrets
        .get(&TenantSecret::Ca)
        .and_then(|ca| {
            kamaji_pki::PrivateKey::from_pem(issuance::value(ca, authorities::pair_keys(TenantSecret::Ca).1)).ok()
        })
        .map_or(authorities::DEFAULT_ALGORITHM, |key| key.algorithm());
    Ok(Roots { algorithm, secrets })
}

async fn root(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    which: TenantSecret,
    recorded: bool,
    moment: &Moment,
) -> Result<Good, Halt> {
    let name = which.name(&resolved.name);
    let live = match observed.secrets.get(&which) {
        None if recorded => find(shared, resolved, which).await?,
        live => live.cloned(),
    };
    if let Some(live) = live.as_ref().filter(|live| issuance::rotation_requested(live)) {
        return rotate(shared, resolved, which, live, moment).await;
    }
    let usable = |secret: &Good| authorities::faults(which, secret, moment).is_empty();
    if let Some(last) = secrets::lost(shared, &resolved.uid, which, live.as_ref()).filter(usable) {
        let restored = secrets::restore(shared, resolved, which, &last, live.as_ref(), moment).await?;
        let what = if live.is_some() { "edited by hand" } else { "deleted" };
        let note = format!("{name} was {what} and has its former keys again.");
        shared.context.event(resolved.tenant.as_ref(), EventType::Warning, "KeyRestored", "Restore", note).await;
        return Ok(restored);
    }
    match live {
        Some(live) => {
            let faults = authorities::faults(which, &live, moment);
            if faults.is_empty() {
                return Ok(live);
            }
            let message = format!(
                "it cannot be used: {}; restore it from a backup, or annotate it with \
                 certs.kamaji.clastix.io/rotate=\"\" to have new keys made",
                faults.join("; ")
            );
            Err(Rejection::new("KeyUnusable", format!("Secret {name}"), message).into())
        }
        None if recorded => {
            let message = "it is gone while its keys are in use, and no copy is known; restore it from a backup, \
                           because new keys would cut off every node and client of the tenant";
            Err(Rejection::new("KeyLost", format!("Secret {name}"), message).into())
        }
        None => secrets::create(shared, resolved, which, generate(shared, resolved, which, moment).await?).await,
    }
}

/// Looks past the watch store: a root is too dear to be missed because a label was taken off it.
async fn find(shared: &Shared, resolved: &Resolved, which: TenantSecret) -> Result<Option<Good>, Halt> {
    let name = which.name(&resolved.name);
    let api: Api<Secret> = Api::namespaced(shared.context.process.client.clone(), &resolved.namespace);
    let found = api
        .get_opt(&name)
        .await
        .map_err(|source| Error::Read { what: format!("Secret {name}"), source: Box::new(source) })?;
    let Some(found) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else { return Ok(None) };
    namesake::not_of_a_namesake(&resolved.tenant, &found)?;
    Ok(Some(secrets::own(which, Arc::new(found))))
}

async fn rotate(
    shared: &Shared,
    resolved: &Resolved,
    which: TenantSecret,
    live: &Good,
    moment: &Moment,
) -> Result<Good, Halt> {
    let data = generate(shared, resolved, which, moment).await?;
    // Told before it is done, as in `write`.
    let note = format!("{}: new keys are made because a rotation was asked for.", which.name(&resolved.name));
    shared.context.event(resolved.tenant.as_ref(), EventType::Warning, "KeyRotated", "Rotate", note).await;
    shared.keyring.drop_secret(&resolved.uid, which);
    secrets::replace(shared, resolved, which, data, live, moment).await
}

/// A new key, and its certificate.
async fn generate(shared: &Shared, resolved: &Resolved, which: TenantSecret, moment: &Moment) -> Result<Data, Halt> {
    let name = which.name(&resolved.name);
    let algorithm = if which == TenantSecret::ServiceAccount {
        authorities::SERVICE_ACCOUNT_ALGORITHM
    } else {
        resolved.encryption_algorithm.unwrap_or(authorities::DEFAULT_ALGORITHM)
    };
    let key = shared.keys.make(algorithm, &name).await?;
    let made = mint::root(which, &authorities::profile(which, moment.now), &key);
    made.map_err(|source| Error::Mint { what: name, source }.into())
}
