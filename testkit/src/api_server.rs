//! A real kube-apiserver on its own etcd.
//!
//! [`ApiServer::shared`] is one server for all tests of a binary: each test takes its own [`ApiServer::namespace`].
//! A test that stops, pauses or configures the server takes its own by [`ApiServer::start`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::discovery::ApiResource;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::certificate::{self, Authority, Identity};
use crate::etcd::{self, Etcd};
use crate::http_get::{self, Target};
use crate::kubeconfig::Access;
use crate::process::{self, Launch, Process};
use crate::wait::{self, wait_for};
use crate::{kubeconfig, parts, ports, scratch};

pub(crate) const HOST: &str = "127.0.0.1";
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_GRACE: Duration = Duration::from_secs(5);
const CRD_TIMEOUT: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: usize = 5;
const FIELD_MANAGER: &str = "kamaji-testkit";
/// A sixth of a test server's processor time is garbage collection: its heap is small, and Go collects whenever that
/// has doubled. The second variable keeps it from growing without bound where many run at once.
const GARBAGE_COLLECTION: [(&str, &str); 2] = [("GOGC", "400"), ("GOMEMLIMIT", "512MiB")];

/// Why there is no API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its etcd failed.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// No folder for its files.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// No free port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// No certificates.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// No readiness question could be put together.
    #[error(transparent)]
    Http(#[from] http_get::Error),
    /// No kubeconfig or client.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// One of its files could not be written.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The API refused a call.
    #[error("the test API server refused to {action}")]
    Call {
        /// What was asked, as a verb and an object.
        action: String,
        /// What the client said.
        #[source]
        source: Box<kube::Error>,
    },
    /// A CustomResourceDefinition was not served in time.
    #[error(transparent)]
    Wait(#[from] wait::Error),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Etcd(error) => error.category(),
            Self::Process(error) => error.category(),
            Self::Scratch(_) => "scratch",
            Self::Port(_) => "port",
            Self::Certificate(_) => "certificate",
            Self::Http(_) => "http",
            Self::Kubeconfig(_) => "kubeconfig",
            Self::Write { .. } => "write",
            Self::Call { .. } => "call",
            Self::Wait(_) => "wait",
        }
    }

    fn is_address_in_use(&self) -> bool {
        match self {
            Self::Etcd(error) => error.is_address_in_use(),
            Self::Process(error) => error.is_address_in_use(),
            Self::Scratch(_)
            | Self::Port(_)
            | Self::Certificate(_)
            | Self::Http(_)
            | Self::Kubeconfig(_)
            | Self::Write { .. }
            | Self::Call { .. }
            | Self::Wait(_) => false,
        }
    }
}

/// What kind of API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kubernetes version, without `v`.
    pub version: String,
    /// Appended to its arguments; the last of two equal flags wins.
    pub extra_args: Vec<String>,
    /// Its etcd.
    pub etcd: etcd::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self { version: parts::tested_kubernetes(), extra_args: Vec::new(), etcd: etcd::Options::default() }
    }
}

/// A running kube-apiserver with its etcd. Both end, and their data goes, when it is dropped.
#[derive(Debug)]
pub struct ApiServer {
    // In this order: processes end before their files go, the server before its store.
    process: Option<Process>,
    launch: Launch,
    etcd: Etcd,
    version: String,
    port: u16,
    ready: Target,
    authority: Authority,
    admin: Identity,
    kubeconfig: PathBuf,
    folder: TempDir,
}

