//! A tenant's specification, with every default filled in and every rule checked.
//!
//! In: the TenantControlPlane and what was observed. Out: [`Resolved`], or the [`Rejection`] that says what cannot work.
//! The admission webhook and the reconcile call the same function. No I/O, no clock.

mod checks;
pub mod known_good;
mod konnectivity;
mod lists;
pub mod names;
pub mod network;
pub mod overrides;
mod store;

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, ResourceRequirements, VolumeMount},
};
use kamaji_api::{
    DataStore, TenantControlPlane, contract,
    tenant_control_plane::{
        AdditionalVolumeMounts, AdmissionController, ComponentExtraArgs, ComponentResources, DeploymentSpec,
        EncryptionAlgorithm,
    },
};
use kamaji_pki::KeyAlgorithm;

pub use kamaji_api::contract::DEFAULT_ADMISSION_PLUGINS;

pub use self::{
    known_good::KnownGood,
    konnectivity::Konnectivity,
    store::{Kine, Store, StoreIdentity},
};
use crate::{
    component,
    internal_ca::{self, InternalCa},
    rejection::Rejection,
    template::TemplateRevision,
    version::Version,
};

/// Port of the API server where the specification has none (CRD default).
pub const DEFAULT_PORT: u16 = 6443;
/// Replicas where the specification has none (CRD default).
pub const DEFAULT_REPLICAS: i32 = 2;

/// What resolve looks at besides the tenant itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed<'a> {
    /// The DataStore that was chosen; `None` when it does not exist.
    pub data_store: Option<&'a DataStore>,
    /// Its name. Without one it is the specification's.
    pub chosen: Option<&'a str>,
    /// All DataStores, where the specification has overrides.
    pub data_stores: &'a [Arc<DataStore>],
    /// Those of them that are open: what pods are told of them.
    pub known_good: &'a [KnownGood],
    /// The tenant's Deployment as it is now.
    pub deployment: Option<&'a Deployment>,
    /// The operator's image of kine.
    pub kine_image: Option<&'a str>,
    /// Schema and user of the existing datastore-config Secret.
    pub recorded_identity: Option<&'a StoreIdentity>,
    /// The ConfigMap with the owner's certificate authorities; `None` when it does not exist.
    pub internal_ca: Option<&'a ConfigMap>,
    /// The copies of it that the tenant has.
    pub internal_ca_copies: &'a [Arc<ConfigMap>],
    /// The clock of the pass.
    pub now: Timestamp,
}

/// Addresses, ranges and names of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Port of the API server.
    pub port: u16,
    /// Address that the specification declares for the Service.
    pub address: Option<IpAddr>,
    /// Address that clients outside are told.
    pub advertise_address: Option<IpAddr>,
    /// Host and port of the ingress or gateway in front.
    pub public_host: Option<(String, u16)>,
    /// DNS suffix of the tenant.
    pub cluster_domain: String,
    /// Service ranges in the user's order: the first is the primary family.
    pub service_cidrs: Vec<String>,
    /// Pod ranges in the user's order.
    pub pod_cidrs: Vec<String>,
    /// First address of the first service range: the Service `kubernetes` in the tenant.
    pub kubernetes_service_ip: Option<IpAddr>,
    /// Names and addresses that the user wants in the API server's certificate.
    pub cert_sans: Vec<String>,
}

/// A tenant that can be acted on.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Name of the TenantControlPlane.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The object itself, for what is copied from it as it is.
    pub tenant: Arc<TenantControlPlane>,
    /// Version to run.
    pub version: Version,
    /// Version that runs now, as far as it can be told.
    pub installed: Option<Version>,
    /// Addresses, ranges and names.
    pub network: Network,
    /// Admission plugins, in order.
    pub admission_plugins: Vec<String>,
    /// Which node addresses kube-apiserver prefers.
    pub preferred_address_types: Vec<String>,
    /// Where the data lives.
    pub store: Store,
    /// konnectivity-server, when the addon is on.
    pub konnectivity: Option<Konnectivity>,
    /// The owner's certificate authorities, when there are to be any.
    pub internal_ca: Option<InternalCa>,
    /// Issuer of service-account tokens.
    pub service_account_issuer: String,
    /// Key algorithm that the user asked for.
    pub encryption_algorithm: Option<KeyAlgorithm>,
    /// Which pod template the tenant has.
    pub revision: TemplateRevision,
}

impl Resolved {
    /// The deployment section of the specification.
    pub fn deployment(&self) -> Option<&DeploymentSpec> {
        self.tenant.spec.control_plane.deployment.as_ref()
    }

    /// Wanted replicas.
    pub fn replicas(&self) -> i32 {
        self.deployment().and_then(|deployment| deployment.replicas).unwrap_or(DEFAULT_REPLICAS)
    }

    /// The user's flags of one component.
    pub fn extra_args(&self, component: impl Fn(&ComponentExtraArgs) -> Option<&Vec<String>>) -> &[String] {
        self.deployment()
            .and_then(|deployment| deployment.extra_args.as_ref())
            .and_then(component)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The user's mounts of one component.
    pub fn additional_volume_mounts(
        &self,
        component: impl Fn(&AdditionalVolumeMounts) -> Option<&Vec<VolumeMount>>,
    ) -> &[VolumeMount] {
        self.deployment()
            .and_then(|deployment| deployment.additional_volume_mounts.as_ref())
            .and_then(component)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The resources of one component; empty when the user set none.
    pub fn resources(
        &self,
        component: impl Fn(&ComponentResources) -> Option<&ResourceRequirements>,
    ) -> ResourceRequirements {
        self.deployment()
            .and_then(|deployment| deployment.resources.as_ref())
            .and_then(component)
            .cloned()
            .unwrap_or_default()
    }
}

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

fn container<'a>(live: &'a Deployment, name: &str) -> Option<&'a k8s_openapi::api::core::v1::Container> {
    let pod = live.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == name)
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
