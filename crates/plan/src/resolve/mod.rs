//! Checks a tenant's specification, and fills in every default.
//!
//! In: the TenantControlPlane and what was observed. Out: [`Resolved`], or the [`Rejection`] that says what cannot work.
//! The admission webhook and the reconcile call the same function. No I/O, no clock.

mod checks;
mod internal_ca;
pub mod known_good;
mod konnectivity;
mod lists;
pub mod names;
mod observed;
pub mod overrides;
mod store;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::{
    TenantControlPlane, contract,
    tenant_control_plane::{AdmissionController, EncryptionAlgorithm},
};
use kamaji_pki::KeyAlgorithm;

pub use kamaji_api::contract::DEFAULT_ADMISSION_PLUGINS;

use self::observed::container;
pub use self::{known_good::KnownGood, observed::Observed};
pub use crate::resolved::{
    DEFAULT_PORT, DEFAULT_REPLICAS, Kine, Konnectivity, Network, Resolved, Store, StoreIdentity,
};
use crate::{component, rejection::Rejection, template::TemplateRevision, version::Version};

/// Whether nothing is in the specification that cannot be read.
///
/// # Errors
/// The first field that cannot be read.
pub fn readable(tenant: &TenantControlPlane) -> Result<(), Rejection> {
    let Some(path) = &tenant.spec.unreadable else { return Ok(()) };
    let message = "it has a value that cannot be read; correct it, nothing is done until then";
    Err(Rejection::new("InvalidSpec", path.clone(), message))
}

/// Fills in defaults and checks every rule.
///
/// # Errors
/// The first rule that the specification breaks, as a sentence that names the field and the way out.
pub fn resolve(tenant: &Arc<TenantControlPlane>, observed: &Observed<'_>) -> Result<Resolved, Rejection> {
    let spec = &tenant.spec;
    let metadata = &tenant.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().unwrap_or_default();
    readable(tenant)?;
    checks::name(&name)?;
    let installed = installed_version(tenant, observed.deployment);
    let version = Version::check(&spec.kubernetes.version, installed.as_ref())?;
    let network = checks::network(tenant)?;
    let preferred_address_types = checks::preferred_address_types(spec)?;
    let admission_plugins = admission_plugins(spec.kubernetes.admission_controllers.as_deref())?;
    let encryption_algorithm = encryption_algorithm(tenant, &version)?;
    let changes = installed.as_ref().is_some_and(|installed| installed != &version);
    let running = observed.deployment.filter(|_| !changes);
    let asked = annotation(tenant, contract::annotations::TEMPLATE_REVISION);
    let revision = TemplateRevision::of(observed.deployment, asked, changes);
    let kine = observed.deployment.filter(|live| !changes && TemplateRevision::of(Some(live), None, false) == revision);
    let kine = kine.and_then(|live| container(live, component::kine::NAME));
    let running = running.and_then(|live| container(live, component::konnectivity::NAME));
    let konnectivity = konnectivity::resolve(spec, network.port, version.minor, running)?;
    let store = store::resolve(tenant, observed, kine)?;
    checks::deployment(spec, tenant.internal_ca_config_map().is_some(), store.kine.is_some())?;
    lists::service_ports(spec, network.port, konnectivity.as_ref())?;
    let internal_ca = internal_ca::resolve(tenant, observed)?;
    let service_account_issuer = recorded_issuer(observed.deployment)
        .unwrap_or_else(|| format!("https://kubernetes.default.svc.{}", network.cluster_domain));
    Ok(Resolved {
        name,
        namespace,
        uid: metadata.uid.clone().unwrap_or_default(),
        tenant: Arc::clone(tenant),
        version,
        installed,
        network,
        admission_plugins,
        preferred_address_types,
        store,
        konnectivity,
        internal_ca,
        service_account_issuer,
        encryption_algorithm,
        revision,
    })
}

fn annotation<'a>(tenant: &'a TenantControlPlane, key: &str) -> Option<&'a str> {
    tenant.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The version that runs: the status says it, and the image of the live Deployment when the status was lost.
fn installed_version(tenant: &TenantControlPlane, live: Option<&Deployment>) -> Option<Version> {
    let reported = tenant.status.as_ref().and_then(|status| status.kubernetes_resources.version.version.as_deref());
    reported.and_then(Version::parse).or_else(|| {
        let settings = tenant.spec.control_plane.deployment.as_ref().and_then(|spec| spec.registry_settings.as_ref());
        let suffix = settings.and_then(|settings| settings.tag_suffix.as_deref()).unwrap_or_default();
        let image = container(live?, "kube-apiserver")?.image.as_deref()?;
        let (_, tag) = image.rsplit_once(':')?;
        Version::parse(tag.strip_suffix(suffix).unwrap_or(tag))
    })
}

/// Changing the issuer invalidates every token, so a running tenant keeps the one it has.
fn recorded_issuer(live: Option<&Deployment>) -> Option<String> {
    let arguments = container(live?, "kube-apiserver")?.args.as_ref()?;
    arguments.iter().find_map(|argument| argument.strip_prefix("--service-account-issuer=")).map(str::to_owned)
}

fn admission_plugins(listed: Option<&[AdmissionController]>) -> Result<Vec<String>, Rejection> {
    let Some(listed) = listed else {
        return Ok(DEFAULT_ADMISSION_PLUGINS.iter().map(|&name| name.to_owned()).collect());
    };
    for (index, plugin) in listed.iter().enumerate() {
        if let AdmissionController::Other(name) = plugin {
            return Err(Rejection::new(
                "InvalidSpec",
                format!("spec.kubernetes.admissionControllers[{index}]"),
                format!("\"{name}\" is not an admission plugin of kube-apiserver; remove it or correct its name"),
            ));
        }
    }
    Ok(listed.iter().map(|plugin| plugin.as_str().to_owned()).collect())
}

fn encryption_algorithm(tenant: &TenantControlPlane, version: &Version) -> Result<Option<KeyAlgorithm>, Rejection> {
    const FIELD: &str = "spec.kubernetes.encryptionAlgorithm";
    // Typed Go clients drop fields that they do not know when they update, and keep annotations.
    let twin = annotation(tenant, contract::annotations::ENCRYPTION_ALGORITHM);
    let asked = tenant.spec.kubernetes.encryption_algorithm.as_ref().map(EncryptionAlgorithm::as_str).or(twin);
    let Some(asked) = asked else { return Ok(None) };
    let algorithm = asked.parse::<KeyAlgorithm>().map_err(|_| {
        Rejection::new(
            "InvalidSpec",
            FIELD,
            format!("\"{asked}\" is not one of RSA-2048, RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384"),
        )
    })?;
    if algorithm == KeyAlgorithm::EcdsaP384 && version.minor < 34 {
        return Err(Rejection::new("InvalidSpec", FIELD, "kubeadm knows ECDSA-P384 from v1.34 on; choose ECDSA-P256"));
    }
    Ok(Some(algorithm))
}