impl ApiServer {
    /// Starts one of [`parts::tested_kubernetes`] with default admission and RBAC.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Options::default()).await
    }

    /// Starts one and returns when `/readyz` says so, bootstrap RBAC included.
    pub async fn start_with(options: Options) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::attempt(&options).await {
                Err(error) if error.is_address_in_use() && attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// The one server that all tests of this binary share; started by whoever comes first.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    async fn attempt(options: &Options) -> Result<Self, Error> {
        let folder = scratch::folder("kube-apiserver")?;
        let mut etcd = Etcd::launch(&options.etcd)?;
        let authority = Authority::new("kubernetes")?;
        let admin = authority.client("admin", &["system:masters"])?;
        let port = ports::free()?;
        write_files(folder.path(), &authority)?;
        let access = Access { host: HOST.to_owned(), port, authority: authority.certificate() };
        let kubeconfig = folder.path().join("admin.kubeconfig");
        access.write_kubeconfig(&admin, &kubeconfig)?;
        let mut args = arguments(folder.path(), port, &etcd);
        args.extend(options.extra_args.iter().cloned());
        let launch = Launch {
            name: "kube-apiserver".to_owned(),
            program: parts::kubernetes(&options.version, "kube-apiserver"),
            args,
            env: GARBAGE_COLLECTION.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            log: folder.path().join("kube-apiserver.log"),
        };
        // A secure etcd answers the API server only once authentication is set up.
        if options.etcd.secure {
            etcd.wait_ready().await?;
        }
        let mut process = Process::start(&launch)?;
        if !options.etcd.secure {
            etcd.wait_ready().await?;
        }
        let ready = Target::https(HOST, port, "/readyz", &authority.certificate(), Some(&admin), None)?;
        process.wait_ready(START_TIMEOUT, || ready.ready()).await?;
        Ok(Self {
            process: Some(process),
            launch,
            etcd,
            version: options.version.clone(),
            port,
            ready,
            authority,
            admin,
            kubeconfig,
            folder,
        })
    }

    /// A client with all rights. It belongs to the async runtime that calls: one per test.
    ///
    /// As every client of kube it repeats calls that are answered 429, 503 or 504 by itself.
    pub fn client(&self) -> Result<Client, Error> {
        Ok(self.access().client(&self.admin)?)
    }

    /// A client of this user in these groups: what it may do is up to RBAC.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        Ok(self.access().client(&self.authority.client(user, groups)?)?)
    }

    /// A client with all rights that connects to this port of 127.0.0.1, for example a
    /// [`crate::fault_proxy::FaultProxy`]'s.
    pub fn client_through(&self, port: u16) -> Result<Client, Error> {
        Ok(Access { port, ..self.access() }.client(&self.admin)?)
    }

    /// kubeconfig with all rights, everything inline.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig of this user in these groups, connecting to this port of 127.0.0.1 (the server's own, or a
    /// proxy's).
    pub fn write_kubeconfig(&self, user: &str, groups: &[&str], port: u16, path: &Path) -> Result<(), Error> {
        let identity = self.authority.client(user, groups)?;
        Ok(Access { port, ..self.access() }.write_kubeconfig(&identity, path)?)
    }

    /// Port of 127.0.0.1 that it serves on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `https://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("https://{HOST}:{}", self.port)
    }

    /// Kubernetes version, without `v`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Signs its serving certificate and the client certificates it trusts.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Client certificate with all rights.
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// Its etcd.
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Its etcd, to stop or restart it.
    pub fn etcd_mut(&mut self) -> &mut Etcd {
        &mut self.etcd
    }

    /// Folder with its certificates (`ca.{crt,key}`, `sa.{key,pub}`, `apiserver.{crt,key}`) and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Applies these definitions and returns when the API serves them. Doing it twice is fine.
    #[expect(clippy::disallowed_methods, reason = "tests install definitions; no operator writes here")]
    pub async fn install_crds(&self, crds: &[CustomResourceDefinition]) -> Result<(), Error> {
        let client = self.client()?;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in crds {
            let name = crd.name_any();
            api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(crd))
                .await
                .map_err(|error| call(format!("apply CustomResourceDefinition {name}"), error))?;
        }
        for crd in crds {
            wait_for(&api, &crd.name_any(), CRD_TIMEOUT, is_established).await?;
            wait_served(&client, crd).await?;
        }
        Ok(())
    }

    /// Creates a namespace of its own for a test; gives its name.
    #[expect(clippy::disallowed_methods, reason = "tests create their namespace; no operator writes here")]
    pub async fn namespace(&self) -> Result<String, Error> {
        let api: Api<Namespace> = Api::all(self.client()?);
        let namespace = Namespace {
            metadata: ObjectMeta { generate_name: Some("test-".to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let created = api
            .create(&PostParams::default(), &namespace)
            .await
            .map_err(|error| call("create a namespace".to_owned(), error))?;
        Ok(created.name_any())
    }

    /// Ends the server as an update does (SIGTERM); its etcd goes on. Stopping it twice is fine.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(process) = self.process.take() {
            process.stop(STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Kills the server as a crash does (SIGKILL); its etcd goes on.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again, on the same port and data, if it does not run; returns when it is ready.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.launch)?,
        };
        process.wait_ready(START_TIMEOUT, || self.ready.ready()).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Freezes the server (SIGSTOP): connections are accepted by the kernel and never answered.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.iter().try_for_each(|process| Ok(process.pause()?))
    }

    /// Ends an [`ApiServer::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.process.iter().try_for_each(|process| Ok(process.resume()?))
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn access(&self) -> Access {
        Access { host: HOST.to_owned(), port: self.port, authority: self.authority.certificate() }
    }
}

