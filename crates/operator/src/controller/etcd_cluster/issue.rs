//! Authorities and certificates.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::contract::keys;
use kamaji_apply::EventType;
use kamaji_datastore::{Connection, Driver, Tls};
use kamaji_plan::{
    etcd_cluster::{
        issuance::{self, Authorities, SIGNED},
        names::EtcdSecret,
        resolve::Resolved,
        status::Fault,
    },
    issuance::value,
};

use super::{Shared, error::Error, observe::Observed};

/// What the certificates came to.
pub enum Issued {
    /// etcd can be reached by this.
    Usable {
        /// The operator's own login, without endpoints.
        connection: Connection,
        /// What is wrong nevertheless.
        faults: Vec<Fault>,
    },
    /// An authority is gone for good.
    Lost(Fault),
}

/// Makes what is missing, and replaces what is due.
pub async fn issue(shared: &Shared, resolved: &Resolved, observed: &Observed) -> Result<Issued, Error> {
    let now = Timestamp::now();
    let mut roots = Vec::new();
    for which in [EtcdSecret::Ca, EtcdSecret::PeerCa] {
        match root(shared, resolved, observed, which, now).await? {
            Ok(secret) => roots.push(secret),
            Err(fault) => return Ok(Issued::Lost(fault)),
        }
    }
    let [ca, peer_ca] = roots.as_slice() else {
        return Ok(Issued::Lost(Fault::new("AuthorityLost", "an authority is missing")));
    };
    let authorities = match Authorities::read(ca, peer_ca) {
        Ok(authorities) => authorities,
        Err(error) => {
            return Ok(Issued::Lost(Fault::new(
                "AuthorityUnreadable",
                format!(
                    "an authority in the Secrets {} and {} cannot be used: {error}; restore it from a backup",
                    EtcdSecret::Ca.name(&resolved.name),
                    EtcdSecret::PeerCa.name(&resolved.name)
                ),
            )));
        }
    };
    shared.keep(&resolved.uid, EtcdSecret::Ca, ca);
    shared.keep(&resolved.uid, EtcdSecret::PeerCa, peer_ca);
    let mut root = Secret::default();
    for which in SIGNED {
        root = signed(shared, resolved, observed, which, &authorities, now).await?;
    }
    let client = (value(&root, keys::TLS_CERT).to_vec(), value(&root, keys::TLS_KEY).to_vec());
    let tls = Tls { ca: authorities.ca.certificate_pem().to_vec(), client: Some(client) };
    let ends = authorities.ends_soon(now).map(|end| {
        Fault::new("AuthorityEnds", format!("an authority of the members or of their clients ends at {end}"))
    });
    Ok(Issued::Usable {
        connection: Connection { driver: Driver::Etcd, endpoints: Vec::new(), tls: Some(tls), basic_auth: None },
        faults: ends.into_iter().collect(),
    })
}

/// An authority, made once: of a cluster that was served it comes back with the same bytes, or not at all.
async fn root(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    which: EtcdSecret,
    now: Timestamp,
) -> Result<Result<Secret, Fault>, Error> {
    let name = which.name(&resolved.name);
    let kept = shared.kept(&resolved.uid, which);
    if let Some(live) = observed.secret(which) {
        let Some(kept) = kept.filter(|kept| live.data.as_ref() != Some(kept)) else {
            return Ok(Ok(live.as_ref().clone()));
        };
        let wanted = issuance::secret(resolved, which, kept);
        let applied = shared.context.applier.apply(&wanted, Some(live.as_ref())).await?;
        let restored = shared.stores.secrets.applied(applied);
        let note = format!("{name} was edited; it has its earlier content again, which the members were made with");
        let cluster = resolved.cluster.as_ref();
        shared.context.event(cluster, EventType::Warning, "AuthorityRestored", "Issue", note).await;
        return Ok(Ok(restored));
    }
    let data = match kept {
        Some(kept) => kept,
        None if observed.was_served() => {
            return Ok(Err(Fault::new(
                "AuthorityLost",
                format!(
                    "the Secret {name} with an authority is gone, and making it anew would lock every tenant out; \
                     restore it from a backup"
                ),
            )));
        }
        None => issuance::authority(resolved, which, now).map_err(Error::certificate(&resolved.name, which))?,
    };
    let wanted = issuance::secret(resolved, which, data);
    let secret = shared.context.applier.create_if_absent(&wanted).await?.into_object();
    let ours = secret.metadata.owner_references.iter().flatten().any(|owner| owner.uid == resolved.uid);
    if !ours {
        return Ok(Err(Fault::new(
            "SecretTaken",
            format!("the Secret {name} exists and is not this EtcdCluster's; delete it, or choose another name"),
        )));
    }
    shared.stores.secrets.recent.wrote(&secret);
    Ok(Ok(secret))
}

async fn signed(
    shared: &Shared,
    resolved: &Resolved,
    observed: &Observed,
    which: EtcdSecret,
    authorities: &Authorities,
    now: Timestamp,
) -> Result<Secret, Error> {
    let live = observed.secret(which).map(AsRef::as_ref);
    let reasons = issuance::reasons(resolved, which, live, authorities, now);
    let data = match live.filter(|_| reasons.is_empty()) {
        Some(live) => live.data.clone().unwrap_or_default(),
        None => issuance::sign(resolved, which, authorities, now).map_err(Error::certificate(&resolved.name, which))?,
    };
    let wanted = issuance::secret(resolved, which, data);
    let applied = shared.context.applier.apply(&wanted, live).await?;
    let written = shared.stores.secrets.applied(applied);
    if !reasons.is_empty() && live.is_some() {
        let note = format!("{} was written anew: {}", which.name(&resolved.name), reasons.join("; "));
        let cluster = resolved.cluster.as_ref();
        shared.context.event(cluster, EventType::Normal, "CertificatesRenewed", "Issue", note).await;
    }
    Ok(written)
}