fn call(action: String, source: kube::Error) -> Error {
    Error::Call { action, source: Box::new(source) }
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    crd.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// Established is said slightly before the handlers of the new kind are in place.
async fn wait_served(client: &Client, crd: &CustomResourceDefinition) -> Result<(), Error> {
    for version in crd.spec.versions.iter().filter(|version| version.served) {
        let names = &crd.spec.names;
        let gvk = GroupVersionKind::gvk(&crd.spec.group, &version.name, &names.kind);
        let api: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, &names.plural));
        let deadline = tokio::time::Instant::now() + CRD_TIMEOUT;
        loop {
            match api.list(&ListParams::default().limit(1)).await {
                Ok(_) => break,
                Err(kube::Error::Api(status))
                    if matches!(status.code, 404 | 429 | 503) && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(call(format!("list {}", names.plural), error)),
            }
        }
    }
    Ok(())
}

fn write_files(folder: &Path, authority: &Authority) -> Result<(), Error> {
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        std::fs::write(&path, text).map_err(|source| Error::Write { path, source })
    };
    let ca = authority.identity();
    write("ca.crt", &ca.certificate)?;
    write("ca.key", &ca.key)?;
    let serving = authority.server(
        "kube-apiserver",
        &[HOST, "::1", "localhost", "10.96.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
    )?;
    write("apiserver.crt", &serving.certificate)?;
    write("apiserver.key", &serving.key)?;
    // The public half in a certificate is as good as a bare public key to `--service-account-key-file`.
    let service_account = authority.client("service-accounts", &[])?;
    write("sa.key", &service_account.key)?;
    write("sa.pub", &service_account.certificate)
}

fn arguments(folder: &Path, port: u16, etcd: &Etcd) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut args = vec![
        format!("--bind-address={HOST}"),
        format!("--advertise-address={HOST}"),
        format!("--secure-port={port}"),
        format!("--etcd-servers={}", etcd.urls().join(",")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        // 127.0.0.1 is no valid endpoint address.
        "--endpoint-reconciler-type=none".to_owned(),
        // Half a second of every start.
        "--enable-priority-and-fairness=false".to_owned(),
    ];
    if etcd.tls().is_some() {
        let file = |name: &str| etcd.folder().join(name).display().to_string();
        args.push(format!("--etcd-cafile={}", file("ca.crt")));
        args.push(format!("--etcd-certfile={}", file("root.crt")));
        args.push(format!("--etcd-keyfile={}", file("root.key")));
    }
    args
}
